"""Values of the page's sections on theory: rank correlations and hypotheses."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from rope_spectra.analysis.hypotheses import EXPLORATORY
from rope_spectra.report import markdown
from rope_spectra.report.markdown import interval

_MEASURE_WORDS = {"ppl": "log PPL", "degradation": "degradation", "retrieval": "retrieval"}


def theory_values(table: pd.DataFrame) -> Mapping[str, object]:
    """The values of theory.md.j2 from theory.csv: a row per diagnostic, a column per endpoint."""
    first = table.iloc[0]
    endpoints = list(dict.fromkeys(zip(table["measure"], table["length"], strict=True)))
    lines = []
    for diagnostic, rows in table.groupby("diagnostic", sort=False):
        by_endpoint = {(row.measure, row.length): row for row in rows.itertuples()}
        cells = [_coefficient(by_endpoint[at]) for at in endpoints]
        lines.append([str(diagnostic), str(rows["n_values"].iloc[0]), *cells])
    headings = [f"{_MEASURE_WORDS[measure]} at {length}" for measure, length in endpoints]
    return {
        "n_spectra": first["n_spectra"],
        "n_seeds": table["n_seeds"].max(),
        "groups": str(first["groups"]).split("; "),
        "table": markdown.as_table(["diagnostic", "distinct values", *headings], lines),
    }


def _coefficient(row: Any) -> str:
    """A coefficient with its interval, such as `-0.83 (-0.90 to -0.76)`; `none` without order."""
    if pd.isna(row.spearman):
        return "none"
    between = interval(row.spearman_ci95_low, row.spearman_ci95_high, digits=2)
    return f"{row.spearman:+.2f}" + (f" ({between})" if between else "")


def hypotheses_values(table: pd.DataFrame) -> Mapping[str, object]:
    """The values of hypotheses.md.j2 from hypotheses.csv: a row per hypothesis."""
    lines = []
    for row in table.itertuples():
        between = interval(row.ci95_low, row.ci95_high, digits=2)
        estimate = "" if pd.isna(row.estimate) else f"{row.estimate:+.2f}"
        lines.append(
            [
                row.hypothesis,
                row.prediction,
                f"{_MEASURE_WORDS[row.measure]} at {row.length}",
                estimate + (f" ({between})" if between else ""),
                str(row.n_seeds),
                f"**{row.verdict}**",
            ]
        )
    header = ["hypothesis", "prediction", "measure", "estimate, 95 %", "seeds", "verdict"]
    return {
        "table": markdown.as_table(header, lines),
        "sources": {row.hypothesis: " ".join(row.source.split()) for row in table.itertuples()},
        "is_exploratory": bool((table["verdict"] == EXPLORATORY).any()),
    }
