"""The results of the retrieval probe as tables, of the runs and of the spectra. Pure.

`accuracy` is the part of the trials in which the true value is the likeliest of the candidates.
`nll_gap` is, within a trial, the mean NLL of the other candidates minus that of the true one, in
nats: 0 for a model that does not look back.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rope_spectra.analysis import statistics
from rope_spectra.analysis.endpoints import Row
from rope_spectra.analysis.summary_table import Key, interval_columns, spread_columns
from rope_spectra.config.design import Contrasts, label

MEASURES = ("accuracy", "nll_gap")


def by_run(nll: Mapping[Key, NDArray[np.floating]]) -> pd.DataFrame:
    """A row per (spectrum, seed, remap, length) of `nll`.

    nll: the NLL of the candidates, [trials, candidates], the true one first. Columns: trials,
    chance (1 / candidates), correct, accuracy with its Wilson interval over the trials, nll_gap
    with its t interval over the trials, each of which pairs its candidates. A trial with another
    candidate as likely as the true one is not correct.
    """
    rows = []
    for (spectrum, seed, remap, length), scores in nll.items():
        key = {"spectrum": spectrum, "seed": seed, "remap": remap, "length": length}
        rows.append(key | score_row(scores))
    return pd.DataFrame(rows)


def score_row(scores: NDArray[np.floating]) -> Row:
    """The columns of the trials of one run at one length; scores: as in by_run."""
    trials, candidates = scores.shape
    correct = int(np.count_nonzero(right(scores)))
    gaps = gap(scores)
    return {
        "trials": trials,
        "chance": 1 / candidates,
        "correct": correct,
        "accuracy": correct / trials,
        **interval_columns("accuracy_wilson95", statistics.wilson95(correct, trials)),
        "nll_gap": gaps.mean(),
        **interval_columns("nll_gap_ci95", statistics.mean_ci95(gaps)),
    }


def right(scores: NDArray[np.floating]) -> NDArray[np.bool_]:
    """True for the trials in which the true value, the first, is likelier than all others.

    scores: the NLL of the candidates, [trials, candidates].
    """
    true = scores[:, 0].astype(np.float64)
    return true < scores[:, 1:].astype(np.float64).min(axis=1)


def correct(tasks: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """The share of the tasks in which each trial is right, [trials].

    tasks: NLL of the candidates, [trials, candidates], the true one first. A trial with another
    candidate as likely as the true one is not right.
    """
    return np.mean([right(nll) for nll in tasks], axis=0, dtype=np.float64)


def gap(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """By trial the mean NLL of the other candidates minus that of the true one, in nats."""
    others = scores[:, 1:].astype(np.float64)
    return others.mean(axis=1) - scores[:, 0].astype(np.float64)


def summarize(runs: pd.DataFrame, baseline: str, contrasts: Iterable[str]) -> pd.DataFrame:
    """A row per spectrum, remap and length, compared as in the summary of perplexities.

    accuracy and nll_gap: mean over the seeds, std (ddof 1) and t interval; accuracy_wilson95: over
    the trials of all seeds, which says how sure it is that these very models do better than chance,
    and nothing about other seeds. delta_*: minus the baseline, mean over the seeds that both have,
    with t interval; p_sign_flip and wins are those of nll_gap.
    """
    declared = Contrasts.of(baseline, contrasts)
    cells = {
        key: rows.set_index("seed").sort_index()
        for key, rows in runs.groupby(["spectrum", "remap", "length"], sort=False)
    }
    table = []
    for (spectrum, remap, length), ours in cells.items():
        other = declared.reference((spectrum, remap))
        row: Row = {"spectrum": spectrum, "remap": remap, "length": length}
        row |= _spread(ours) | {"baseline": label(other)}
        theirs = cells.get((*other, length))
        if other != (spectrum, remap) and theirs is not None:
            row |= _comparison(ours, theirs)
        table.append(row)
    return pd.DataFrame(table)


def _spread(runs: pd.DataFrame) -> Row:
    """The columns of one arm at one length that need no baseline; runs by seed."""
    first = runs.iloc[0]
    row: Row = {
        "n_seeds": len(runs),
        "seeds": " ".join(map(str, runs.index)),
        "trials": int(first["trials"]),
        "chance": first["chance"],
    }
    for name in MEASURES:
        row |= spread_columns(name, runs[name])
    wilson = statistics.wilson95(int(runs["correct"].sum()), int(runs["trials"].sum()))
    return row | interval_columns("accuracy_wilson95", wilson)


def _comparison(ours: pd.DataFrame, theirs: pd.DataFrame) -> Row:
    """The differences on the seeds that both have; nothing without such seeds."""
    common = ours.index.intersection(theirs.index)
    if common.empty:
        return {}
    row: Row = {"n_pairs": len(common)}
    for name in MEASURES:
        deltas = (ours.loc[common, name] - theirs.loc[common, name]).to_numpy()
        row[f"delta_{name}"] = deltas.mean()
        row |= interval_columns(f"delta_{name}_ci95", statistics.mean_ci95(deltas))
    # Of the two measures the gap is the finer one: accuracy moves in steps of a trial.
    gaps = (ours.loc[common, "nll_gap"] - theirs.loc[common, "nll_gap"]).to_numpy()
    row["p_sign_flip"] = statistics.sign_flip_p(gaps)
    row["wins"] = f"{np.count_nonzero(gaps > 0)}/{len(gaps)}"
    return row
