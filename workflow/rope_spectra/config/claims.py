"""Checks of what an experiment claims beside its primary endpoint: retrieval, learning rates.

Each yields one line per mistake. They are about experiments whose names and presets are known.
"""

from collections.abc import Iterator, Sequence

from rope_spectra.config.design import NATIVE, parse_arm
from rope_spectra.config.sections import Config
from rope_spectra.runtime.messages import remedy


def arm(path: str, name: str, spectra: Sequence[str], remaps: Sequence[str]) -> Iterator[str]:
    """A spectrum, with or without a remap, is one that the experiment trains and evaluates."""
    spectrum, remap = parse_arm(name)
    if spectrum not in spectra:
        yield f"{path}: {spectrum!r} is not among its spectra; {remedy(spectrum, spectra)}"
    if remap is not None and remap not in remaps:
        choice = remedy(remap, remaps)
        yield f"{path}: remap {remap!r} of {name!r} is not evaluated; {choice}"


def retrieval_endpoint(config: Config, name: str) -> Iterator[str]:
    """The retrieval endpoint stands beside a primary one, and is one that is measured."""
    experiment = config.experiments[name]
    endpoint = experiment.retrieval
    if endpoint is None:
        return
    path = f"experiments.{name}.retrieval"
    preset = f"evaluation.{experiment.evaluation}"
    evaluation = config.evaluation_of(name)
    if experiment.primary is None:
        yield f"{path}: stands beside a primary endpoint; give primary too"
    if endpoint.length not in evaluation.lengths:
        yield f"{path}.length: {endpoint.length} is not among {preset}.lengths; add it there"
    if evaluation.retrieval is None:
        yield f"{path}: {preset} does not measure it; give {preset}.retrieval"
        return
    measured = evaluation.retrieval.tasks or []
    for task in endpoint.tasks or ():
        if not measured:
            yield f"{path}.tasks: {preset}.retrieval has no tasks; leave it out"
        elif task not in measured:
            choice = remedy(task, measured)
            yield f"{path}.tasks: {task!r} is not among {preset}.retrieval.tasks; {choice}"


def rates(config: Config, name: str) -> Iterator[str]:
    """Experiments at other learning rates differ in nothing else, and measure the same endpoint."""
    experiment = config.experiments[name]
    path = f"experiments.{name}.rates"
    if experiment.rates and experiment.primary is None:
        yield f"{path}: compares the primary endpoint at several rates; give primary too"
        return
    if not experiment.rates:
        return
    yield from _differs(config, name, name)
    found = {config.training_of(name).learning_rate: name}
    for other in experiment.rates:
        rate = config.training_of(other).learning_rate
        if rate in found:
            yield f"{path}: {other} has the learning rate of {found[rate]}, {rate:g}; leave one out"
        found[rate] = other
        yield from _differs(config, name, other)


def _differs(config: Config, name: str, other: str) -> Iterator[str]:
    """The differences of another experiment besides its learning rate, each a mistake."""
    ours, theirs = config.experiments[name], config.experiments[other]
    subject = f"experiments.{name}.rates: {other}"
    for key in ("dataset", "model"):
        wanted, given = getattr(ours, key), getattr(theirs, key)
        if wanted != given:
            yield f"{subject} has another {key}, {given}; give it {wanted}"
    recipes = config.training_of(name).recipe.content(), config.training_of(other).recipe.content()
    for key in sorted(recipes[0].keys() | recipes[1].keys()):
        wanted, given = (recipe.get(key) for recipe in recipes)
        if key != "learning_rate" and wanted != given:
            yield f"{subject} is trained with {key} {given}, not {wanted}; change the rate alone"
    if len(set(ours.spectra) & set(theirs.spectra)) < 2:
        yield f"{subject} shares no two spectra with it; give it the same ones"
    evaluation = config.evaluation_of(other)
    preset = f"evaluation.{theirs.evaluation}"
    lengths = [config.training_of(name).seq_len]
    if ours.primary is not None:
        lengths.append(ours.primary.length)
    for length in lengths:
        if length not in evaluation.lengths:
            yield f"{subject} is not evaluated at {length} tokens; add it to {preset}.lengths"
    if NATIVE not in evaluation.remaps:
        yield f"{subject} is not evaluated without a remap; add {NATIVE} to {preset}.remaps"
    if "full" not in evaluation.protocols:
        yield f"{subject} is not evaluated in protocol full; add it to {preset}.protocols"
