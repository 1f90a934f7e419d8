"""The figures of the tasks of the retrieval probe: accuracy by length, and by distance and length.

Tables of analysis/retrieval_tasks.py in, a matplotlib Figure out. Chance, the control without
statements and the models that read the last tokens alone stand beside every accuracy.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from rope_spectra.analysis.retrieval_tasks import ALL
from rope_spectra.config.design import Design
from rope_spectra.report import style
from rope_spectra.report.figures import by_arm, line_styles
from rope_spectra.report.style import LineStyles

TITLES = {
    ALL: "mean of the tasks",
    "key": "key: the only one named",
    "keys": "keys: one of several named",
    "item": "item: a place in a list",
    "variable": "variable: handed on",
    "pairs": "pairs: one of several",
}
_PANEL = (2.3, 1.75)  # inches
_GAPS = (0.16, 0.42)
# White to dark blue, so that a printed page shows the order too.
_SHADES = LinearSegmentedColormap.from_list(
    "accuracy", ["#FFFFFF", "#9EC9E9", "#0072B2", "#08305C"]
)
_FEW = 4  # arms whose intervals can be told apart in one panel
_CELL = (0.31, 0.2)  # inches
_APART = 0.4  # rows of cells between the arms and what they are to be compared with
_DARK = 0.55  # the part of the scale from which figures are white
_DOTS = (0, (1, 2))
_CONTROL: style.Options = {"linewidth": 2.4, "alpha": 0.4, "zorder": 1.5}
_FAINT: style.Options = {"linestyle": (0, (2, 1.2)), "linewidth": 0.9, "alpha": 0.8}


def by_length(design: Design, table: pd.DataFrame) -> Figure:
    """Accuracy by length, a panel for each task and one for their mean, from retrieval.csv."""
    arms = by_arm(table)
    styles = line_styles(design, arms)
    shown = {name: styles[name] for name in styles if name in set(arms["spectrum"])}
    tasks = [ALL, *(task for task in arms["task"].unique() if task != ALL)]
    columns = 2 if style.in_column() else 3
    figure, grid = style.panels(len(tasks), columns, _PANEL, _GAPS)
    for axes, task in zip(grid, tasks, strict=True):
        _curves(axes, arms[arms["task"] == task], design.train_length, shown)
        axes.set_title(TITLES[task], fontsize=8.5, fontweight="normal", pad=4)
    for axes in grid[::columns]:
        axes.set_ylabel("Accuracy")
    _label_bottom(grid, columns, "Length (tokens)")
    _title(grid[0], "Retrieval by length")
    _legend(figure, shown, design.train_length)
    seeds = arms["n_seeds"].max()
    line = f"Line: mean over seeds (n = {seeds})"
    if seeds > 1 and len(shown) <= _FEW:
        line += "; band: 95 % interval over seeds and text"
    chance = round(1 / arms["chance"].iloc[0])
    style.caption(
        style.bottom_left(grid, columns),
        f"{line}. A trial is right if the true one of {chance} words is the"
        " likeliest. Distances are even on a log scale.",
    )
    return figure


def _curves(axes: Axes, rows: pd.DataFrame, train_length: int, styles: LineStyles) -> None:
    """One panel: a curve for each arm with its interval, and what it is to be compared with."""
    axes.set_ylim(-0.02, 1.03)
    for name, line_style in styles.items():
        arm = rows[rows["spectrum"] == name].sort_values("length")
        color = line_style.color
        if len(styles) <= _FEW:
            low, high = arm["accuracy_crossed95_low"], arm["accuracy_crossed95_high"]
            band: style.Options = {"color": color, "alpha": 0.12, "linewidth": 0}
            axes.fill_between(arm["length"], low.clip(0, 1), high.clip(0, 1), **band)
        marks: style.Options = {"marker": line_style.marker, "markersize": 3.2, "linewidth": 1.3}
        axes.plot(arm["length"], arm["accuracy_mean"], **line_style.line | marks)
        axes.plot(arm["length"], arm["truncated_accuracy"], color=color, **_FAINT)
    control = rows.groupby("length")["control_accuracy"].mean()
    axes.plot(control, color=style.GREY, **_CONTROL)
    axes.axhline(rows["chance"].iloc[0], **style.REFERENCE_LINE | {"linestyle": _DOTS})
    style.length_ticks(axes, sorted(rows["length"].unique()))
    axes.axvline(train_length, **style.REFERENCE_LINE)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def by_distance(design: Design, table: pd.DataFrame) -> Figure:
    """Accuracy of all tasks by distance of the needle, a panel for each length.

    table: of retrieval_distance.csv. A row of cells is an arm, the last two are means over the
    arms: of the truncated texts, and of the control.
    """
    arms = by_arm(table[table["task"] == ALL])
    styles = line_styles(design, arms)
    names = [name for name in styles if name in set(arms["spectrum"])]
    lengths = sorted(arms["length"].unique())
    span = np.log2(arms["distance_to"].max() / arms["distance_from"].min())
    size = span * _CELL[0], (len(names) + 2 + _APART) * _CELL[1]
    columns = 1 if style.in_column() else 2
    figure, grid = style.panels(len(lengths), columns, size, (0.2, 0.5))
    for axes, length in zip(grid, lengths, strict=True):
        _cells(axes, arms[arms["length"] == length], names, design.train_length)
        axes.set_title(f"length {length}", fontsize=8.5, fontweight="normal", pad=4)
    first = grid[0]
    rows = [*range(len(names)), len(names) + _APART, len(names) + _APART + 1]
    labels = [styles[name].label for name in names]
    first.set_yticks(rows, [*labels, f"last {design.train_length} tokens alone", "no statements"])
    first.set_ylim(rows[-1] + 0.5, -0.5)
    for axes in grid[::columns]:
        for tick, name in zip(axes.get_yticklabels(), names, strict=False):
            tick.set_color(styles[name].color)
    _label_bottom(grid, columns, "Distance of the statement (tokens)")
    _title(first, "Retrieval by distance and length")
    chance = round(100 * arms["chance"].iloc[0])
    style.caption(
        style.bottom_left(grid, columns),
        f"Percent right, mean over seeds and tasks; white: chance ({chance} %) or less. Dashed: the"
        f" training length. Below: all spectra, reading the last {design.train_length} tokens alone"
        " or a text without statements.",
    )
    return figure


def _cells(axes: Axes, rows: pd.DataFrame, names: list[str], train_length: int) -> None:
    """One panel: the accuracy of each arm and bin in figures and shades."""
    lines: list[tuple[float, pd.DataFrame, str]] = []
    for place, name in enumerate(names):
        lines.append((place, rows[rows["spectrum"] == name], "accuracy"))
    lines.append((len(names) + _APART, rows, "truncated_accuracy"))
    lines.append((len(names) + _APART + 1, rows, "control_accuracy"))
    chance = rows["chance"].iloc[0]
    for height, line, column in lines:
        for (low, high), values in line.groupby(["distance_from", "distance_to"])[column]:
            value = values.mean()
            if np.isnan(value):
                continue
            shade = _SHADES(max(value - chance, 0) / (1 - chance))
            edge: style.Options = {"facecolor": shade, "edgecolor": "white", "linewidth": 0.8}
            axes.add_patch(Rectangle((low, height - 0.5), high - low, 1, **edge))
            color = "white" if value - chance > _DARK * (1 - chance) else "black"
            centered: style.Options = {"ha": "center", "va": "center", "fontsize": 6.5}
            axes.text(np.sqrt(low * high), height, f"{100 * value:.0f}", color=color, **centered)
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)
    style.length_ticks(axes, sorted({*rows["distance_from"], *rows["distance_to"]}))
    axes.tick_params(axis="x", labelsize=7.5)
    axes.axvline(train_length, **style.REFERENCE_LINE | {"zorder": 3})


def _title(first: Axes, title: str) -> None:
    """The title above the grid, clear of the titles of the panels; none in the column form."""
    if style.in_column():
        return
    first.annotate(
        title,
        (0, 1),
        (0, 22),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=10.5,
        fontweight="bold",
    )


def _label_bottom(grid: list[Axes], columns: int, label: str) -> None:
    """The label and the ticks of the x axis below the last panel of each column."""
    for axes in grid[-columns:]:
        axes.set_xlabel(label)
        axes.tick_params(labelbottom=True)


def _legend(figure: Figure, styles: LineStyles, train_length: int) -> None:
    """The arms, and the lines that they are to be compared with, below the panels."""
    handles = [
        Line2D([], [], **each.line, marker=each.marker, label=each.label)
        for each in styles.values()
    ]
    last = f"reading the last {train_length} tokens alone"
    handles.append(Line2D([], [], color=style.DARK_GREY, label=last, **_FAINT))
    handles.append(Line2D([], [], color=style.GREY, label="no statements", **_CONTROL))
    dotted = style.REFERENCE_LINE | {"linestyle": _DOTS}
    handles.append(Line2D([], [], label="chance", **dotted))
    below = -1.0 / figure.get_figheight()
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.0, below),
        ncols=3,
        frameon=False,
        fontsize=8,
        borderaxespad=0,
    )
