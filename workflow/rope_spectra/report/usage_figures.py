"""The figures of what trained models use: a panel for each spectrum, all with the same axes.

A table of curves has the columns spectrum, seed, series (the name in the legend), x and y.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from rope_spectra.analysis import usage_table
from rope_spectra.config.design import Design
from rope_spectra.report import plots, style

PANEL = (2.2, 1.45)  # width and height in inches
GAPS = (0.12, 0.42)  # between panels, in inches
# Color and mark of each series, in their order.
MARKS = ((style.SERIES_COLORS[0], "o"), (style.SERIES_COLORS[1], "D"), (style.GREY, ""))
_PERCENT = (-100, -10, -1, 0, 1, 10, 100, 1000, 10_000, 100_000)
_ITSELF = 0.5  # the place of distance 0 on an axis of distances, which is logarithmic


def draw(design: Design, pairs: pd.DataFrame, attention: pd.DataFrame) -> dict[str, Figure]:
    """The figures of layout.USAGE_FIGURES, from tables of usage_table.by_pair and attention."""
    single = stilling(design, pairs, "cost", "Cost of stilling one rotary pair")
    slower = stilling(design, pairs, "cost_slower", "Cost of stilling a pair and all slower ones")
    return {
        "usage": single,
        "usage_slower": slower,
        "usage_norms": norms(design, pairs),
        "usage_attention": attention_by_distance(design, attention),
    }


def stilling(design: Design, pairs: pd.DataFrame, cost: str, title: str) -> Figure:
    """Rise of perplexity over the wavelength of the pair, in length and beyond.

    cost: the name of the columns of `pairs`, without the part.
    """
    series = {f"{cost}_in_length": "in length", f"{cost}_beyond": f"beyond, to {design.longest}"}
    with np.errstate(over="ignore"):
        rises = pairs.assign(**{name: 100 * np.expm1(pairs[name]) for name in series})
    figure = _by_spectrum(design, _curves(rises, "wavelength", series), title)
    # The panels share their axes.
    shared = figure.axes[0]
    shared.set_yscale("symlog", linthresh=1.0, linscale=0.5)
    shared.yaxis.set_major_locator(FixedLocator(_PERCENT))
    shared.yaxis.set_major_formatter(FuncFormatter(_percent))
    shared.yaxis.set_minor_locator(NullLocator())
    _finish(figure, design, "Wavelength of the pair (tokens)", "Perplexity", _of_pairs(pairs))
    return figure


def norms(design: Design, pairs: pd.DataFrame) -> Figure:
    """Norms of a pair's part of queries and keys over its wavelength."""
    series = {"q_norm": "queries", "k_norm": "keys"}
    title = "Norm of each pair's part of queries and keys"
    figure = _by_spectrum(design, _curves(pairs, "wavelength", series), title)
    figure.axes[0].set_ylim(bottom=0)
    text = f"Root mean square over layers, heads and tokens. {_of_pairs(pairs)}"
    _finish(figure, design, "Wavelength of the pair (tokens)", "Norm", text)
    return figure


def attention_by_distance(design: Design, attention: pd.DataFrame) -> Figure:
    """Part of the attention in each bin of distances, mean over layers, at each length.

    Next to it that of a model that attends to all tokens before alike, at the longest length.
    """
    keys = ["spectrum", "seed", "length", "distance_from", "distance_to"]
    mean = attention.sort_values("length", kind="stable").groupby(keys, sort=False)["mass"].mean()
    mean = mean.reset_index()
    longest = mean["length"].max()
    alike = mean[mean["length"] == longest].copy()
    for _, rows in alike.groupby(["spectrum", "seed"]):
        edges = np.append(rows["distance_from"], longest)
        alike.loc[rows.index, "mass"] = usage_table.uniform_attention(edges)
    curves = pd.concat(
        [
            mean.assign(series=[f"at {length} tokens" for length in mean["length"]]),
            alike.assign(series=f"all alike, at {longest}"),
        ]
    )
    curves = curves.assign(x=curves["distance_from"].clip(lower=_ITSELF), y=100 * curves["mass"])
    figure = _by_spectrum(design, curves, "Attention by distance")
    figure.axes[0].set_ylim(bottom=0)
    powers = [2**power for power in range(0, int(longest).bit_length(), 3) if 2**power < longest]
    figure.axes[0].xaxis.set_major_locator(FixedLocator([_ITSELF, *powers]))
    figure.axes[0].xaxis.set_major_formatter(FuncFormatter(_distance))
    figure.axes[0].xaxis.set_minor_locator(NullLocator())
    text = (
        "A point is a bin of distances (powers of two), at its smallest distance. Grey: a model"
        " that attends to all tokens up to its own alike."
    )
    _finish(figure, design, "Tokens from query to key", "Attention (%)", text)
    return figure


