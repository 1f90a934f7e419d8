"""What the retrieval probe has shown, as tables: one row per run and length, and one per spectrum and length. Pure.

`accuracy` is the part of the trials in which the true value is the likeliest of the candidates. `nll_gap` is, within a trial, the
mean NLL of the other candidates minus that of the true one, in nats: 0 for a model that does not look back.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rope_spectra.analysis import statistics
from rope_spectra.config.contrasts import Contrasts, label

Row = dict[str, Any]
Key = tuple[str, int, str, int]


def by_run(nll: dict[Key, NDArray[np.floating]]) -> pd.DataFrame:
    """A row per (spectrum, seed, remap, length) of `nll`, the NLL of the candidates [trials, n], the true one first.

    Columns: trials, chance (1/n), correct, accuracy with its Wilson interval over the trials, nll_gap with its t interval over
    the trials, each of which pairs its candidates. A trial with another candidate as likely as the true one is not correct.
    """
    keys = "spectrum", "seed", "remap", "length"
    return pd.DataFrame(
        [dict(zip(keys, key, strict=True)) | _run(scores) for key, scores in nll.items()]
    )


def _run(scores: NDArray[np.floating]) -> Row:
    true, others = scores[:, 0].astype(np.float64), scores[:, 1:].astype(np.float64)
    correct, gap = int(np.count_nonzero(true < others.min(axis=1))), others.mean(axis=1) - true
    return {
        "trials": len(scores),
        "chance": 1 / scores.shape[1],
        "correct": correct,
        "accuracy": correct / len(scores),
        **_interval("accuracy_wilson95", statistics.wilson95(correct, len(scores))),
        "nll_gap": gap.mean(),
        **_interval("nll_gap_ci95", statistics.mean_ci95(gap)),
    }


def summarize(runs: pd.DataFrame, baseline: str, contrasts: Iterable[str]) -> pd.DataFrame:
    """A row per spectrum, remap and length, with what it is compared with as in the summary of perplexities (contrasts.py).

    accuracy and nll_gap: mean over the seeds, std (ddof 1) and t interval; accuracy_wilson95: over the trials of all seeds,
    which says how sure it is that these very models do better than chance, and nothing about other seeds. delta_*: minus the
    baseline, mean over the seeds that both have, with t interval; p_sign_flip and wins are those of nll_gap.
    """
    declared = Contrasts.of(baseline, contrasts)
    arms = {
        arm: rows.set_index("seed").sort_index()
        for arm, rows in runs.groupby(["spectrum", "remap", "length"], sort=False)
    }
    rows = []
    for (spectrum, remap, length), ours in arms.items():
        other = declared.reference((spectrum, remap))
        row = (
            {"spectrum": spectrum, "remap": remap, "length": length}
            | _spread(ours)
            | {"baseline": label(other)}
        )
        rows.append(
            row
            | (_comparison(ours, arms.get((*other, length))) if other != (spectrum, remap) else {})
        )
    return pd.DataFrame(rows)


def _spread(runs: pd.DataFrame) -> Row:
    """The columns of one arm at one length that need no baseline; runs by seed."""
    first = runs.iloc[0]
    row: Row = {
        "n_seeds": len(runs),
        "seeds": " ".join(map(str, runs.index)),
        "trials": int(first["trials"]),
        "chance": first["chance"],
    }
    for name in ("accuracy", "nll_gap"):
        row |= {f"{name}_mean": runs[name].mean(), f"{name}_std": statistics.std(runs[name])}
        row |= _interval(f"{name}_ci95", statistics.mean_ci95(runs[name]))
    wilson = statistics.wilson95(int(runs["correct"].sum()), int(runs["trials"].sum()))
    return row | _interval("accuracy_wilson95", wilson)


def _comparison(ours: pd.DataFrame, theirs: pd.DataFrame | None) -> Row:
    """The differences on the seeds that both have; nothing without such seeds."""
    if theirs is None or not len(common := ours.index.intersection(theirs.index)):
        return {}
    row: Row = {"n_pairs": len(common)}
    for name in ("accuracy", "nll_gap"):
        deltas = (ours.loc[common, name] - theirs.loc[common, name]).to_numpy()
        row |= {f"delta_{name}": deltas.mean()} | _interval(
            f"delta_{name}_ci95", statistics.mean_ci95(deltas)
        )
    return row | {
        "p_sign_flip": statistics.sign_flip_p(deltas),
        "wins": f"{np.count_nonzero(deltas > 0)}/{len(deltas)}",
    }


def _interval(name: str, interval: tuple[float, float]) -> Row:
    return {f"{name}_low": interval[0], f"{name}_high": interval[1]}
