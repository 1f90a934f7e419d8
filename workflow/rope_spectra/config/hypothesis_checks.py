"""Checks of hypotheses: they are about spectra, lengths and measures that the experiment has."""

from collections.abc import Iterator, Sequence

from rope_spectra.config import claims
from rope_spectra.config.experiment import Experiment
from rope_spectra.config.hypotheses import ContrastHypothesis, Hypothesis
from rope_spectra.config.sections import Config
from rope_spectra.runtime.messages import remedy


def hypotheses(config: Config, name: str) -> Iterator[str]:
    """A line per mistake in the hypotheses of an experiment; all of its references are good."""
    experiment = config.experiments[name]
    for title, hypothesis in experiment.hypotheses.items():
        path = f"experiments.{name}.hypotheses.{title}"
        if isinstance(hypothesis, ContrastHypothesis):
            remaps = config.evaluation_of(name).remaps
            yield from _arms(f"{path}.claim", hypothesis, experiment, remaps)
            if hypothesis.measure == "retrieval" and hypothesis.parts.expected == "equivalent":
                yield f"{path}.claim: retrieval has no margin of equivalence; claim better or worse"
        else:
            yield from _diagnostic(f"{path}.diagnostic", hypothesis.diagnostic)
        yield from _measured(config, name, path, hypothesis)


def _arms(
    path: str, hypothesis: ContrastHypothesis, experiment: Experiment, remaps: Sequence[str]
) -> Iterator[str]:
    first, _, other = hypothesis.parts
    for each in (first, other):
        yield from claims.arm(path, each, experiment.spectra, remaps)
    if first == other:
        yield f"{path}: {first!r} cannot be compared with itself; name two"


def _diagnostic(path: str, name: str) -> Iterator[str]:
    # Needs numpy, which the Snakefile does without where nobody asks for a diagnostic.
    import numpy as np

    from rope_spectra.rope.diagnostics import diagnose

    known = diagnose(np.ones(2), train_length=8, longest=16)
    if name not in known:
        yield f"{path}: {name!r} is none; {remedy(name, known)}"


def _measured(config: Config, name: str, path: str, hypothesis: Hypothesis) -> Iterator[str]:
    """The measure exists at the length."""
    preset = f"evaluation.{config.experiments[name].evaluation}"
    evaluation = config.evaluation_of(name)
    trained = config.training_of(name).seq_len
    length = hypothesis.length
    if length is not None and length not in evaluation.lengths:
        yield f"{path}.length: {length} is not among {preset}.lengths; add it there"
    if hypothesis.measure == "retrieval" and evaluation.retrieval is None:
        yield f"{path}.measure: nothing is retrieved; add retrieval to {preset}"
    if hypothesis.measure == "degradation":
        if length is not None and length <= trained:
            yield (
                f"{path}.length: {length} is not beyond the training length {trained}, where"
                " nothing degrades; give a longer one or measure: ppl"
            )
        if trained not in evaluation.lengths or "full" not in evaluation.protocols:
            yield (
                f"{path}.measure: degradation needs the training length {trained} among"
                f" {preset}.lengths and full among its protocols; add them"
            )