def _percent(value: float, _: object) -> str:
    return f"{value:+,.0f} %" if value else "0 %"


def _distance(value: float, _: object) -> str:
    return "0" if value == _ITSELF else f"{value:.0f}"


def _curves(pairs: pd.DataFrame, x: str, series: Mapping[str, str]) -> pd.DataFrame:
    """A table of curves from columns of another, by their names in the legend."""
    curves = [
        pairs.assign(x=pairs[x], y=pairs[column], series=name) for column, name in series.items()
    ]
    table = pd.concat(curves)
    return table[np.isfinite(table["x"]) & np.isfinite(table["y"])]


def _by_spectrum(design: Design, curves: pd.DataFrame, title: str) -> Figure:
    """A panel for each spectrum: a line for each series, its mean over seeds, and thin seeds."""
    names = [spectrum.name for spectrum in design.spectra]
    figure, grid = _grid(len(names))
    series = list(dict.fromkeys(curves["series"]))
    handles: list[Line2D] = []
    for axes, name in zip(grid, names, strict=False):
        axes.set_xscale("log")
        axes.set_title(style.shown(name), fontsize=8.5, fontweight="normal", pad=4)
        axes.axvline(design.train_length, **style.REFERENCE_LINE)
        if name not in set(curves["spectrum"]):
            middle: style.Options = {"ha": "center", "va": "center", "transform": axes.transAxes}
            axes.text(0.5, 0.5, "no pair rotates", color=style.DARK_GREY, **middle)
        handles = []
        for label, (color, marker) in zip(series, MARKS, strict=False):
            rows = curves[(curves["spectrum"] == name) & (curves["series"] == label)]
            if marker:
                for _, seed in rows.groupby("seed"):
                    line = seed.sort_values("x", kind="stable")
                    axes.plot(line["x"], line["y"], color=color, linewidth=0.4, alpha=0.5)
            mean = rows.groupby("x")["y"].mean()
            mark: style.Options = {"color": color, "marker": marker, "markersize": 2.8}
            handles += axes.plot(mean, linewidth=1.2, label=label, **mark)
    style.heading(figure, title, 0.3)
    above = 0.2 / figure.get_figheight()
    place: style.Options = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0 + above)}
    figure.legend(handles=handles, ncols=len(handles), frameon=False, fontsize=8.5, **place)
    return figure


def _columns() -> int:
    """Panels next to each other."""
    return 2 if style.in_column() else 3


def _grid(count: int) -> tuple[Figure, Sequence[Axes]]:
    """A figure with so many panels, whose axes are shared."""
    figure, grid = style.panels(count, _columns(), PANEL, GAPS)
    # Where a line of panels is not full, those above its empty places are the lowest.
    for axes in grid[-_columns() :]:
        axes.tick_params(labelbottom=True)
    return figure, grid


def _finish(figure: Figure, design: Design, x_label: str, y_label: str, text: str) -> None:
    """Labels of the shared axes, and the caption below."""
    panels = figure.axes
    lowest = style.bottom_left(panels, _columns())
    plain: style.Options = {"color": "black", "fontsize": "medium"}
    style.note(lowest, x_label, (0, 0), -20, xycoords="axes fraction", **plain)
    for axes in panels[:: _columns()]:
        axes.set_ylabel(y_label)
    style.caption(lowest, f"Dashed line: training length {design.train_length}. {text}")


def _of_pairs(pairs: pd.DataFrame) -> str:
    """The meaning of the lines of a figure of pairs."""
    seeds = pairs.groupby("spectrum")["seed"].nunique()
    text = f"Marks: mean over n = {plots.between(seeds)} seeds; thin lines: single seeds."
    if np.isinf(pairs["wavelength"]).any():
        text += " Pairs that do not rotate are not drawn."
    return text
