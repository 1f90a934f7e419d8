"""The proposals of a search, by optuna's samplers: ask and tell, without a state on disk.

A study is built in memory each time. What earlier rounds asked and were told is replayed, then the
next round is asked; so the proposals are a function of the seed and of the values. The libraries
are an extra, imported only here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from rope_spectra.runtime.errors import UserError
from rope_spectra.search.space import Point

if TYPE_CHECKING:
    import optuna

SamplerName: TypeAlias = Literal["cmaes", "tpe", "random"]


@dataclass(frozen=True)
class Told:
    """A round that is over: the points it proposed, in order, and the values of each.

    A point has one value for each metric, of which less is better, all finite.
    """

    points: Sequence[Point]
    values: Sequence[Sequence[float]]


def propose(
    sampler: SamplerName,
    seed: int,
    names: Sequence[str],
    proposals: Sequence[int],
    told: Sequence[Told],
    metrics: int = 1,
) -> list[Point]:
    """The points that the round after those of `told` proposes.

    names: the coordinates of a point. proposals: how many points each round of the search proposes,
    those that are over included; 0 is none. cmaes takes one metric; its generations are as large as
    the smallest round that proposes, which has to have four or more. Raises UserError where the
    library is missing, and where `told` is not what this sampler would have asked: then a number of
    the search has changed, or the version of the library.
    """
    study = _study(sampler, seed, names, proposals, metrics)
    for number, each in enumerate(told):
        trials, points = _ask(study, names, proposals[number])
        if not _same(points, each.points):
            raise UserError(
                f"round {number}: sampler {sampler} with seed {seed} does not propose the"
                " candidates that are there; go back to the settings and the version of optuna"
                " that they were proposed with, or delete the results of the search"
            )
        for trial, values in zip(trials, each.values, strict=True):
            study.tell(trial, list(values))
    return _ask(study, names, proposals[len(told)])[1]


def _study(
    sampler: SamplerName, seed: int, names: Sequence[str], proposals: Sequence[int], metrics: int
) -> "optuna.Study":
    try:
        import optuna

        if sampler == "cmaes":
            import cmaes  # noqa: F401 - optuna loads it when a trial is asked
    except ModuleNotFoundError as missing:
        raise UserError(
            f"a search needs {missing.name}, which is not installed; run"
            " pip install -r envs/requirements-search.txt"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed %= 2**32  # numpy takes no larger one
    built: optuna.samplers.BaseSampler
    if sampler == "cmaes":
        size = min(count for count in proposals if count)
        built = _cmaes(seed, size, _box(names))
    elif sampler == "tpe":
        built = optuna.samplers.TPESampler(seed=seed)
    else:
        built = optuna.samplers.RandomSampler(seed=seed)
    return optuna.create_study(directions=["minimize"] * metrics, sampler=built)


def _cmaes(
    seed: int, size: int, box: "dict[str, optuna.distributions.BaseDistribution]"
) -> "optuna.samplers.BaseSampler":
    import optuna

    class FromTheStart(optuna.samplers.CmaEsSampler):
        """CMA-ES that knows its space: the first round is a generation too, not a random draw."""

        def infer_relative_search_space(
            self,
            study: optuna.Study,  # noqa: ARG002
            trial: optuna.trial.FrozenTrial,  # noqa: ARG002
        ) -> dict[str, optuna.distributions.BaseDistribution]:
            return box

    return FromTheStart(seed=seed, popsize=size, n_startup_trials=0)


def _box(names: Sequence[str]) -> "dict[str, optuna.distributions.BaseDistribution]":
    import optuna

    return {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in names}


def _ask(
    study: "optuna.Study", names: Sequence[str], count: int
) -> tuple[list["optuna.Trial"], list[Point]]:
    box = _box(names)
    trials = [study.ask(box) for _ in range(count)]
    points = [tuple(float(trial.params[name]) for name in names) for trial in trials]
    return trials, points


def _same(points: Sequence[Point], others: Sequence[Point]) -> bool:
    """True for the same points, to the rounding of another machine."""
    return len(points) == len(others) and np.allclose(points, others, rtol=0, atol=1e-9)
