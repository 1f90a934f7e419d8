"""The page over all experiments, results/summary.md.

First the verdicts at the primary endpoints, then a leaderboard for each set of runs that can be
compared, ranked by the primary endpoint that their experiments declare.
"""

from collections.abc import Iterable, Mapping

import pandas as pd

from rope_spectra.analysis.endpoints import METRICS
from rope_spectra.analysis.statistics import exponential
from rope_spectra.config.design import SELECTION, Design
from rope_spectra.report import markdown
from rope_spectra.report.markdown import interval, named, number, spaced
from rope_spectra.report.pages import METRIC_WORDS, comparisons, finding
from rope_spectra.report.rankings import protocols, rankings

# Follows the names of experiments that are not of this run.
MARK = " *"


def page(summary: pd.DataFrame, designs: Iterable[Design]) -> str:
    """The page of these tables.

    summary: rows of summary.csv of several experiments, with the column in_run. designs: those of
    the experiments.
    """
    # Perplexities of selection chose the candidates, so they would look better than they are.
    summary = summary[summary["phase"] != SELECTION]
    by_name = {design.experiment: design for design in designs}
    own = summary["in_run"]
    return markdown.render(
        "overall.md.j2",
        verdicts=_verdicts(summary, by_name),
        groups=_groups(summary[own], by_name) + _groups(summary[~own], by_name, apart=True),
        experiments=list(summary["experiment"].unique()),
        mark=MARK.strip(),
        marked=not own.all(),
    )


def _verdicts(summary: pd.DataFrame, designs: Mapping[str, Design]) -> str:
    """The declared contrasts at the endpoint of each experiment; empty where there are none."""
    table = []
    for (experiment, in_run), rows in summary.groupby(["experiment", "in_run"], sort=False):
        found = comparisons(designs[experiment], rows)
        for row in found.declared if found else []:
            delta = METRICS[row.metric].delta
            low, high = (getattr(row, f"{delta}_crossed95_{end}") for end in ("low", "high"))
            line = {
                "experiment": experiment + ("" if in_run else MARK),
                "spectrum": named(row),
                "against": spaced(row.baseline),
                "endpoint": f"{METRIC_WORDS[row.metric]} at {row.length}",
                "ratio (95 %)": _ratio(getattr(row, delta), low, high),
                "p (Holm)": number(row.p_holm),
                "verdict": finding(row),
            }
            table.append(line)
    if not table:
        return ""
    return markdown.as_table(list(table[0]), [list(line.values()) for line in table])


def _ratio(delta: float, low: float, high: float) -> str:
    """The ratio that a difference of logarithms is, with its interval."""
    between = interval(exponential(low), exponential(high), digits=3)
    ratio = "" if pd.isna(delta) else f"{exponential(delta):.3f}"
    return ratio + (f" ({between})" if between else "")


def _groups(
    summary: pd.DataFrame, designs: Mapping[str, Design], apart: bool = False
) -> list[dict[str, object]]:
    """The rankings of each set of rows that can be compared, and what their title says.

    Experiments share a ranking only with the same endpoint. apart: none shares one, as those of
    other runs, whose text or model of that name may have been another.
    """
    named_parts = ["dataset", "model", "training", "phase"]
    endpoints = {name: str(design.primary) for name, design in designs.items()}
    sets = summary["experiment"] if apart else summary["experiment"].map(endpoints)
    groups = []
    for key, rows in summary.groupby([*named_parts, sets], sort=False, dropna=False):
        primary = designs[rows["experiment"].iloc[0]].primary
        values = dict(zip(named_parts, key, strict=False))
        values |= {"rankings": rankings(rows, primary), "shared": _shared(rows)}
        groups.append(values | {"earlier": rows["experiment"].iloc[0] if apart else ""})
    return groups


def _shared(summary: pd.DataFrame) -> list[str]:
    """Arms that several experiments have with the same seeds, and how far these are apart."""
    protocol = protocols(summary)[0]
    longest = summary["length"].max()
    rows = summary[(summary["protocol"] == protocol) & (summary["length"] == longest)]
    shared = []
    for _, group in rows.groupby(["spectrum", "remap", "seeds"], sort=False):
        if len(group) > 1:
            ratio = group["ppl_mean"].max() / group["ppl_mean"].min()
            shared.append(f"{named(group.iloc[0])}: {100 * (ratio - 1):.2g} %")
    return shared
