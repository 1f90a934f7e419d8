"""The frontier of an experiment: its primary endpoint against retrieval, and the verdicts on that.

An arm is on the frontier if no other one is at least as good by both endpoints and better by one.
Definitions and assumptions: docs/statistics.md. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from rope_spectra.analysis import endpoints, statistics, verdicts
from rope_spectra.analysis.endpoints import Row
from rope_spectra.analysis.retrieval_table import correct
from rope_spectra.analysis.summary_table import Blocks, crossed_columns, log_ppl_table
from rope_spectra.config.design import Arm, Design, label

RESAMPLES = 2000
# A difference of accuracies of 0 has the limit 0: none is ever called equivalent.
_NO_MARGIN = 0.0

COLUMNS = [
    *("experiment", "spectrum", "remap", "metric", "length", "retrieval_length", "tasks"),
    *("n_seeds", "seeds"),
    *("degradation", "degradation_crossed95_low", "degradation_crossed95_high"),
    *("log_ppl", "log_ppl_crossed95_low", "log_ppl_crossed95_high"),
    *("accuracy", "accuracy_crossed95_low", "accuracy_crossed95_high", "chance"),
    *("non_dominated", "non_dominated_share", "baseline", "n_pairs"),
    *("delta_accuracy", "delta_accuracy_crossed95_low", "delta_accuracy_crossed95_high"),
    *("p_sign_flip", "wins", "ties", "p_holm", "verdict"),
]

# NLL of the candidates at the length of the endpoint, [trials, candidates] by task, the true one
# first, by (spectrum, seed, remap).
Scores: TypeAlias = Mapping[tuple[str, int, str], Sequence[NDArray[np.floating]]]


@dataclass(frozen=True)
class Measured:
    """The endpoints of one arm, a row for each of its seeds.

    log_ppl: log PPL at the primary length, [seeds, blocks] in nats per token. degradation: its
    growth from the training length on; None where the primary metric is PPL. correct: the share of
    the tasks in which a trial is right, [seeds, trials]; trials of one number have the same passage
    of the text. chance: the share that guessing gives.
    """

    seeds: list[int]
    log_ppl: NDArray[np.float64]
    degradation: NDArray[np.float64] | None
    correct: NDArray[np.float64]
    chance: float

    @property
    def primary(self) -> NDArray[np.float64]:
        """The primary metric, [seeds, blocks]."""
        return self.log_ppl if self.degradation is None else self.degradation

    def rows_of(self, seeds: Sequence[int]) -> list[int]:
        """The rows of these seeds, in their order."""
        return [self.seeds.index(seed) for seed in seeds]


def measure(
    design: Design, runs: pd.DataFrame, blocks: Blocks, scores: Scores
) -> dict[Arm, Measured]:
    """Both endpoints of all arms.

    runs: the rows of the tidy table of one phase (runs.read_runs); blocks: those of protocol full.
    """
    assert design.primary is not None
    protocol = design.verdict_protocol
    at = runs[(runs["protocol"] == protocol) & (runs["length"] == design.primary.length)]
    is_growth = design.primary.metric == "degradation"
    arms = {}
    for (spectrum, remap), rows in at.groupby(["spectrum", "remap"], sort=False):
        rows = rows.sort_values("seed")
        seeds = rows["seed"].to_list()
        nll = [scores[spectrum, seed, remap] for seed in seeds]
        log_ppl = log_ppl_table(rows, blocks if protocol == "full" else None)
        arms[str(spectrum), str(remap)] = Measured(
            seeds=seeds,
            log_ppl=log_ppl,
            degradation=blocks.degradation(rows) if is_growth else None,
            correct=np.stack([correct(tasks) for tasks in nll]),
            chance=float(np.mean([1 / task.shape[1] for task in nll[0]])),
        )
    return arms


def frontier_table(
    design: Design, arms: Mapping[Arm, Measured], is_exploratory: bool = False
) -> pd.DataFrame:
    """frontier.csv: a row for each arm, the best by the primary metric first.

    is_exploratory: the declaration has changed since there are runs, so no verdict is given.
    """
    assert design.primary is not None
    assert design.retrieval_endpoint is not None
    shared = _shared_seeds(design, arms)
    points = _points(arms, shared)
    claims = comparisons(design, arms)
    tasks = design.retrieval_endpoint.tasks or design.probed_tasks
    rows = []
    for arm, point in points.items():
        row: Row = {
            "experiment": design.experiment,
            "spectrum": arm[0],
            "remap": arm[1],
            "metric": design.primary.metric,
            "length": design.primary.length,
            "retrieval_length": design.retrieval_endpoint.length,
            "tasks": " ".join(tasks),
            "n_seeds": len(shared),
            "seeds": " ".join(map(str, shared)),
        }
        row |= point | claims[arm]
        if is_exploratory and row["verdict"] != "baseline":
            row["verdict"] = "exploratory"
        rows.append(row)
    metric = "log_ppl" if design.primary.metric == "ppl" else "degradation"
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"n_pairs": "Int64", "ties": "Int64"})
    return table.sort_values(metric, kind="stable", ignore_index=True)


def non_dominated(lower: ArrayLike, higher: ArrayLike) -> NDArray[np.bool_]:
    """The arms than which no other one is at least as good twice and better once, [..., arms].

    lower: [..., arms], the less the better; higher: [..., arms], the more the better. Two equal
    arms do not dominate each other. An arm with a value that is not finite is never one of them.
    """
    x, y = np.broadcast_arrays(np.asarray(lower, float), np.asarray(higher, float))
    free = np.isfinite(x) & np.isfinite(y)
    for other in range(x.shape[-1]):
        its_x, its_y = x[..., other, None], y[..., other, None]
        as_good = (its_x <= x) & (its_y >= y)
        better = (its_x < x) | (its_y > y)
        free = free & ~(as_good & better)
    return free


def shares_on_the_frontier(
    lower: NDArray[np.float64], higher: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The share of resampled sets of seeds in which each arm is not dominated, [arms].

    lower, higher: by arm and seed, [arms, seeds]; seeds are drawn with replacement, the same for
    all arms and both values. NaN below two seeds.
    """
    n_arms, n_seeds = lower.shape
    if n_seeds < 2:
        return np.full(n_arms, np.nan)
    random = np.random.default_rng(0)
    counts = random.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=RESAMPLES)
    with np.errstate(invalid="ignore"):
        means = [counts @ values.T / n_seeds for values in (lower, higher)]
    return non_dominated(*means).mean(axis=0)


