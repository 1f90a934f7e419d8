"""The tasks of the retrieval probe as tables: by run, by spectrum, by distance. Pure.

The measures are those of analysis/retrieval_table.py. Each stands beside what it is to be compared
with: chance, the same texts without statements (control), and the model when it reads no more than
the last tokens of the training length (truncated). Definitions: docs/statistics.md, section 6.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rope_spectra.analysis import retrieval_table, statistics
from rope_spectra.analysis.endpoints import Row
from rope_spectra.analysis.summary_table import crossed_columns, interval_columns, spread_columns
from rope_spectra.config.design import Contrasts, label

# Spectrum, seed, remap, length, task.
TaskKey: TypeAlias = tuple[str, int, str, int, str]
# Spectrum, remap, length, task.
Place: TypeAlias = tuple[str, str, int, str]

ALL = "all"  # in the column `task`: all tasks together


class Asked(NamedTuple):
    """The trials of one task by one run at one length.

    nll, control and truncated are NLLs of the candidates, the true one first, [trials, candidates];
    there is nothing to truncate up to the training length. distance [trials] is in tokens.
    """

    nll: NDArray[np.floating]
    control: NDArray[np.floating]
    truncated: NDArray[np.floating] | None
    distance: NDArray[np.integer]


@dataclass(frozen=True)
class Cell:
    """The scores of the seeds of an arm in a task at one length, each [seeds, passages].

    right, control and truncated are 0 or 1, and means over the tasks where the cell is of all of
    them; gap is in nats. Trials of one number have the same part of the text for all seeds.
    """

    seeds: list[int]
    trials: int
    chance: float
    right: NDArray[np.float64]
    gap: NDArray[np.float64]
    control: NDArray[np.float64]
    truncated: NDArray[np.float64] | None


def by_run(asked: Mapping[TaskKey, Asked]) -> pd.DataFrame:
    """A row per (spectrum, seed, remap, length, task), as those of retrieval_table.by_run.

    Columns besides: task, and the accuracies of the control and of the truncated texts.
    """
    rows = []
    for (spectrum, seed, remap, length, task), scores in asked.items():
        row: Row = {"spectrum": spectrum, "seed": seed, "remap": remap, "length": length}
        row |= {"task": task} | retrieval_table.score_row(scores.nll)
        row["control_accuracy"] = retrieval_table.right(scores.control).mean()
        row["truncated_accuracy"] = np.nan
        if scores.truncated is not None:
            row["truncated_accuracy"] = retrieval_table.right(scores.truncated).mean()
        rows.append(row)
    return pd.DataFrame(rows)


def summarize(
    asked: Mapping[TaskKey, Asked],
    baseline: str,
    contrasts: Iterable[str],
    shares: Mapping[str, float],
) -> pd.DataFrame:
    """A row per spectrum, remap, length and task, and one for all tasks together.

    shares: the part of the training rows that hold a task, by task; others were not trained in.
    Intervals named crossed95 are over seeds and passages, ci95 over the seeds alone. delta_* are
    minus the baseline, over the seeds that both have; p_sign_flip and wins are those of nll_gap.
    """
    declared = Contrasts.of(baseline, contrasts)
    found = cells(asked)
    table = []
    for (spectrum, remap, length, task), ours in found.items():
        other = declared.reference((spectrum, remap))
        row: Row = {"spectrum": spectrum, "remap": remap, "length": length, "task": task}
        share = sum(shares.values()) if task == ALL else shares.get(task, 0.0)
        row |= {"trained_share": share} | _spread(ours)
        if task != ALL:  # trials of different tasks are not draws with one probability
            count = ours.right.size
            wilson = statistics.wilson95(int(ours.right.sum()), count)
            row |= interval_columns("accuracy_wilson95", wilson)
        row["baseline"] = label(other)
        theirs = found.get((*other, length, task))
        if other != (spectrum, remap) and theirs is not None:
            row |= _comparison(ours, theirs)
        table.append(row)
    return pd.DataFrame(table)


def cells(asked: Mapping[TaskKey, Asked]) -> dict[Place, Cell]:
    """The cells of all tasks, and of all tasks together, of each arm and length."""
    groups: dict[Place, dict[int, Asked]] = {}
    for (spectrum, seed, remap, length, task), scores in asked.items():
        groups.setdefault((spectrum, remap, length, task), {})[seed] = scores
    found: dict[Place, Cell] = {}
    together: dict[Place, list[Cell]] = {}
    for (spectrum, remap, length, task), by_seed in groups.items():
        cell = _cell(dict(sorted(by_seed.items())))
        found[spectrum, remap, length, task] = cell
        together.setdefault((spectrum, remap, length, ALL), []).append(cell)
    return found | {place: _mean_cell(parts) for place, parts in together.items()}


def _cell(by_seed: Mapping[int, Asked]) -> Cell:
    first = next(iter(by_seed.values()))
    right = retrieval_table.right
    truncated = [each.truncated for each in by_seed.values() if each.truncated is not None]
    return Cell(
        seeds=list(by_seed),
        trials=len(first.nll),
        chance=1 / first.nll.shape[1],
        right=np.stack([right(each.nll) for each in by_seed.values()]).astype(float),
        gap=np.stack([retrieval_table.gap(each.nll) for each in by_seed.values()]),
        control=np.stack([right(each.control) for each in by_seed.values()]).astype(float),
        truncated=np.stack([right(nll) for nll in truncated]).astype(float) if truncated else None,
    )


def _mean_cell(parts: list[Cell]) -> Cell:
    """Of all tasks together: passage by passage the mean over the tasks."""
    first = parts[0]
    truncated = [part.truncated for part in parts if part.truncated is not None]
    return Cell(
        seeds=first.seeds,
        trials=sum(part.trials for part in parts),
        chance=first.chance,
        right=np.mean([part.right for part in parts], axis=0),
        gap=np.mean([part.gap for part in parts], axis=0),
        control=np.mean([part.control for part in parts], axis=0),
        truncated=np.mean(truncated, axis=0) if truncated else None,
    )


def _spread(cell: Cell) -> Row:
    """The columns of one arm, length and task that need no baseline."""
    row: Row = {
        "n_seeds": len(cell.seeds),
        "seeds": " ".join(map(str, cell.seeds)),
        "trials": cell.trials,
        "chance": cell.chance,
    }
    for name, values in (("accuracy", cell.right), ("nll_gap", cell.gap)):
        row |= spread_columns(name, values.mean(axis=1))
        row |= crossed_columns(name, values)
    row["control_accuracy"] = cell.control.mean()
    row |= crossed_columns("control_accuracy", cell.control)
    if cell.truncated is not None:
        beyond = cell.right - cell.truncated
        row["truncated_accuracy"] = cell.truncated.mean()
        row |= crossed_columns("truncated_accuracy", cell.truncated)
        row["gain_over_truncated"] = beyond.mean()
        row |= crossed_columns("gain_over_truncated", beyond)
    return row


def _comparison(ours: Cell, theirs: Cell) -> Row:
    """The differences on the seeds that both have; nothing without such seeds."""
    common = [seed for seed in ours.seeds if seed in theirs.seeds]
    if not common:
        return {}
    row: Row = {"n_pairs": len(common)}
    mine = [ours.seeds.index(seed) for seed in common]
    other = [theirs.seeds.index(seed) for seed in common]
    gaps = ours.gap[mine] - theirs.gap[other]
    rights = ours.right[mine] - theirs.right[other]
    for name, values in (("delta_accuracy", rights), ("delta_nll_gap", gaps)):
        row[name] = values.mean()
        row |= interval_columns(f"{name}_ci95", statistics.mean_ci95(values.mean(axis=1)))
        row |= crossed_columns(name, values)
    by_seed = gaps.mean(axis=1)
    row["p_sign_flip"] = statistics.sign_flip_p(by_seed)
    row["wins"] = f"{np.count_nonzero(by_seed > 0)}/{len(by_seed)}"
    return row


def by_distance(asked: Mapping[TaskKey, Asked], train_length: int) -> pd.DataFrame:
    """A row per spectrum, remap, length, task and bin of distances, and for all tasks together.

    A bin holds the distances distance_from <= d < distance_to, in tokens. Its edges are the powers
    of two and the training length. accuracy and nll_gap: the mean over the seeds of a seed's trials
    in the bin, with the t interval over the seeds; control and truncated: of the same trials.
    """
    groups: dict[Place, dict[int, pd.DataFrame]] = {}
    for (spectrum, seed, remap, length, task), scores in asked.items():
        trials = _trial_table(scores)
        for name in (task, ALL):
            by_seed = groups.setdefault((spectrum, remap, length, name), {})
            by_seed[seed] = pd.concat([by_seed[seed], trials]) if seed in by_seed else trials
    rows = []
    for (spectrum, remap, length, task), by_seed in groups.items():
        trials = pd.concat([table.assign(seed=seed) for seed, table in by_seed.items()])
        for low, high in pairwise(distance_edges(length, train_length)):
            inside = trials[(trials["distance"] >= low) & (trials["distance"] < high)]
            if inside.empty:
                continue
            row: Row = {"spectrum": spectrum, "remap": remap, "length": length, "task": task}
            rows.append(row | {"distance_from": low, "distance_to": high} | _bin_row(inside))
    return pd.DataFrame(rows)


def distance_edges(length: int, train_length: int) -> list[int]:
    """Edges of the bins of distances: the powers of two, the training length, and the length."""
    powers = {2**power for power in range(length.bit_length())}
    return sorted(edge for edge in powers | {train_length, length} if edge <= length)


def _trial_table(scores: Asked) -> pd.DataFrame:
    """A row per trial: distance, chance, right, gap, control and truncated."""
    right = retrieval_table.right
    truncated = np.nan if scores.truncated is None else right(scores.truncated)
    return pd.DataFrame(
        {
            "distance": scores.distance,
            "chance": 1 / scores.nll.shape[1],
            "accuracy": right(scores.nll),
            "nll_gap": retrieval_table.gap(scores.nll),
            "control_accuracy": right(scores.control),
            "truncated_accuracy": truncated,
        }
    ).astype({"accuracy": float, "control_accuracy": float, "truncated_accuracy": float})


def _bin_row(trials: pd.DataFrame) -> Row:
    """The columns of one bin; trials: those of all seeds, by _trial_table."""
    by_seed = trials.groupby("seed").mean()
    row: Row = {"n_seeds": len(by_seed), "trials": len(trials), "chance": by_seed["chance"].iloc[0]}
    for name in retrieval_table.MEASURES:
        row[name] = by_seed[name].mean()
        row |= interval_columns(f"{name}_ci95", statistics.mean_ci95(by_seed[name]))
    for name in ("control_accuracy", "truncated_accuracy"):
        row[name] = by_seed[name].mean()
    return row
