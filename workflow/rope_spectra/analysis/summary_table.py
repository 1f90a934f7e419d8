"""The summary table: a row per spectrum x remap x protocol x length, paired with its baseline.

A spectrum under a remap is an arm (config/design.py). Pure: it takes the tidy table of runs and
gives a table. Columns and definitions: docs/statistics.md.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rope_spectra.analysis import endpoints, statistics
from rope_spectra.analysis.crossed import crossed
from rope_spectra.analysis.endpoints import METRICS, NO_PLAN, MetricColumns, Plan, Row
from rope_spectra.analysis.ranks import ranking
from rope_spectra.config.design import ALL, SELECTION, Arm, Contrasts, Design, label

# Spectrum, seed, remap, length.
Key: TypeAlias = tuple[str, int, str, int]
DEGRADATION = ["degradation", "degradation_beyond"]

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
    "degradation_mean": _FLOAT,
    "degradation_std": _FLOAT,
    "degradation_ci95_low": _FLOAT,
    "degradation_ci95_high": _FLOAT,
    "degradation_beyond": _FLOAT,
    "delta_degradation": _FLOAT,
    "delta_degradation_ci95_low": _FLOAT,
    "delta_degradation_ci95_high": _FLOAT,
    "delta_degradation_crossed95_low": _FLOAT,
    "delta_degradation_crossed95_high": _FLOAT,
    "degradation_ratio": _FLOAT,
    "degradation_ratio_ci95_low": _FLOAT,
    "degradation_ratio_ci95_high": _FLOAT,
    "degradation_p_sign_flip": _FLOAT,
    "degradation_wins": _TEXT,
    "delta_degradation_beyond": _FLOAT,
    "delta_log_ppl_crossed95_low": _FLOAT,
    "delta_log_ppl_crossed95_high": _FLOAT,
    "endpoint": _TEXT,
    "metric": _TEXT,
    "p_equivalence": _FLOAT,
    "hopeless": "boolean",
    "rank": "Int64",
    "rank_ci95_low": "Int64",
    "rank_ci95_high": "Int64",
    "p_better_than_next": _FLOAT,
    "degradation_rank": "Int64",
    "degradation_rank_ci95_low": "Int64",
    "degradation_rank_ci95_high": "Int64",
    "degradation_p_better_than_next": _FLOAT,
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
    train_length: the length from which degradation is measured, None where there is none.
    """

    nll: dict[Key, NDArray[np.float64]] = field(default_factory=dict)
    tokens: dict[int, int] = field(default_factory=dict)
    bytes: dict[int, int] = field(default_factory=dict)
    parts: dict[Key, tuple[float, float]] = field(default_factory=dict)
    train_length: int | None = None

    def nll_of(self, runs: pd.DataFrame) -> NDArray[np.float64]:
        """NLL sums in nats of the runs, [runs, blocks]."""
        return np.stack([self.nll[key] for key in _keys(runs)])

    def per_token(self, runs: pd.DataFrame) -> NDArray[np.float64]:
        """NLL in nats per token of the runs of one length, [runs, blocks]."""
        return self.nll_of(runs) / self.tokens[runs["length"].iloc[0]]

    def degradation(self, runs: pd.DataFrame) -> NDArray[np.float64]:
        """NLL less that at the training length, in nats per token, [runs, blocks]."""
        return self.per_token(runs) - self.per_token(runs.assign(length=self.train_length))

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
    seeds = design.seeds_of(phase)
    plan = Plan(design.primary, seeds, [] if phase == SELECTION else design.looks)
    declared = (design.baseline, design.contrasts, design.equivalence_margin)
    summary = summarize(runs, *declared, blocks, plan)
    summary["phase"] = phase
    if phase != ALL:
        exploratory = (summary["protocol"] != "full") | (phase == SELECTION)
        summary.loc[exploratory, ["p_holm", "p_equivalence"]] = np.nan
        summary.loc[exploratory, "endpoint"] = None
        summary.loc[exploratory & (summary["verdict"] != "baseline"), "verdict"] = "exploratory"
    return summary.assign(dataset=design.dataset, model=design.model, training=design.training)