def _shared_seeds(design: Design, arms: Mapping[Arm, Measured]) -> list[int]:
    """The seeds that all arms have, in the declared order."""
    return [seed for seed in design.seeds if all(seed in arm.seeds for arm in arms.values())]


def _points(arms: Mapping[Arm, Measured], seeds: list[int]) -> dict[Arm, Row]:
    """The means of all arms over the same seeds, their intervals, and the frontier."""
    rows: dict[Arm, Row] = {}
    if not seeds:
        return {arm: {} for arm in arms}
    by_seed: dict[str, list[NDArray[np.float64]]] = {"lower": [], "higher": []}
    for arm, found in arms.items():
        index = found.rows_of(seeds)
        rows[arm] = _mean("log_ppl", found.log_ppl[index])
        if found.degradation is not None:
            rows[arm] |= _mean("degradation", found.degradation[index])
        rows[arm] |= _mean("accuracy", found.correct[index]) | {"chance": found.chance}
        by_seed["lower"].append(found.primary[index].mean(axis=1))
        by_seed["higher"].append(found.correct[index].mean(axis=1))
    lower, higher = (np.stack(values) for values in by_seed.values())
    free = non_dominated(lower.mean(axis=1), higher.mean(axis=1))
    shares = shares_on_the_frontier(lower, higher)
    for row, is_free, share in zip(rows.values(), free, shares, strict=True):
        row |= {"non_dominated": bool(is_free), "non_dominated_share": share}
    return rows


def _mean(name: str, values: NDArray[np.float64]) -> Row:
    """A mean over seeds and text with its crossed interval; values: [seeds, blocks]."""
    return {name: float(values.mean()), **crossed_columns(name, values)}


def comparisons(design: Design, arms: Mapping[Arm, Measured]) -> dict[Arm, Row]:
    """The columns of the comparisons of accuracy, by arm.

    The contrasts are those of the primary endpoint, a family of their own; one that was not run
    still counts in it.
    """
    rows: dict[Arm, Row] = {}
    tables: dict[Arm, NDArray[np.float64]] = {}
    for arm, ours in arms.items():
        other = design.comparisons.reference(arm)
        rows[arm] = {"baseline": label(other)}
        if other == arm:
            rows[arm]["verdict"] = "baseline"
            continue
        rows[arm]["verdict"] = "not declared"
        seeds = [seed for seed in ours.seeds if other in arms and seed in arms[other].seeds]
        rows[arm]["n_pairs"] = len(seeds)
        if seeds:
            theirs = arms[other]
            deltas = ours.correct[ours.rows_of(seeds)] - theirs.correct[theirs.rows_of(seeds)]
            rows[arm] |= _difference(deltas)
            tables[arm] = endpoints.in_order(deltas, seeds, design.serving_verdicts)
    assert design.primary is not None
    family = design.comparisons.family(design.remaps)
    chosen = [arm for arm in family if endpoints.is_chosen(arm, design.primary)]
    nothing = np.full((0, 1), np.nan)
    # Verdicts are about values of which less is better.
    found = verdicts.judge(
        [-tables.get(arm, nothing) for arm in chosen], _NO_MARGIN, design.looks or None
    )
    for arm, finding in zip(chosen, found, strict=True):
        if arm in rows:
            rows[arm] |= {"p_holm": finding.p_difference, "verdict": finding.verdict}
    return rows


def _difference(deltas: NDArray[np.float64]) -> Row:
    """The columns of a difference of accuracies, [seeds, trials]."""
    by_seed = deltas.mean(axis=1)
    return {
        **_mean("delta_accuracy", deltas),
        "p_sign_flip": statistics.sign_flip_p(by_seed),
        "wins": f"{np.count_nonzero(by_seed > 0)}/{len(by_seed)}",
        # Unlike losses, right and wrong trials can add up to the same.
        "ties": np.count_nonzero(by_seed == 0),
    }
