"""The design of an experiment: its runs, its comparisons, selection and confirmation.

`results/<experiment>/experiment.json` holds it frozen; the tables, figures and pages are made from
it. Pure, imports nothing heavy.

An arm is a trained spectrum under a remap, a row of the tables. `geo_500k+yarn` names one;
`geo_500k` alone names that spectrum under every remap, and as something to compare with, under the
remap of the row. A contrast is `name`, compared with the baseline, or `name vs other`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import Field

from rope_spectra.config.experiment import Primary, RetrievalEndpoint, Selection
from rope_spectra.config.hypotheses import Hypothesis
from rope_spectra.config.sections import Protocol, Remap, Retrieval
from rope_spectra.rope.families import NamedSpectrum
from rope_spectra.runtime.settings import ExperimentName, Name, Seed, Settings

Arm: TypeAlias = tuple[str, str]

NATIVE = "none"
ALL, SELECTION, CONFIRMATION = "all", "selection", "confirmation"


class Design(Settings):
    """The settings that tables and figures depend on, besides the runs."""

    experiment: ExperimentName
    description: str
    dataset: Name
    model: Name
    training: ExperimentName
    seeds: Annotated[list[Seed], Field(min_length=1)]
    baseline: str
    contrasts: list[str]
    selection: Selection | None
    noise_floor: int
    lengths: Annotated[list[int], Field(min_length=1)]
    protocols: list[Protocol]
    remaps: list[Remap]
    equivalence_margin: float
    # Younger than finished experiments, whose frozen design must stay as it was.
    retrieval: Retrieval | None = Field(None, exclude_if=lambda probe: probe is None)
    primary: Primary | None = Field(None, exclude_if=lambda primary: primary is None)
    retrieval_endpoint: RetrievalEndpoint | None = Field(
        None, exclude_if=lambda endpoint: endpoint is None
    )
    looks: list[int] = Field([], exclude_if=lambda looks: not looks)
    stopped: dict[str, int] = Field({}, exclude_if=lambda stopped: not stopped)
    hypotheses: dict[Name, Hypothesis] = Field({}, exclude_if=lambda hypotheses: not hypotheses)
    head_dim: int
    train_length: int
    spectra: Annotated[list[NamedSpectrum], Field(min_length=1)]

    @property
    def longest(self) -> int:
        """The longest evaluation length, in tokens."""
        return max(self.lengths)

    @property
    def runs(self) -> list[tuple[str, int]]:
        """(spectrum, seed) of every run that is compared."""
        return [
            (spectrum.name, seed)
            for spectrum in self.spectra
            for seed in self.seeds[: self.stopped.get(spectrum.name)]
        ]

    @property
    def confirming_runs(self) -> list[tuple[str, int]]:
        """Those of `runs` that do not serve selection."""
        return [run for run in self.runs if self.phase_of(run[1]) != SELECTION]

    @property
    def comparisons(self) -> "Contrasts":
        """The declared contrasts and the baseline."""
        return Contrasts.of(self.baseline, self.contrasts)

    @property
    def repeats(self) -> list[tuple[str, str]]:
        """(spectrum, seed-repeat) of the runs that measure the noise floor."""
        return repeats(self.baseline, self.seeds, self.noise_floor)

    @property
    def noise_floor_runs(self) -> list[tuple[str, str]]:
        """(spectrum, seed) of the baseline with every seed, then of its repeats."""
        spectrum, _ = parse_arm(self.baseline)
        return [*((spectrum, str(seed)) for seed in self.seeds), *self.repeats]

    def phase_of(self, seed: int) -> str:
        """The phase that a seed serves: what chose a candidate must not also confirm it."""
        if self.selection is None:
            return ALL
        return SELECTION if seed in self.selection.seeds else CONFIRMATION

    def seeds_of(self, phase: str) -> list[int]:
        """The seeds of a phase, in the experiment's order."""
        return [seed for seed in self.seeds if self.phase_of(seed) == phase]

    @property
    def probed_tasks(self) -> list[str]:
        """The tasks of the retrieval probe; none in its first version, and without a probe."""
        return list((self.retrieval and self.retrieval.tasks) or [])

    @property
    def verdict_protocol(self) -> str:
        """The protocol of verdicts: full, the same text at every length, where it is measured."""
        return "full" if "full" in self.protocols else "first_chunks"

    @property
    def serving_verdicts(self) -> list[int]:
        """The seeds that serve verdicts: all but those of the selection."""
        return [seed for seed in self.seeds if self.phase_of(seed) != SELECTION]

    def up_to(self, look: int) -> list[int]:
        """The first seeds, of which so many serve verdicts."""
        return self.seeds[: self.seeds.index(self.serving_verdicts[look - 1]) + 1]

    def blocks_of(self, phase: str, n_blocks: int) -> slice:
        """The blocks of protocol `full` that a phase reads; each of the two has at least one.

        Raises ValueError below two blocks.
        """
        if self.selection is None or phase == ALL:
            return slice(0, n_blocks)
        if n_blocks < 2:
            raise ValueError(
                "selection and confirmation need two blocks of validation text, there is"
                f" {n_blocks}"
            )
        first = min(max(round(self.selection.blocks * n_blocks), 1), n_blocks - 1)
        return slice(0, first) if phase == SELECTION else slice(first, n_blocks)


def repeats(baseline: str, seeds: list[int], count: int) -> list[tuple[str, str]]:
    """(spectrum, seed-repeat) of the `count` runs that repeat the baseline with its first seed."""
    spectrum, _ = parse_arm(baseline)
    return [(spectrum, f"{seeds[0]}-repeat{k}") for k in range(1, count + 1)]


def label(arm: Arm) -> str:
    """The name of an arm: `geo_500k+yarn`, and `geo_500k` for the spectrum as it was trained."""
    spectrum, remap = arm
    return spectrum if remap == NATIVE else f"{spectrum}+{remap}"


def parse_arm(name: str) -> tuple[str, str | None]:
    """Spectrum and remap of a name in the config; None where it names no remap."""
    spectrum, plus, remap = name.partition("+")
    return spectrum, remap if plus else None


@dataclass(frozen=True)
class Contrasts:
    """The comparisons of an experiment.

    against: the declared contrasts, by name what that name is compared with. All other arms are
    compared with the baseline.
    """

    baseline: str
    against: Mapping[str, str]

    @classmethod
    def of(cls, baseline: str, contrasts: Iterable[str]) -> "Contrasts":
        """From the two keys of an experiment."""
        pairs = (entry.partition(" vs ") for entry in contrasts)
        return cls(baseline, {name.strip(): other.strip() or baseline for name, _, other in pairs})

    def reference(self, arm: Arm) -> Arm:
        """The arm that the row of an arm is compared with; the arm itself if it is a baseline."""
        spectrum, remap = arm
        of_all_remaps = self.against.get(spectrum, self.baseline)
        other = self.against.get(f"{spectrum}+{remap}", of_all_remaps)
        reference, own_remap = parse_arm(other)
        return reference, remap if own_remap is None else own_remap

    def family(self, remaps: Iterable[str]) -> list[Arm]:
        """The declared contrasts as arms, in order; a name without a remap is one arm per remap."""
        remaps = list(remaps)
        arms: list[Arm] = []
        for name in self.against:
            spectrum, remap = parse_arm(name)
            arms += [(spectrum, each) for each in (remaps if remap is None else [remap])]
        return [arm for arm in dict.fromkeys(arms) if self.reference(arm) != arm]
