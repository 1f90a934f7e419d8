"""Experiments of config.yaml: what is compared with what, and what will be claimed of it."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from rope_spectra.config.hypotheses import Hypothesis
from rope_spectra.data.base import Task
from rope_spectra.runtime.settings import Distinct, Name, Section, Seed

Metric: TypeAlias = Literal["degradation", "ppl"]


def _flat(names: Any) -> Any:
    """One list of all names: YAML can name a list by an alias, but not join two."""
    if not isinstance(names, list):
        return names
    parts = [part if isinstance(part, list) else [part] for part in names]
    return [name for part in parts for name in part]


SpectrumNames: TypeAlias = Annotated[
    list[str],
    Field(min_length=1),
    Distinct,
    BeforeValidator(_flat, json_schema_input_type=list[str | list[str]]),
]


class Selection(Section):
    """Seeds and text that choose candidates; verdicts come from other seeds on other blocks."""

    seeds: Annotated[list[Seed], Field(min_length=1), Distinct]
    """Those of the experiment's seeds that serve selection"""
    blocks: float = Field(0.5, gt=0, lt=1)
    """Part of the blocks of protocol full, from the start of the text, that serves selection"""


class Primary(Section):
    """The primary endpoint: the one comparison that an experiment is made for."""

    metric: Metric = "degradation"
    """What is compared: degradation is log PPL less that at the training length, on the same target
    tokens (protocol full); ppl is log PPL"""
    length: Annotated[int, Field(ge=2)]
    """The evaluation length of the endpoint, in tokens; all other lengths are secondary"""
    contrasts: Annotated[list[str], Field(min_length=1), Distinct] | None = None
    """Those of the contrasts that are primary (null is all)"""


class RetrievalEndpoint(Section):
    """The retrieval endpoint beside the primary one: accuracy of the retrieval probe."""

    length: Annotated[int, Field(ge=2)]
    """The evaluation length of the endpoint, in tokens"""
    tasks: Annotated[list[Task], Field(min_length=1), Distinct] | None = None
    """Those of the preset's tasks over which accuracy is averaged (null is all)"""


class Experiment(Section):
    """One model per spectrum and seed, and what is compared with what."""

    description: str = ""
    """The question the experiment answers"""
    dataset: str
    """Name of a dataset"""
    model: str
    """Name of a model"""
    training: str
    """Name of a way to train"""
    evaluation: str
    """Name of a way to evaluate"""
    spectra: SpectrumNames
    """Names of the spectra to compare; a list may hold other lists"""
    seeds: Annotated[list[Seed], Field(min_length=1), Distinct]
    """One run of every spectrum per seed; runs of one seed share initial weights and batch order"""
    baseline: str
    """The spectrum all others are compared with"""
    contrasts: Annotated[list[str], Distinct] | None = None
    """Spectra whose comparison with the baseline is claimed, the family of the Holm correction
    (null is all but the baseline). `a vs b` compares with another than the baseline. Here and in
    baseline, `a` is compared at the same remap, all remaps in turn; `a+yarn` and `a+none` mean that
    remap alone"""
    noise_floor: int = Field(0, ge=0, le=100)
    """Times that the baseline is trained again with its first seed, to see how far equal runs
    differ"""
    selection: Selection | None = None
    """Seeds and blocks of validation text on which candidates were or may be chosen; verdicts come
    from the other seeds on the other blocks (null is no such split)"""
    primary: Primary | None = None
    """The primary endpoint (null is none: then all lengths are secondary, corrected together)"""
    retrieval: RetrievalEndpoint | None = None
    """The retrieval endpoint beside the primary one: the same contrasts, 5 % of its own. The page
    then shows the frontier of the two (null is none)"""
    rates: Annotated[list[str], Distinct] = Field([])
    """Experiments that train the same spectra at other learning rates; they are built too, and the
    page compares the primary endpoint at all rates"""
    looks: Annotated[list[Annotated[int, Field(ge=2)]], Distinct, AfterValidator(sorted)] = Field(
        []
    )
    """Numbers of seeds after which verdicts are read, the last one being all seeds that serve
    verdicts; they share the 5 % (empty is one look, at all seeds)"""
    stopped: dict[str, Annotated[int, Field(ge=1)]] = Field({})
    """Spectra that train no more seeds, with the number of seeds they have (`a: 6`): what a look
    has decided, or will hardly decide"""
    hypotheses: dict[Name, Hypothesis] = Field({})
    """Predictions that the runs can refute, by name, each with its source; they are sealed with the
    declaration and judged in hypotheses.csv"""

    @property
    def runs(self) -> list[tuple[str, int]]:
        """(spectrum, seed) of every run, all spectra of a seed together."""
        return [
            (spectrum, seed)
            for index, seed in enumerate(self.seeds)
            for spectrum in self.spectra
            if index < self.stopped.get(spectrum, len(self.seeds))
        ]

    @property
    def declared_contrasts(self) -> list[str]:
        """The contrasts; without that key all spectra but the baseline."""
        if self.contrasts is not None:
            return self.contrasts
        return [name for name in self.spectra if name != self.baseline]
