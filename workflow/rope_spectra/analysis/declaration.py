"""The claims of an experiment, sealed before its first run, and how they stand afterwards.

results/<experiment>/declaration.json holds the design as it was before the first training started,
with the time, and the looks at the seeds since then. It is sealed by the Snakefile, before any job.
A run says when it was finished, so a declaration that is younger than a run can be told. Imports
nothing heavy.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from rope_spectra.artifacts import layout, provenance, seal
from rope_spectra.config.design import SELECTION, Design
from rope_spectra.rope.families import Proposed
from rope_spectra.runtime.settings import Record

# The keys of a design that verdicts are about; a change of another one changes no claim.
_CLAIMS = (
    "primary",
    "retrieval_endpoint",
    "baseline",
    "contrasts",
    "equivalence_margin",
    "selection",
    "looks",
    "train_length",
)


class Look(Record):
    """One look at the tables: its time, and the seeds in them that serve verdicts."""

    time: str
    seeds: list[int]


class _Run(Record):
    """The part of run.json that is read here."""

    finished: str | None = None


class Declaration(Record):
    """The content of declaration.json: the design at that time, and the looks in their order."""

    time: str
    declared: Design
    looks: list[Look] = Field(default_factory=list)


class Standing(Record):
    """The claims of an experiment when its tables were made, a part of tables.json.

    sealed is the time of the declaration. earlier counts the runs, of so many, that were finished
    before it, or whose record does not tell. changes are the differences from it, in words. planned
    are the declared numbers of seeds at which to look.
    """

    sealed: str
    runs: int
    earlier: int
    changes: list[str]
    looks: list[Look]
    planned: list[int]

    @property
    def unplanned(self) -> list[int]:
        """The numbers of seeds at looks that were not declared."""
        seen = [len(look.seeds) for look in self.looks]
        return [count for count in seen if count not in self.planned]


def declare(design: Design) -> Declaration:
    """The declaration of an experiment; sealed now if there is none.

    One that was sealed before anything was trained may still be changed: it is sealed again.
    Raises UserError if it is damaged.
    """
    path = layout.fill(layout.DECLARATION, experiment=design.experiment)
    if path.exists():
        found = seal.load_record(path, Declaration)
        if found.declared == design or _is_trained(design.experiment):
            return found
    declared = Declaration(time=provenance.now(), declared=design)
    seal.write(path, declared.content())
    return declared


def look(design: Design, runs: Iterable[tuple[str, int]]) -> Standing:
    """The standing of the claims now that these runs are tabulated; a new look is recorded.

    Raises UserError if the declaration or the record of a run is damaged.
    """
    runs = list(runs)
    found = declare(design)
    seeds = {seed for _, seed in runs if design.phase_of(seed) != SELECTION}
    seen = [set(each.seeds) for each in found.looks]
    if seeds and not any(seeds <= earlier for earlier in seen):
        new = Look(time=provenance.now(), seeds=[each for each in design.seeds if each in seeds])
        found = found.model_copy(update={"looks": [*found.looks, new]})
        path = layout.fill(layout.DECLARATION, experiment=design.experiment)
        seal.write(path, found.content())
    declared = found.declared
    return Standing(
        sealed=found.time,
        runs=len(runs),
        earlier=sum(_finished(design.experiment, *run) < found.time for run in runs),
        changes=list(changes(declared, design)),
        looks=found.looks,
        planned=declared.looks or [len(declared.serving_verdicts)],
    )


def changes(declared: Design, now: Design) -> Iterator[str]:
    """The differences of a design from what was declared, in words.

    More seeds at the end are no change of the claims but, once the tables are made, another look.
    """
    before, after = declared.content(), now.content()
    for key in _CLAIMS:
        if before.get(key) != after.get(key):
            yield f"`{key}` was {_text(before.get(key))} and is {_text(after.get(key))}"
    if now.seeds[: len(declared.seeds)] != declared.seeds:
        yield f"`seeds` were {_text(declared.seeds)} and are {_text(now.seeds)}"
    spectra = {spectrum.name: spectrum for spectrum in now.spectra}
    for spectrum in declared.spectra:
        # What a search proposes was not known then.
        if isinstance(spectrum.shape, Proposed):
            continue
        if spectra.get(spectrum.name, spectrum) != spectrum:
            yield f"the spectrum {spectrum.name} has changed"


def late_hypotheses(design: Design) -> list[str]:
    """The hypotheses that were added or changed after the declaration: they are exploratory.

    Unlike the changes above they cast no doubt on the verdicts of contrasts, whose family they are
    no part of. Raises UserError if the declaration is damaged.
    """
    declared = declare(design).declared.hypotheses
    return [name for name, value in design.hypotheses.items() if declared.get(name) != value]


def _text(value: Any) -> str:
    return "not given" if value is None else json.dumps(value)


def _is_trained(experiment: str) -> bool:
    """True once a run of the experiment is finished, or of any part of its search."""
    search = layout.search_of(experiment)
    experiment = f"{search}/*" if search else experiment
    return any(Path().glob(layout.RUN.format(experiment=experiment, spectrum="*", seed="*")))


def _finished(experiment: str, spectrum: str, seed: int) -> str:
    """The time at which a run was finished; the empty text, which is before all, where unknown."""
    path = layout.fill(layout.RUN, experiment=experiment, spectrum=spectrum, seed=seed)
    return seal.load_record(path, _Run).finished or ""