def summarize(
    runs: pd.DataFrame,
    baseline: str,
    contrasts: Iterable[str],
    margin: float,
    blocks: Blocks | None = None,
    plan: Plan = NO_PLAN,
) -> pd.DataFrame:
    """The summary table of one experiment.

    runs: one row per spectrum x seed x remap x protocol x length, with the columns experiment,
    spectrum, seed, remap, protocol, length, ppl, tokens and, where it was measured, those of
    DEGRADATION. baseline and contrasts are the experiment's (config/design.py): each row is
    compared with one other at the same protocol and length, on the seeds that both have; seeds of
    one side only are named in `unpaired_seeds`. margin: the equivalence margin, a fraction of PPL.
    plan: what the verdicts are about (analysis/endpoints.py).

    Rows are sorted by protocol, remap and length; within, baselines come first, then the contrasts
    as declared, then the rest by name. The order of `runs` does not matter.
    """
    declared = Contrasts.of(baseline, contrasts)
    family = declared.family(sorted(runs["remap"].unique()))
    missing = [name for name in DEGRADATION if name not in runs]
    runs = runs.assign(**dict.fromkeys(missing, np.nan))
    rows: list[Row] = []
    for (protocol, length), cell in runs.groupby(["protocol", "length"]):
        # Only protocol `full` scores the same text at every length, block by block.
        of_cell = blocks if protocol == "full" else None
        is_primary = plan.primary is not None and plan.primary.length == length
        rows += _cell_rows(cell, declared, family, of_cell, is_primary)
    seeds = plan.seeds or sorted(runs["seed"].unique())
    endpoints.judge(rows, family, margin, replace(plan, seeds=seeds))
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return table.sort_values(["protocol", "remap", "length"], kind="stable", ignore_index=True)


def _cell_rows(
    cell: pd.DataFrame,
    declared: Contrasts,
    family: list[Arm],
    blocks: Blocks | None,
    is_primary: bool,
) -> list[Row]:
    """The rows of one (protocol, length), without verdicts but for the baselines.

    is_primary: at the length of the primary endpoint, which may rank by degradation.
    """
    arms = dict(list(cell.sort_values("seed").groupby(["spectrum", "remap"])))
    # An arm whose runs are all missing still has columns.
    nothing = cell.iloc[:0]
    rows: dict[Arm, Row] = {}
    baselines = []
    ranks = _ranks(arms, lambda runs: log_ppl_table(runs, blocks))
    growth: dict[Arm, Row] = {}
    if is_primary and blocks and cell["degradation"].notna().all():
        growth = _ranks(arms, blocks.degradation, "degradation_")
    for arm, runs in arms.items():
        other = declared.reference(arm)
        rows[arm] = _spread(runs, blocks) | ranks.get(arm, {}) | growth.get(arm, {})
        rows[arm]["baseline"] = label(other)
        if other == arm:
            baselines.append(arm)
            rows[arm]["verdict"] = "baseline"
        else:
            reference = arms.get(other, nothing)
            rows[arm] |= _compare(runs, reference, blocks)
            rows[arm]["unpaired_seeds"] = _unpaired(runs, reference, label(arm), label(other))
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
    degradation = runs["degradation"]
    row |= {
        "degradation_mean": degradation.mean(skipna=False),
        "degradation_std": statistics.std(degradation),
        **interval_columns("degradation_ci95", statistics.mean_ci95(degradation)),
        "degradation_beyond": runs["degradation_beyond"].mean(skipna=False),
    }
    return row


def log_ppl_table(runs: pd.DataFrame, blocks: Blocks | None) -> NDArray[np.float64]:
    """Log PPL of the runs of one length, [runs, blocks]; one block where there are none."""
    if blocks:
        return blocks.per_token(runs)
    return np.log(runs["ppl"].to_numpy(np.float64))[:, None]


def _ranks(
    arms: dict[Arm, pd.DataFrame],
    values: Callable[[pd.DataFrame], NDArray[np.float64]],
    prefix: str = "",
) -> dict[Arm, Row]:
    """The columns of the ranks, on the seeds that all arms have; empty where there are none.

    values: of runs, [runs, blocks], the less the better. prefix: of the names of the columns.
    """
    seeds = set.intersection(*(set(runs["seed"]) for runs in arms.values()))
    if not seeds:
        return {}
    found = ranking([values(runs[runs["seed"].isin(seeds)]) for runs in arms.values()])
    rows: dict[Arm, Row] = {}
    for index, arm in enumerate(arms):
        rank = found.rank[index]
        rows[arm] = {f"{prefix}rank": rank}
        rows[arm] |= interval_columns(f"{prefix}rank_ci95", (found.low[index], found.high[index]))
        behind = found.rank[found.rank > rank]
        if len(behind) and len(seeds) > 1:
            is_next = found.rank == behind.min()
            rows[arm][f"{prefix}p_better_than_next"] = found.better[index, is_next].min()
    return rows


