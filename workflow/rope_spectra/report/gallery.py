"""Every figure of an experiment by its name, drawn from the tables in results/."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from rope_spectra.analysis import published, usage_table
from rope_spectra.analysis.runs import read_usages
from rope_spectra.artifacts import layout, tables
from rope_spectra.config.design import SELECTION, Design
from rope_spectra.report import figures, frontier_figure, panels, retrieval_figures, usage_figures
from rope_spectra.report import published as published_points
from rope_spectra.runtime.errors import UserError


def draw(name: str, design: Design) -> Figure:
    """One figure; UserError for a name that no figure has."""
    if name in layout.FIGURES:
        return of_all_experiments(design)[name]
    if name.startswith("usage"):
        return _of_usage(design)[name]
    if name not in _OF_SOME:
        known = ", ".join([*layout.FIGURES, *_OF_SOME, *map(_stem, layout.USAGE_FIGURES)])
        raise UserError(f"--figure: {name} is no figure; choose from: {known}")
    return _OF_SOME[name](design)


def of_all_experiments(design: Design) -> dict[str, Figure]:
    """The figures of layout.FIGURES, which every experiment has."""
    runs, summary = _confirmed(layout.RUNS, design), _confirmed(layout.EXPERIMENT_SUMMARY, design)
    return figures.draw(design, runs, summary)


def _confirmed(pattern: str, design: Design) -> pd.DataFrame:
    """A table without the rows of selection, which are exploratory."""
    table = _table(pattern, design)
    return table[table["phase"] != SELECTION]


def _table(pattern: str, design: Design) -> pd.DataFrame:
    return tables.read_csv(layout.fill(pattern, experiment=design.experiment))


def _of_usage(design: Design) -> dict[str, Figure]:
    usages = read_usages(design)
    omegas = {spectrum.name: spectrum.inv_freq(design.head_dim) for spectrum in design.spectra}
    pairs = usage_table.by_pair(usages, omegas)
    return usage_figures.draw(design, pairs, usage_table.attention(usages))


def _retrieval(design: Design) -> Figure:
    summary = _table(layout.RETRIEVAL, design)
    if "task" in summary:
        return retrieval_figures.by_length(design, summary)
    return figures.draw_retrieval(design, _table(layout.RETRIEVAL_RUNS, design))


def _retrieval_distance(design: Design) -> Figure:
    return retrieval_figures.by_distance(design, _table(layout.RETRIEVAL_DISTANCE, design))


def _frontier(design: Design) -> Figure:
    return frontier_figure.draw(design, _table(layout.FRONTIER, design))


def _published(design: Design) -> Figure:
    theirs = published.published_runs(design.experiment)
    ours = published.read_runs(layout.fill(layout.RUNS, experiment=design.experiment))
    points = published_points.points(theirs, ours, published.compare(theirs, ours))
    return panels.published_v_ours(points, published_points.caption(points))


def _stem(path: str) -> str:
    return Path(path).stem


# The figures that not every experiment has.
_OF_SOME: dict[str, Callable[[Design], Figure]] = {
    "retrieval": _retrieval,
    "retrieval_distance": _retrieval_distance,
    "frontier": _frontier,
    "published": _published,
}
