"""The summary table: a row per spectrum x remap x protocol x length, paired with its baseline.

A spectrum under a remap is an arm (config/design.py). Pure: it takes the tidy table of runs and
gives a table. Columns and definitions: docs/statistics.md.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rope_spectra.analysis import statistics
from rope_spectra.config.design import ALL, SELECTION, Arm, Contrasts, Design, label

# Spectrum, seed, remap, length.
Key: TypeAlias = tuple[str, int, str, int]
# Values by column, of as many types as the table has; a column that a row lacks is empty there.
Row: TypeAlias = dict[str, Any]

_FLOAT = "float64"
_TEXT = "str"

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
    """The results of protocol `full` block by block; every length scores the same blocks of text.

    nll: NLL sums in nats, float64 [n_blocks], by (spectrum, seed, remap, length).
    tokens: scored tokens of one block, by length.
    bytes: bytes of the text of all blocks' scored tokens, by length; a length is missing where the
        text is unknown.
    parts: PPL at positions below the training length and at those from it on, by (spectrum, seed,
        remap, length); NaN where a length has no such position.
    """

    nll: dict[Key, NDArray[np.float64]] = field(default_factory=dict)
    tokens: dict[int, int] = field(default_factory=dict)
    bytes: dict[int, int] = field(default_factory=dict)
    parts: dict[Key, tuple[float, float]] = field(default_factory=dict)

    def nll_of(self, runs: pd.DataFrame) -> NDArray[np.float64]:
        """NLL sums in nats of the runs, [runs, blocks]."""
        return np.stack([self.nll[key] for key in _keys(runs)])

    def parts_of(self, runs: pd.DataFrame) -> NDArray[np.float64]:
        """PPL inside and beyond the training length, [runs, 2]; NaN where it was not measured."""
        return np.array([self.parts.get(key, (np.nan, np.nan)) for key in _keys(runs)])


def _keys(runs: pd.DataFrame) -> list[Key]:
    keys = runs[["spectrum", "seed", "remap", "length"]]
    return list(keys.itertuples(index=False, name=None))


def summarize_phase(
    design: Design, runs: pd.DataFrame, blocks: Blocks | None, phase: str
) -> pd.DataFrame:
    """The summary of the runs of one phase; dataset, model and training close each row.

    With these columns, tables of several experiments can be compared. Where selection and
    confirmation differ, only protocol `full` reads other text for the one than for the other, so
    only its rows of confirmation carry verdicts.
    """
    summary = summarize(runs, design.baseline, design.contrasts, design.equivalence_margin, blocks)
    summary["phase"] = phase
    if phase != ALL:
        exploratory = (summary["protocol"] != "full") | (phase == SELECTION)
        summary.loc[exploratory, "p_holm"] = np.nan
        summary.loc[exploratory & (summary["verdict"] != "baseline"), "verdict"] = "exploratory"
    return summary.assign(dataset=design.dataset, model=design.model, training=design.training)


def summarize(
    runs: pd.DataFrame,
    baseline: str,
    contrasts: Iterable[str],
    margin: float,
    blocks: Blocks | None = None,
) -> pd.DataFrame:
    """The summary table of one experiment.

    runs: one row per spectrum x seed x remap x protocol x length, with the columns experiment,
    spectrum, seed, remap, protocol, length, ppl, tokens. baseline and contrasts are the
    experiment's (config/design.py): each row is compared with one other at the same protocol and
    length, on the seeds that both have; seeds of one side only are named in `unpaired_seeds`.
    The contrasts are the family of Holm's correction, at each protocol and length over all remaps;
    another row gets no p_holm, and so never `better` or `worse`. margin: the equivalence margin, a
    fraction of PPL.

    Rows are sorted by protocol, remap and length; within, baselines come first, then the contrasts
    as declared, then the rest by name. The order of `runs` does not matter.
    """
    declared = Contrasts.of(baseline, contrasts)
    family = declared.family(sorted(runs["remap"].unique()))
    rows: list[Row] = []
    for (protocol, _), cell in runs.groupby(["protocol", "length"]):
        # Only protocol `full` scores the same text at every length, block by block.
        of_cell = blocks if protocol == "full" else None
        rows += _cell_rows(cell, declared, family, margin, of_cell)
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return table.sort_values(["protocol", "remap", "length"], kind="stable", ignore_index=True)


def _cell_rows(
    cell: pd.DataFrame,
    declared: Contrasts,
    family: list[Arm],
    margin: float,
    blocks: Blocks | None,
) -> list[Row]:
    """The rows of one (protocol, length)."""
    arms = dict(list(cell.sort_values("seed").groupby(["spectrum", "remap"])))
    # An arm whose runs are all missing still has columns.
    nothing = cell.iloc[:0]
    rows: dict[Arm, Row] = {}
    baselines = []
    for arm, runs in arms.items():
        other = declared.reference(arm)
        rows[arm] = _spread(runs, blocks) | {"baseline": label(other)}
        if other == arm:
            baselines.append(arm)
            rows[arm]["verdict"] = "baseline"
        else:
            reference = arms.get(other, nothing)
            rows[arm] |= _compare(runs, reference, blocks)
            rows[arm]["unpaired_seeds"] = _unpaired(runs, reference, label(arm), label(other))
    # A declared contrast without runs still counts, or its absence would help the others.
    p_values = [rows[arm]["p_sign_flip"] if arm in rows else np.nan for arm in family]
    p_holm = dict(zip(family, statistics.holm(p_values), strict=True))
    for arm, row in rows.items():
        if arm in baselines:
            continue
        row["p_holm"] = p_holm.get(arm, np.nan)
        interval = row["delta_log_ppl_ci95_low"], row["delta_log_ppl_ci95_high"]
        row["verdict"] = statistics.verdict(*interval, row["p_holm"], margin)
    # Baselines first, then the contrasts as declared, then the rest by name.
    order = dict.fromkeys([*baselines, *family, *sorted(rows)])
    return [rows[arm] for arm in order if arm in rows]


def _spread(runs: pd.DataFrame, blocks: Blocks | None) -> Row:
    """The columns of one arm that need no baseline."""
    first = runs.iloc[0]
    ppl = asdict(statistics.seed_summary(runs["ppl"]))
    row = {
        **first[["experiment", "spectrum", "remap", "protocol", "length"]],
        "n_seeds": ppl.pop("n"),
        "seeds": _seed_list(runs["seed"]),
        **{f"ppl_{name}": value for name, value in ppl.items()},
        "eval_tokens": first["tokens"],
    }
    if blocks:
        nats = blocks.nll_of(runs).sum(axis=1).mean()
        # NaN where the text, and so its number of bytes, is unknown.
        row["bits_per_byte"] = nats / (np.log(2) * blocks.bytes.get(first["length"], np.nan))
        row["ppl_in_length"], row["ppl_beyond_length"] = blocks.parts_of(runs).mean(axis=0)
    return row


def _compare(runs: pd.DataFrame, reference: pd.DataFrame, blocks: Blocks | None) -> Row:
    """One arm against its baseline, on the seeds that both have."""
    # Both are sorted by seed, so rows of the same index are of the same seed.
    ours = runs[runs["seed"].isin(reference["seed"])]
    theirs = reference[reference["seed"].isin(runs["seed"])]
    deltas = np.log(ours["ppl"].to_numpy()) - np.log(theirs["ppl"].to_numpy())
    interval = statistics.mean_ci95(deltas)
    row: Row = {
        "n_pairs": len(deltas),
        "p_sign_flip": statistics.sign_flip_p(deltas),
        **interval_columns("delta_log_ppl_ci95", interval),
    }
    if ours.empty:
        return row
    row |= {
        "delta_log_ppl": deltas.mean(),
        "ppl_ratio": np.exp(deltas.mean()),
        **interval_columns("ppl_ratio_ci95", np.exp(interval)),
        "wins": f"{np.count_nonzero(deltas < 0)}/{len(deltas)}",
        "study_claim": statistics.study_claim(ours["ppl"], theirs["ppl"]),
        "seeds_for_80pct_power": statistics.seeds_for_80pct_power(deltas),
    }
    if blocks:
        nats = blocks.nll_of(ours) - blocks.nll_of(theirs)
        per_token = nats / blocks.tokens[ours["length"].iloc[0]]
        row |= interval_columns("bootstrap_ci95", statistics.two_level_bootstrap(per_token))
    return row


def interval_columns(name: str, interval: Iterable[float]) -> Row:
    """The two columns of an interval."""
    low, high = interval
    return {f"{name}_low": low, f"{name}_high": high}


def _unpaired(runs: pd.DataFrame, reference: pd.DataFrame, name: str, baseline: str) -> str | None:
    """The seeds that one side alone has, and which side: 'geo_500k only: 17 97'."""
    ours, theirs = set(runs["seed"]), set(reference["seed"])
    sides = {name: ours - theirs, baseline: theirs - ours}
    named = [f"{side} only: {_seed_list(seeds)}" for side, seeds in sides.items() if seeds]
    return "; ".join(named) or None


def _seed_list(seeds: Iterable[int]) -> str:
    return " ".join(str(seed) for seed in sorted(seeds))
