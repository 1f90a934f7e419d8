"""The section of an experiment's page on its frontier, from frontier.csv."""

from typing import Any

import numpy as np
import pandas as pd

from rope_spectra.analysis.endpoints import PRIMARY
from rope_spectra.analysis.statistics import exponential
from rope_spectra.config.design import Design
from rope_spectra.report import markdown
from rope_spectra.report.markdown import interval, named, number, text


def frontier_section(design: Design, table: pd.DataFrame, summary: pd.DataFrame) -> dict[str, Any]:
    """The values of frontier.md.j2: the arms on the frontier, all arms, the declared contrasts."""
    first = table.iloc[0]
    primary = summary[summary["endpoint"] == PRIMARY]
    verdicts = {(row.spectrum, row.remap): row.verdict for row in primary.itertuples()}
    rows = list(table.itertuples())
    by = "degradation" if first["metric"] == "degradation" else "log_ppl"
    x_header = f"PPL at {first['length']}"
    if by == "degradation":
        x_header += f" / PPL at {design.train_length}"
    lines = []
    for row in rows:
        line = {
            "spectrum": named(row),
            x_header: _growth(row, by),
            f"accuracy at {first['retrieval_length']}, %": _percent(row, "accuracy"),
            "on the frontier": _place(row),
            "against baseline": _percent(row, "delta_accuracy", "+", lowest=-1.0),
            "wins": text(row.wins),
            "p (Holm)": number(row.p_holm),
            "verdict: retrieval": row.verdict,
            f"verdict: {'degradation' if by == 'degradation' else 'PPL'}": verdicts.get(
                (row.spectrum, row.remap), ""
            ),
        }
        lines.append(line)
    return {
        "metric": first["metric"],
        "length": first["length"],
        "retrieval_length": first["retrieval_length"],
        "chance": first["chance"],
        "seeds": first["n_seeds"],
        "best": [named(row) for row in rows if row.non_dominated is True],
        "arms": len(rows),
        "table": markdown.as_table(list(lines[0]), [list(line.values()) for line in lines]),
        "declared": [row for row in rows if row.verdict not in ("baseline", "not declared")],
        "seeds_of": _seeds,
    }


def _place(row: Any) -> str:
    """The place of a point, and how often resampled seeds put it on the frontier: `yes, 0.745`."""
    on_it = "yes" if row.non_dominated is True else "no"
    return f"{on_it}, {number(row.non_dominated_share)}".removesuffix(", ")


def _growth(row: Any, by: str) -> str:
    """The exponential of a mean of a logarithm, such as `1.756 (1.590 to 1.940)`."""
    low, high = exponential([getattr(row, f"{by}_crossed95_{side}") for side in ("low", "high")])
    between = interval(low, high, digits=3)
    return f"{exponential(getattr(row, by)):.3f}" + (f" ({between})" if between else "")


def _percent(row: Any, name: str, sign: str = "", lowest: float = 0.0) -> str:
    """A share in percent with its interval, such as `62 (58 to 66)`; nothing without a value.

    The interval is cut at `lowest` and 1, where no share can be.
    """
    value = getattr(row, name)
    if pd.isna(value):
        return ""
    ends = [getattr(row, f"{name}_crossed95_{side}") for side in ("low", "high")]
    low, high = 100 * np.clip(ends, lowest, 1.0)
    between = interval(low, high, digits=1)
    return f"{100 * value:{sign}.1f}" + (f" ({between})" if between else "")


def _seeds(row: Any) -> str:
    """The seeds of a contrast that too few seeds leave without a verdict."""
    if pd.isna(row.wins):
        return "no seed in common"
    won, pairs = map(int, row.wins.split("/"))
    lost = pairs - won - int(row.ties)
    return f"{won} of {pairs} seeds find more, {lost} less, which cannot make it significant"
