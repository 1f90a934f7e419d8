"""Searches of config.yaml: a space of spectra, what is sought in it, and in which rounds.

A search is a set of ordinary experiments, its parts (config/parts.py): one for each round, one for
the confirmation. Known beforehand is all but what the candidates are.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from rope_spectra.config.experiment import Experiment, SpectrumNames
from rope_spectra.rope.family import Base, in_tokens
from rope_spectra.runtime.settings import Distinct, Name, Section, Seed

Sought: TypeAlias = Literal["degradation", "retrieval"]
Sampler: TypeAlias = Literal["cmaes", "tpe", "random"]

# The spectra of a confirmation that the search has found, best first.
FOUND = ("best", "second", "third")


class Space(Section):
    """Monotone curves of log wavelength over the rotary pairs."""

    knots: int = Field(5, ge=3, le=8)
    """Points that a curve goes through, in equal steps from the first pair to the last that
    rotates"""
    wavelength: Annotated[list[Base], Field(min_length=2, max_length=2)]
    """Shortest and longest wavelength in tokens; `train_length*16` is in terms of seq_len"""
    stilled: Annotated[list[Annotated[float, Field(ge=0, le=0.9)]], Field(min_length=2)] = Field(
        [0.0, 0.0], max_length=2
    )
    """Smallest and largest part of the pairs, the slowest ones, that do not rotate"""

    def bounds(self, train_length: int) -> tuple[float, float]:
        """The shortest and the longest wavelength, in tokens."""
        shortest, longest = (in_tokens(each, train_length) for each in self.wavelength)
        return shortest, longest


class Objective(Section):
    """The aim of a search: a mean paired difference from its baseline."""

    metric: Sought | Annotated[list[Sought], Field(min_length=2, max_length=2), Distinct]
    """degradation (log PPL less that at the training length, on the same tokens), retrieval
    (accuracy of the retrieval probe), or both, whose frontier is then sought"""
    length: Annotated[int, Field(ge=2)]
    """The evaluation length, in tokens"""
    limit: Annotated[float, Field(ge=0)] | None = None
    """Most nats per token that the loss at the training length may be above that of the baseline
    (null is no limit)"""

    @property
    def metrics(self) -> list[Sought]:
        """The metrics as a list of one or two."""
        return self.metric if isinstance(self.metric, list) else [self.metric]


class Round(Section):
    """A round of a search."""

    candidates: int = Field(ge=1, le=100)
    """Spectra that are trained: the best of the round before, and new ones"""
    proposals: Annotated[int, Field(ge=0)] | None = None
    """How many of them are new (null is all in the first round and none in the others)"""
    share: float = Field(1.0, gt=0, le=1)
    """Part of the training tokens"""
    seeds: Annotated[list[Seed], Field(min_length=1), Distinct]
    """One run of every candidate and of the baseline per seed"""


class Confirmation(Section):
    """The best three of a search against declared spectra, on other seeds and other text."""

    seeds: Annotated[list[Seed], Field(min_length=1), Distinct]
    """Seeds that no round has"""
    spectra: SpectrumNames
    """Declared spectra, each of which is compared with the best"""


class Search(Section):
    """A search for the spectrum that does best by an objective."""

    description: str = ""
    """The question that the search answers"""
    dataset: str
    """Name of a dataset; the first half of its validation text serves the rounds, the second the
    confirmation"""
    model: str
    """Name of a model"""
    training: str
    """Name of a way to train"""
    evaluation: str
    """Name of a way to evaluate"""
    baseline: str
    """The spectrum that candidates are compared with in every round, seed by seed"""
    space: Space
    """The spectra among which is sought"""
    objective: Objective
    """What is sought"""
    sampler: Sampler
    """How candidates are proposed, by optuna: cmaes, tpe or random"""
    seed: Seed = 0
    """Of the sampler"""
    rounds: Annotated[list[Round], Field(min_length=1, max_length=20)]
    """Successive halving: fewer candidates from round to round, with more training and seeds"""
    confirmation: Confirmation
    """What the best is compared with in the end"""

    def proposals(self, index: int) -> int:
        """The number of new candidates of a round."""
        given = self.rounds[index].proposals
        if given is not None:
            return given
        return 0 if index else self.rounds[0].candidates

    def slots(self, index: int) -> list[str]:
        """The names of the candidates of a round: first those that went on, best first, then new.

        They are places: only `proposal` in candidates.json tells a candidate from round to round.
        """
        return [f"c{place:02}" for place in range(self.rounds[index].candidates)]

    @property
    def found(self) -> list[str]:
        """The names under which the best of the last round are confirmed."""
        return list(FOUND[: self.rounds[-1].candidates])

    @property
    def selection_seeds(self) -> list[Seed]:
        """The seeds of all rounds."""
        return list(dict.fromkeys(seed for each in self.rounds for seed in each.seeds))


class SearchPart(Experiment):
    """A round or the confirmation of a search, as an experiment."""

    search: Name
    """Name of the search"""
    proposed: list[str]
    """Those of its spectra that only candidates.json knows"""
    is_confirmation: bool
    """Whether it is the confirmation"""
