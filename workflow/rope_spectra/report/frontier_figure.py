"""The figure of the frontier: a point for each arm, by its primary metric and by its retrieval."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rope_spectra.analysis.frontier import non_dominated
from rope_spectra.analysis.statistics import exponential
from rope_spectra.config.design import Design
from rope_spectra.report import labels, style
from rope_spectra.report.figures import by_arm, line_styles
from rope_spectra.report.style import LineStyles

_PANEL = (4.6, 4.0)  # inches
_GAP = 0.35


def draw(design: Design, table: pd.DataFrame) -> Figure:
    """The figure of frontier.csv: by degradation and by PPL, or by PPL alone if that is primary."""
    arms = by_arm(table)
    styles = line_styles(design, arms)
    length = table["length"].iloc[0]
    names = {"log_ppl": f"Perplexity at {length} tokens"}
    if table["metric"].iloc[0] == "degradation":
        growth = f"Perplexity at {length} as a multiple of that at {design.train_length} tokens"
        names = {"degradation": growth, **names}
    count = len(names)
    columns = 1 if style.in_column() else count
    panel, gaps = ((2.7, 2.0), (0, 0.6)) if style.in_column() else (_PANEL, (_GAP, 0))
    figure, grid = style.panels(count, columns, panel, gaps, sharex=False)
    for axes, (metric, x_label) in zip(grid, names.items(), strict=True):
        _points(axes, arms, metric, styles)
        axes.set_xlabel(x_label)
        style.note(axes, "better: up and to the left", (0, 1), 3, xycoords="axes fraction")
    first = grid[0]
    at = table["retrieval_length"].iloc[0]
    for axes in grid[::columns]:
        axes.set_ylabel(f"Accuracy of retrieval at {at} tokens")
    # Without steps of 2.5, which whole percents would round.
    first.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    first.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if style.in_column():
        style.legend(
            first, {name: styles[name] for name in styles if name in set(arms["spectrum"])}
        )
        return figure
    first.set_title("Perplexity against retrieval", pad=18)
    seeds = table["n_seeds"].iloc[0]
    style.caption(first, _text(seeds))
    # Names go where there is room, so all the rest comes first.
    for axes, metric in zip(grid, names, strict=True):
        shown = _finite(arms, metric)
        places = zip(exponential(shown[metric]), shown["accuracy"], strict=True)
        words = shown["spectrum"].map(style.shown)
        on_it = words[_is_free(shown, metric)]
        labels.place(axes, dict(zip(words, places, strict=True)), list(on_it))
    return figure


def _points(axes: Axes, arms: pd.DataFrame, metric: str, styles: LineStyles) -> None:
    """The points of one panel with their intervals, the frontier, and a line at chance."""
    shown = _finite(arms, metric)
    free = _is_free(shown, metric)
    axes.set_xscale("log")
    for row, is_free in zip(shown.to_dict("records"), free, strict=True):
        color = styles[row["spectrum"]].color
        x, y = exponential(row[metric]), row["accuracy"]
        across = exponential([row[f"{metric}_crossed95_{side}"] for side in ("low", "high")])
        up = np.clip([row[f"accuracy_crossed95_{side}"] for side in ("low", "high")], 0, 1)
        bar: style.Options = {"color": color, "linewidth": 1.0, "alpha": 0.6}
        if np.isfinite(across).all():  # one seed has no interval
            axes.plot(across, [y, y], **bar)
            axes.plot([x, x], up, **bar)
        face = color if is_free else "white"
        mark: style.Options = {"marker": styles[row["spectrum"]].marker, "markersize": 5}
        axes.plot(x, y, **mark, color=color, markerfacecolor=face, zorder=3)
    joined = shown[free].sort_values(metric)
    axes.plot(
        exponential(joined[metric]), joined["accuracy"], color=style.GREY, linewidth=0.9, zorder=1
    )
    chance = arms["chance"].iloc[0]
    # Dotted as in the figure of retrieval.
    axes.axhline(chance, **style.REFERENCE_LINE | {"linestyle": (0, (1, 2))})
    style.note(axes, "chance", (0.02, chance), 2, xycoords=axes.get_yaxis_transform())
    axes.margins(0.16, 0.08)
    style.plain_log_ticks(axes.xaxis, *axes.get_xlim())


def _finite(arms: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The arms that have a place: of one that has diverged the value is not finite."""
    return arms[np.isfinite(arms[metric]) & np.isfinite(arms["accuracy"])]


def _is_free(arms: pd.DataFrame, metric: str) -> np.ndarray:
    return non_dominated(arms[metric], arms["accuracy"])


def _text(seeds: int) -> str:
    """The meaning of marks, bars and line."""
    bars = "One seed (n = 1): no interval is possible."
    if seeds > 1:
        bars = f"Bars: 95 % intervals over seeds (n = {seeds}) and text."
    filled = "Filled, bold and joined: no other spectrum is as good by both and better by one."
    return f"{bars} {filled}"