def _compare(runs: pd.DataFrame, reference: pd.DataFrame, blocks: Blocks | None) -> Row:
    """One arm against its baseline, on the seeds that both have.

    Two entries are no columns but what the verdict is made from: the `pairs`, seeds in the order of
    the rows of `deltas`, [pairs, blocks] by metric.
    """
    # Both are sorted by seed, so rows of the same index are of the same seed.
    ours = runs[runs["seed"].isin(reference["seed"])]
    theirs = reference[reference["seed"].isin(runs["seed"])]
    row: Row = {"n_pairs": len(ours), "pairs": ours["seed"].to_list(), "deltas": {}}
    if ours.empty:
        return row
    log_ppl = np.log(ours["ppl"].to_numpy()) - np.log(theirs["ppl"].to_numpy())
    table = log_ppl[:, None]
    if blocks:
        table = blocks.per_token(ours) - blocks.per_token(theirs)
        row |= interval_columns("bootstrap_ci95", statistics.two_level_bootstrap(table))
    row["deltas"]["ppl"] = table
    row |= _difference(METRICS["ppl"], log_ppl, table)
    row["study_claim"] = statistics.study_claim(ours["ppl"], theirs["ppl"])

    degradation, beyond = (ours[name].to_numpy() - theirs[name].to_numpy() for name in DEGRADATION)
    if blocks and np.isfinite(degradation).all():
        table = blocks.degradation(ours) - blocks.degradation(theirs)
        row["deltas"]["degradation"] = table
        row |= _difference(METRICS["degradation"], degradation, table)
        row["delta_degradation_beyond"] = beyond.mean()
    return row


def _difference(
    names: MetricColumns, deltas: NDArray[np.float64], table: NDArray[np.float64]
) -> Row:
    """The columns of one metric: deltas by seed, [pairs], and by seed and block."""
    interval = statistics.mean_ci95(deltas)
    return {
        names.delta: deltas.mean(),
        **interval_columns(f"{names.delta}_ci95", interval),
        **crossed_columns(names.delta, table),
        names.ratio: np.exp(deltas.mean()),
        **interval_columns(f"{names.ratio}_ci95", np.exp(interval)),
        names.p: statistics.sign_flip_p(deltas),
        names.wins: f"{np.count_nonzero(deltas < 0)}/{len(deltas)}",
    }


def interval_columns(name: str, interval: Iterable[float]) -> Row:
    """The two columns of an interval."""
    low, high = interval
    return {f"{name}_low": low, f"{name}_high": high}


def crossed_columns(name: str, values: NDArray[np.float64]) -> Row:
    """The columns of the interval of a mean over seeds and text; values: [seeds, blocks]."""
    return interval_columns(f"{name}_crossed95", map(float, crossed(values).interval()))


def spread_columns(name: str, values: "pd.Series[float] | NDArray[np.float64]") -> Row:
    """The columns of a quantity over seeds [seeds]: mean, std (ddof 1) and t interval."""
    row: Row = {f"{name}_mean": values.mean(), f"{name}_std": statistics.std(values)}
    return row | interval_columns(f"{name}_ci95", statistics.mean_ci95(values))


def _unpaired(runs: pd.DataFrame, reference: pd.DataFrame, name: str, baseline: str) -> str | None:
    """The seeds that one side alone has, and which side: 'geo_500k only: 17 97'."""
    ours, theirs = set(runs["seed"]), set(reference["seed"])
    sides = {name: ours - theirs, baseline: theirs - ours}
    named = [f"{side} only: {_seed_list(seeds)}" for side, seeds in sides.items() if seeds]
    return "; ".join(named) or None


def _seed_list(seeds: Iterable[int]) -> str:
    return " ".join(str(seed) for seed in sorted(seeds))
