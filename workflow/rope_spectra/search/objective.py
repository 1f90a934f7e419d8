"""The objective of a search: differences to the baseline, paired by seed. Pure.

Of every value less is better. A limit on the loss within the training length keeps candidates out
that degrade less because they are worse from the start.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import numpy as np

from rope_spectra.analysis import runs, statistics
from rope_spectra.analysis.frontier import non_dominated
from rope_spectra.analysis.retrieval_table import correct
from rope_spectra.analysis.runs import Arrays
from rope_spectra.config.design import NATIVE
from rope_spectra.data.base import TASKS
from rope_spectra.runtime.errors import UserError

SearchMetric: TypeAlias = Literal["degradation", "retrieval"]
Name = TypeVar("Name", bound=Hashable)
# Above every loss in nats: a candidate beyond the limit is told to be worse than any within it, and
# one without a finite value worse than both.
_BEYOND_THE_LIMIT, _NO_VALUE = 1e3, 1e6


@dataclass(frozen=True)
class Objective:
    """One metric or two at an evaluation length in tokens, and the limit.

    limit: nats per token above the loss of the baseline at the training length; None is no limit.
    """

    metrics: tuple[SearchMetric, ...]
    length: int
    train_length: int
    limit: float | None = None


@dataclass(frozen=True)
class Measured:
    """The scores of one run on the text of the selection.

    values: one for each metric, less is better: degradation in nats per token, retrieval as the
    share of trials that are wrong. within: NLL at the training length in nats per token.
    """

    values: tuple[float, ...]
    within: float


@dataclass(frozen=True)
class Score:
    """A candidate less the baseline.

    values: the mean over the seeds, one for each metric. deltas: the same, by seed.
    within: how much higher its loss at the training length is, in nats per token. excess: how far
    that is above the limit; not above 0 for a candidate that keeps it.
    """

    values: tuple[float, ...]
    deltas: tuple[tuple[float, ...], ...]
    within: float
    excess: float

    @property
    def is_allowed(self) -> bool:
        """True for a candidate with finite values within the limit."""
        return self.excess <= 0 and all(map(math.isfinite, self.values))

    @property
    def noise(self) -> tuple[float, ...]:
        """The standard error over the seeds, one for each metric; NaN for a single seed."""
        n = len(self.deltas)
        return tuple(statistics.std(column) / n**0.5 for column in zip(*self.deltas, strict=True))

    @property
    def told(self) -> tuple[float, ...]:
        """The values for the sampler, always finite.

        A candidate beyond the limit is worse than all that keep it, by how far it is beyond (Deb
        2000).
        """
        if not math.isfinite(self.excess) or not all(map(math.isfinite, self.values)):
            return (_NO_VALUE,) * len(self.values)
        if self.excess > 0:
            return (_BEYOND_THE_LIMIT + self.excess,) * len(self.values)
        return self.values


def measured(arrays: Arrays, objective: Objective) -> Measured:
    """The scores of a run; arrays: its eval.npz, cut to the text of the selection (runs.of_phase).

    Raises UserError for a run that was not evaluated at the two lengths.
    """
    within = f"{NATIVE}/{objective.train_length}"
    if f"{within}/nll" not in arrays:
        raise UserError(
            f"objective: the runs are not evaluated at {objective.train_length}, the training"
            " length, with protocol full; add both to the evaluation preset"
        )
    values = tuple(_value(metric, arrays, objective) for metric in objective.metrics)
    nll = arrays[f"{within}/nll"]
    tokens = int(arrays[f"{within}/tokens"].sum()) * len(nll)
    return Measured(values, float(nll.sum() / tokens))


def _value(metric: SearchMetric, arrays: Arrays, objective: Objective) -> float:
    name = f"{NATIVE}/{objective.length}"
    if metric == "degradation":
        if f"{name}/nll" not in arrays:
            raise UserError(
                f"objective.length: the runs are not evaluated at {objective.length}; choose one of"
                " the lengths of the evaluation preset"
            )
        return runs.degradation(arrays, NATIVE, objective.length, objective.train_length)[0]
    # The first version of the probe has no tasks.
    names = [f"{name}/retrieval", *(f"{name}/retrieval/{task}" for task in TASKS)]
    tasks = [arrays[each] for each in names if each in arrays]
    if not tasks:
        raise UserError(
            f"objective.metric: the runs have no retrieval probe at {objective.length}; choose an"
            " evaluation preset with `retrieval`"
        )
    return 1.0 - float(correct(tasks).mean())


def score(
    ours: Sequence[Measured], baseline: Sequence[Measured], limit: float | None = None
) -> Score:
    """A candidate less the baseline; both lists are of the same seeds in the same order."""
    pairs = list(zip(ours, baseline, strict=True))
    deltas = [tuple(np.subtract(own.values, other.values).tolist()) for own, other in pairs]
    within = float(np.mean([own.within - other.within for own, other in pairs]))
    excess = -math.inf if limit is None else within - limit
    if not math.isfinite(within):
        excess = math.inf
    means = tuple(np.mean(deltas, axis=0).tolist())
    return Score(values=means, deltas=tuple(deltas), within=within, excess=excess)


def in_order(scores: Mapping[Name, Score]) -> list[Name]:
    """The names of the candidates, the best first.

    Those within the limit come first: by their value, or with two metrics by the frontier that they
    are on (the candidates that no other one beats are the first, those that are then not beaten the
    second), and on the same one by the sum of their two ranks. Then those beyond it, by how far.
    Equal ones keep their order.
    """
    allowed = [name for name in scores if scores[name].is_allowed]
    beyond = [name for name in scores if not scores[name].is_allowed]
    beyond.sort(key=lambda name: scores[name].told)
    if not allowed:
        return beyond
    if len(scores[allowed[0]].values) == 1:
        return [*sorted(allowed, key=lambda name: scores[name].values), *beyond]
    values = np.array([scores[name].values for name in allowed])
    ranks = (values[:, None, :] > values[None, :, :]).sum(axis=1).sum(axis=1)
    order = np.lexsort((ranks, _fronts(values)))  # the last key counts first
    return [*(allowed[index] for index in order), *beyond]


def _fronts(values: np.ndarray) -> np.ndarray:
    """The number of the frontier that each row [candidates, 2] is on, from 0."""
    number = np.full(len(values), -1)
    left = np.arange(len(values))
    for front in range(len(values)):
        free = non_dominated(values[left, 0], -values[left, 1])
        number[left[free]] = front
        left = left[~free]
    return number


def pooled_noise(scores: Sequence[Score]) -> tuple[float, ...]:
    """The standard deviation of a difference of one seed, pooled over candidates, by metric.

    NaN where no candidate has two seeds.
    """
    tables = [np.array(each.deltas) for each in scores if len(each.deltas) > 1]
    tables = [table for table in tables if np.isfinite(table).all()]
    if not tables:
        return (np.nan,) * len(scores[0].values)
    squares = sum(((table - table.mean(axis=0)) ** 2).sum(axis=0) for table in tables)
    freedom = sum(len(table) - 1 for table in tables)
    return tuple(np.sqrt(squares / freedom).tolist())
