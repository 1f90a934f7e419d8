"""The last lines of a run of the workflow: verdicts in words, and where everything is."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from rope_spectra.analysis.endpoints import METRICS
from rope_spectra.analysis.statistics import exponential
from rope_spectra.artifacts import layout, tables
from rope_spectra.config import frozen
from rope_spectra.config.design import SELECTION, Design
from rope_spectra.config.sections import Config
from rope_spectra.report.markdown import interval, named, number, spaced
from rope_spectra.report.pages import Comparisons, comparisons, finding

_MOST_ROWS = 12
_STYLES = {"better": "bold green", "worse": "bold red"}


def lines(config: Config, program: str) -> Iterator[RenderableType]:
    """Verdicts of the experiments and searches of `run`, and the places of what to look at.

    Reads their tables, which have to be there. program: the name by which Snakemake was called.
    """
    for name in config.tabulated:
        yield Text()
        yield from _experiment(frozen.design(config, name))
    for name in config.sought:
        yield _place("search", layout.SEARCH_PAGE.format(search=name))
        yield _place("best spectrum", layout.BEST.format(search=name))
    yield Text()
    if len(config.run) > 1:
        yield _place("all together", layout.SUMMARY_MD)
    yield _place("one report", f"{program} --report report.html")


def _experiment(design: Design) -> Iterator[RenderableType]:
    name = design.experiment
    yield Text(name, "bold")
    summary = tables.read_csv(layout.fill(layout.EXPERIMENT_SUMMARY, experiment=name))
    tested = summary[summary["phase"] != SELECTION]
    # Only with a selection whose confirmation has not run is there none.
    compared = comparisons(design, tested, None) if not tested.empty else None
    if compared:
        yield _question(compared)
        yield _table(compared)
    yield _place("page", layout.EXPERIMENT_SUMMARY_MD.format(experiment=name))
    yield _place("to explore", layout.INTERACTIVE.format(experiment=name))
    yield _place("figures", layout.FIGURE.format(experiment=name, figure="*"))


def _place(what: str, where: str) -> Text:
    return Text.assemble((f"{what:14}", "dim"), where)


def _question(compared: Comparisons) -> Text:
    """The comparison of the table in words: the metric, the length and the other side."""
    measured = {
        "degradation": f"growth of perplexity up to {compared.length} tokens",
        "ppl": f"perplexity at {compared.length} tokens",
    }[compared.metric]
    against = f", against {spaced(compared.baseline)}" if compared.baseline else ""
    return Text(f"{measured}{against}, paired by seed; a ratio below 1 is better")


def _table(compared: Comparisons) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    rows = compared.declared
    header = ["spectrum", *([] if compared.baseline else ["against"])]
    for column in (*header, "ratio", "95 %", "p", "seeds won", "verdict"):
        table.add_column(column, overflow="fold")
    for row in rows[:_MOST_ROWS]:
        against = [] if compared.baseline else [spaced(row.baseline)]
        table.add_row(named(row), *against, *_numbers(row), _verdict(row))
    if len(rows) > _MOST_ROWS:
        table.add_row(f"and {len(rows) - _MOST_ROWS} more")
    return table


def _numbers(row: Any) -> list[str]:
    names = METRICS[row.metric]
    ratio = number(getattr(row, names.ratio))
    low, high = exponential(
        [getattr(row, f"{names.delta}_crossed95_{end}") for end in ("low", "high")]
    )
    wins = getattr(row, names.wins)
    won = "" if pd.isna(wins) else wins.replace("/", " of ")
    return [ratio, interval(low, high, digits=2), number(row.p_holm), won]


def _verdict(row: Any) -> Text:
    return Text(finding(row), _STYLES.get(row.verdict, ""))
