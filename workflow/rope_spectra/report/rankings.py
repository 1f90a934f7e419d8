"""The tables that rank spectra: by the primary metric where one is declared, else by perplexity."""

from typing import Any, NamedTuple

import pandas as pd

from rope_spectra.analysis.statistics import exponential
from rope_spectra.config.experiment import Metric, Primary
from rope_spectra.report import markdown
from rope_spectra.report.markdown import mean_std, named, number

# In the order of the page; the first one that was evaluated is the one that contrasts are about.
PROTOCOLS = ("full", "first_chunks")


class Ranking(NamedTuple):
    """The spectra under one protocol, the best one first.

    metric and length: what they are ranked by.
    """

    protocol: str
    metric: Metric
    length: int
    longest: int
    table: str
    is_primary: bool
    is_split: bool  # the table splits the longest length at the training length
    has_intervals: bool  # it has intervals of the ranks, which older tables lack


def protocols(summary: pd.DataFrame) -> list[str]:
    """The protocols that were evaluated, in the order of the page."""
    evaluated = set(summary["protocol"])
    return [protocol for protocol in PROTOCOLS if protocol in evaluated]


def rankings(summary: pd.DataFrame, primary: Primary | None = None) -> list[Ranking]:
    """A ranking for each protocol that was evaluated; a primary endpoint is of the first one."""
    found = []
    for place, protocol in enumerate(protocols(summary)):
        rows = summary[summary["protocol"] == protocol]
        found.append(_ranking(rows, protocol, primary if place == 0 else None))
    return found


def _ranking(rows: pd.DataFrame, protocol: str, primary: Primary | None) -> Ranking:
    """Spectra in the order of their mean, with the PPL at each length.

    The order is that of the primary metric at its length; without one, or where it was not
    measured, of PPL at the longest length.
    """
    lengths = sorted(rows["length"].unique())
    is_primary = primary is not None and _is_measured(rows, primary)
    by: Metric = "ppl"
    length = lengths[-1]
    if primary is not None and is_primary:
        by, length = primary.metric, primary.length
    keys = ["experiment", "spectrum", "remap"]
    cells = rows.assign(cell=[mean_std(row.ppl_mean, row.ppl_std) for row in rows.itertuples()])
    by_length = cells.pivot(index=keys, columns="length", values="cell")
    longest = rows[rows["length"] == lengths[-1]].set_index(keys)
    ranked = rows[rows["length"] == length].sort_values(f"{by}_mean", kind="stable")
    is_split = bool(longest["ppl_beyond_length"].notna().any())
    # The ranks of a metric are those of its own columns.
    prefix = "degradation_" if by == "degradation" else ""
    low = f"{prefix}rank_ci95_low"
    has_intervals = low in ranked and bool(ranked[low].notna().any())

    table = []
    for rank, row in enumerate(ranked.to_dict("records"), start=1):
        arm = tuple(row[key] for key in keys)
        line = {
            "rank": str(rank),
            "experiment": row["experiment"],
            "spectrum": named(pd.Series(row)),
            "seeds": str(row["n_seeds"]),
        }
        if by == "degradation":
            line[f"growth at {length}"] = f"{exponential(row['degradation_mean']):.3f}"
        line |= {str(each): by_length.loc[arm, each] for each in lengths}
        if is_split:
            at = longest.loc[arm]
            line[f"{lengths[-1]}, in length"] = f"{at['ppl_in_length']:.3f}"
            line[f"{lengths[-1]}, beyond"] = f"{at['ppl_beyond_length']:.3f}"
        if has_intervals:
            line["rank, 95 %"] = _between(row[low], row[f"{prefix}rank_ci95_high"])
            line["P(better than next)"] = _probability(row[f"{prefix}p_better_than_next"])
        table.append(line)
    shown = markdown.as_table(list(table[0]), [list(line.values()) for line in table])
    return Ranking(protocol, by, length, lengths[-1], shown, is_primary, is_split, has_intervals)


def _is_measured(rows: pd.DataFrame, primary: Primary) -> bool:
    """True where the rows have the primary metric at its length."""
    at = rows[rows["length"] == primary.length]
    return f"{primary.metric}_mean" in at and bool(at[f"{primary.metric}_mean"].notna().any())


def _probability(value: float) -> str:
    """Three digits, and never 1: no number of seeds makes certain."""
    return ">0.999" if value > 0.999 else number(value)


def _between(low: Any, high: Any) -> str:
    """The ranks from low to high; nothing where they are unknown."""
    if pd.isna(low):
        return ""
    return f"{int(low)}" if low == high else f"{int(low)} to {int(high)}"
