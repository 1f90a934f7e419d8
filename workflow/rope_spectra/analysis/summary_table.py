"""The summary table of one experiment: a row per spectrum x remap x protocol x length, paired by seed with its baseline.

A spectrum under a remap is an arm (contrasts.py). Pure: it takes the tidy table of runs and gives a table; columns and
definitions are those of evaluation.md section 2.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rope_spectra.analysis import statistics
from rope_spectra.config.contrasts import Arm, Contrasts, label

Row = dict[str, Any]

_FLOAT, _TEXT = "float64", "str"

COLUMNS = {
    "experiment": _TEXT,
    "spectrum": _TEXT,
    "remap": _TEXT,
    "protocol": _TEXT,
    "length": "int64",
    "n_seeds": "int64",
    "ppl_mean": _FLOAT,
    "ppl_std": _FLOAT,
    "ppl_ci95_low": _FLOAT,
    "ppl_ci95_high": _FLOAT,
    "baseline": _TEXT,
    "delta_log_ppl": _FLOAT,
    "p_sign_flip": _FLOAT,
    "wins": _TEXT,
    "verdict": _TEXT,
    "seeds": _TEXT,
    "ppl_sem": _FLOAT,
    "ppl_min": _FLOAT,
    "ppl_max": _FLOAT,
    "ppl_geomean": _FLOAT,
    "bits_per_byte": _FLOAT,
    "eval_tokens": "Int64",
    "ppl_in_length": _FLOAT,
    "ppl_beyond_length": _FLOAT,
    "delta_log_ppl_ci95_low": _FLOAT,
    "delta_log_ppl_ci95_high": _FLOAT,
    "ppl_ratio": _FLOAT,
    "ppl_ratio_ci95_low": _FLOAT,
    "ppl_ratio_ci95_high": _FLOAT,
    "p_holm": _FLOAT,
    "bootstrap_ci95_low": _FLOAT,
    "bootstrap_ci95_high": _FLOAT,
    "study_claim": "boolean",
    "seeds_for_80pct_power": _FLOAT,
    "n_pairs": "Int64",
    "unpaired_seeds": _TEXT,
    "phase": _TEXT,
}


@dataclass(frozen=True)
class Blocks:
    """What protocol `full` measured block by block; every length scores the same blocks of text.

    nll: NLL sums in nats, float64 [n_blocks], by (spectrum, seed, remap, length).
    tokens: scored tokens of one block, by length.
    bytes: bytes of the text of all blocks' scored tokens, by length; a length is missing where the text is unknown.
    parts: PPL at positions below the training length and at those from it on, by (spectrum, seed, remap, length); NaN where
        a length has no such position.
    """

    nll: Mapping[tuple[str, int, str, int], NDArray[np.float64]]
    tokens: Mapping[int, int]
    bytes: Mapping[int, int]
    parts: Mapping[tuple[str, int, str, int], tuple[float, float]] = field(default_factory=dict)

    def nll_of(self, runs: pd.DataFrame) -> NDArray[np.float64]:
        """NLL sums in nats of the runs, [runs, blocks]."""
        return np.stack([self.nll[key] for key in self._keys(runs)])

    def parts_of(self, runs: pd.DataFrame) -> NDArray[np.float64]:
        """PPL inside and beyond the training length, [runs, 2]; NaN where it was not measured."""
        return np.array([self.parts.get(key, (np.nan, np.nan)) for key in self._keys(runs)])

    @staticmethod
    def _keys(runs: pd.DataFrame) -> Iterator[tuple[str, int, str, int]]:
        return runs[["spectrum", "seed", "remap", "length"]].itertuples(index=False, name=None)


def summarize(
    runs: pd.DataFrame,
    baseline: str,
    contrasts: Iterable[str],
    margin: float,
    blocks: Blocks | None = None,
) -> pd.DataFrame:
    """The summary table of one experiment.

    runs: one row per spectrum x seed x remap x protocol x length, with the columns experiment, spectrum, seed, remap,
    protocol, length, ppl, tokens. baseline and contrasts are the experiment's (contrasts.py): each row is compared with one
    other at the same protocol and length, on the seeds that both have; seeds of one side only are named in `unpaired_seeds`.
    The contrasts are the family of Holm's correction, at each protocol and length over all remaps; another row gets no p_holm,
    and so never `better` or `worse`. margin: the equivalence margin, a fraction of PPL.

    Rows are sorted by protocol, remap and length; within, baselines come first, then the contrasts as declared, then the
    rest by name. The order of `runs` does not matter.
    """
    declared, remaps = Contrasts.of(baseline, contrasts), sorted(runs["remap"].unique())
    rows: list[Row] = []
    for (protocol, _), cell in runs.groupby(["protocol", "length"]):
        rows += _rows(
            cell, declared, declared.family(remaps), margin, blocks if protocol == "full" else None
        )
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return table.sort_values(["protocol", "remap", "length"], kind="stable", ignore_index=True)


def _rows(
    cell: pd.DataFrame, declared: Contrasts, family: list[Arm], margin: float, blocks: Blocks | None
) -> list[Row]:
    """The rows of one (protocol, length)."""
    runs = dict(list(cell.sort_values("seed").groupby(["spectrum", "remap"])))
    against = {arm: declared.reference(arm) for arm in runs}
    compared = {
        arm: _comparison(
            runs[arm], runs.get(other, cell.iloc[:0]), label(arm), label(other), blocks
        )
        for arm, other in against.items()
        if arm != other
    }
    p = [compared[arm]["p_sign_flip"] if arm in compared else np.nan for arm in family]
    p_holm = dict(zip(family, statistics.holm(p), strict=True))
    for arm, row in compared.items():
        row["p_holm"] = p_holm.get(arm, np.nan)
        low, high = row["delta_log_ppl_ci95_low"], row["delta_log_ppl_ci95_high"]
        row["verdict"] = statistics.verdict(low, high, row["p_holm"], margin)
    order = [
        arm
        for arm in dict.fromkeys(
            [*(arm for arm in runs if arm not in compared), *family, *sorted(runs)]
        )
        if arm in runs
    ]
    return [
        _spread(runs[arm], blocks)
        | {"baseline": label(against[arm])}
        | compared.get(arm, {"verdict": "baseline"})
        for arm in order
    ]


def _spread(runs: pd.DataFrame, blocks: Blocks | None) -> Row:
    """The columns of one arm that need no baseline."""
    summary = asdict(statistics.seed_summary(runs["ppl"]))
    inside, beyond = blocks.parts_of(runs).mean(axis=0) if blocks else (np.nan, np.nan)
    first = runs.iloc[0]
    return {f"ppl_{field}": value for field, value in summary.items()} | {
        **first[["experiment", "spectrum", "remap", "protocol", "length"]],
        "n_seeds": summary["n"],
        "seeds": _list(runs["seed"]),
        "bits_per_byte": _bits_per_byte(runs, blocks) if blocks else np.nan,
        "eval_tokens": first["tokens"],
        "ppl_in_length": inside,
        "ppl_beyond_length": beyond,
    }


def _bits_per_byte(runs: pd.DataFrame, blocks: Blocks) -> float:
    """NLL / (ln 2 * bytes), mean over the seeds; NaN where the bytes are unknown."""
    nats = blocks.nll_of(runs).sum(axis=1).mean()
    return float(nats / (np.log(2) * blocks.bytes.get(runs["length"].iloc[0], np.nan)))


def _comparison(
    runs: pd.DataFrame, reference: pd.DataFrame, name: str, baseline: str, blocks: Blocks | None
) -> Row:
    """The columns of one arm against its baseline, on the seeds that both have."""
    ours, theirs = (
        runs[runs["seed"].isin(reference["seed"])],
        reference[reference["seed"].isin(runs["seed"])],
    )
    row = {"n_pairs": len(ours), "unpaired_seeds": _unpaired(runs, reference, name, baseline)}
    if not len(ours):
        return row | dict.fromkeys(
            ("p_sign_flip", "delta_log_ppl_ci95_low", "delta_log_ppl_ci95_high"), np.nan
        )
    deltas = np.log(ours["ppl"].to_numpy()) - np.log(theirs["ppl"].to_numpy())
    low, high = statistics.mean_ci95(deltas)
    bootstrap = _bootstrap(ours, theirs, blocks) if blocks else (np.nan, np.nan)
    return row | {
        "delta_log_ppl": deltas.mean(),
        "delta_log_ppl_ci95_low": low,
        "delta_log_ppl_ci95_high": high,
        "ppl_ratio": np.exp(deltas.mean()),
        "ppl_ratio_ci95_low": np.exp(low),
        "ppl_ratio_ci95_high": np.exp(high),
        "p_sign_flip": statistics.sign_flip_p(deltas),
        "wins": f"{np.count_nonzero(deltas < 0)}/{len(deltas)}",
        "bootstrap_ci95_low": bootstrap[0],
        "bootstrap_ci95_high": bootstrap[1],
        "study_claim": statistics.study_claim(ours["ppl"], theirs["ppl"]),
        "seeds_for_80pct_power": statistics.seeds_for_80pct_power(deltas),
    }


def _bootstrap(ours: pd.DataFrame, theirs: pd.DataFrame, blocks: Blocks) -> tuple[float, float]:
    tokens = blocks.tokens[ours["length"].iloc[0]]
    return statistics.two_level_bootstrap((blocks.nll_of(ours) - blocks.nll_of(theirs)) / tokens)


def _unpaired(runs: pd.DataFrame, reference: pd.DataFrame, name: str, baseline: str) -> str | None:
    """The seeds that one side alone has, and which side: 'geo_500k only: 17 97'."""
    ours, theirs = set(runs["seed"]), set(reference["seed"])
    sides = {name: ours - theirs, baseline: theirs - ours}
    return (
        "; ".join(f"{side} only: {_list(seeds)}" for side, seeds in sides.items() if seeds) or None
    )


def _list(seeds: Iterable[int]) -> str:
    return " ".join(str(seed) for seed in sorted(seeds))
