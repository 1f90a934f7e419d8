"""The style that all figures share: colors, marks, ticks, labels at the ends of curves, captions.

The axes have a fixed size and the page grows around them, so no label is ever cut off.
"""

import textwrap
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from rope_spectra.artifacts import files

# Keyword arguments of matplotlib, which are of all types.
Options: TypeAlias = dict[str, Any]

# Okabe & Ito (2008): distinct under the common kinds of color blindness. Black is kept for the
# baseline. Yellow is left out because it is too faint on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BASELINE_COLOR = "#000000"
GREY = "#666666"
DARK_GREY = "#444444"
DASHES = ("solid", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
MARKERS = ("s", "^", "D", "v", "P", "X", "<")

WIDTH = 5.2  # of a single axes, in inches
FONT_SIZE = 9.0
LABEL_HEIGHT_PT = 11.5  # from one label to the next
CAPTION_COLUMNS = 104

# A reference line, such as the one at the training length. Curves (zorder 2) are drawn over it.
REFERENCE_LINE: Options = {"color": GREY, "linestyle": (0, (4, 3)), "linewidth": 1.0, "zorder": 1}


@dataclass(frozen=True)
class LineStyle:
    """The color, dashes and marker of one spectrum, the same in every figure."""

    color: str
    dashes: Any
    marker: str

    @property
    def line(self) -> Options:
        """Color and dashes as matplotlib's arguments for a line."""
        return {"color": self.color, "linestyle": self.dashes}


LineStyles: TypeAlias = Mapping[str, LineStyle]


def applied() -> AbstractContextManager[None]:
    """The context to draw and save figures in.

    Text is saved as outlines, so a figure does not depend on the fonts of who opens it. The hash
    salt makes the ids in the SVG, and so its bytes, reproducible.
    """
    return matplotlib.rc_context(
        {
            "font.family": "DejaVu Sans",
            "font.size": FONT_SIZE,
            "axes.titlesize": 10.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": GREY,
            "axes.axisbelow": True,
            "axes.grid": True,
            "grid.color": "#E4E4E4",
            "grid.linewidth": 0.6,
            "xtick.color": GREY,
            "ytick.color": GREY,
            "xtick.labelcolor": "black",
            "ytick.labelcolor": "black",
            "lines.linewidth": 1.6,
            "lines.markersize": 4.0,
            "savefig.facecolor": "white",
            "svg.fonttype": "path",
            "svg.hashsalt": "rope-spectra",
        }
    )


def line_styles(names: Sequence[str], baseline: str) -> dict[str, LineStyle]:
    """A line style for each name: black for the baseline, a color and marker for each other.

    The dashes change whenever the colors are used up. Colors and markers have different periods,
    so 42 spectra get 42 different pairs of them.
    """
    styles = {}
    others = 0
    for name in names:
        if name == baseline:
            styles[name] = LineStyle(BASELINE_COLOR, "solid", "o")
        else:
            styles[name] = LineStyle(
                color=COLORS[others % len(COLORS)],
                dashes=DASHES[others // len(COLORS) % len(DASHES)],
                marker=MARKERS[others % len(MARKERS)],
            )
            others += 1
    return styles


def canvas(title: str, height: float, marked: bool = False) -> tuple[Figure, Axes]:
    """A figure with one titled axes of WIDTH x height inches.

    `marked` leaves room for the text of mark_length below the title.
    """
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_title(title, pad=18 if marked else 8)
    return figure, axes


def height_for(labels: int) -> float:
    """Height of an axes, in inches, with room for that many labels at its right edge."""
    return max(3.1, labels * LABEL_HEIGHT_PT / 72)


def plain_log_ticks(axis: Axis, low: float, high: float) -> None:
    """Ticks of a log axis from low to high, written as plain numbers, not as powers.

    The more decades there are, the fewer ticks each gets. Within a factor of 2.5 the axis is
    nearly linear and so are its ticks.
    """
    ratio = high / low
    if ratio > 1000.0:
        axis.set_major_locator(LogLocator(subs=(1.0,)))
    elif ratio > 8.0:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    elif ratio > 2.5:
        steps = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
        axis.set_major_locator(LogLocator(subs=steps))
    else:
        axis.set_major_locator(MaxNLocator(6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_locator(NullLocator())


def length_ticks(axes: Axes, lengths: Sequence[int]) -> None:
    """A log2 x axis with exactly these lengths as ticks."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(list(lengths)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())


def note(axes: Axes, text: str, at: tuple[float, float], points: float, **options: Any) -> None:
    """Small text above a place, or below it where `points`, its distance, is negative.

    The place is in data coordinates unless the options name others (xycoords).
    """
    side = "bottom" if points > 0 else "top"
    small_print: Options = {"va": side, "color": GREY, "fontsize": 8} | options
    axes.annotate(text, at, (0, points), textcoords="offset points", **small_print)


def mark_length(axes: Axes, length: int) -> None:
    """A dashed vertical line at the training length."""
    axes.axvline(length, **REFERENCE_LINE)
    # Above the axes, clear of all curves.
    above = axes.get_xaxis_transform()
    note(axes, f"training length {length}", (length, 1.0), 3, xycoords=above)


def label_ends(axes: Axes, ends: Mapping[str, tuple[float, float]], styles: LineStyles) -> None:
    """Name each curve at the right edge, with a leader from its last point (x, y).

    Labels keep the vertical order of the curves.
    """
    # Matplotlib settles the limits only when it draws, but the heights below need them now.
    axes.autoscale_view()
    to_axes = axes.transData + axes.transAxes.inverted()
    names = sorted(ends, key=lambda name: ends[name][1])
    wanted = np.array([to_axes.transform(ends[name])[1] for name in names])
    figure = axes.get_figure(root=True)
    assert figure is not None
    # One line of text, as a fraction of the height of the axes.
    gap = LABEL_HEIGHT_PT / (72 * axes.get_position().height * figure.get_figheight())
    for name, height in zip(names, spread(wanted, gap), strict=True):
        leader: Options = {"arrowstyle": "-", "linewidth": 0.9, "shrinkA": 3, "shrinkB": 3}
        leader |= {"relpos": (0.0, 0.5), "patchA": None} | styles[name].line
        axes.annotate(
            name,
            xy=ends[name],
            xytext=(1.07, height),
            textcoords="axes fraction",
            va="center",
            fontsize=8.5,
            arrowprops=leader,
            annotation_clip=False,
        )


def spread(wanted: NDArray[np.floating], gap: float) -> NDArray[np.floating]:
    """The heights closest to `wanted` (least squares) that are at least `gap` apart.

    wanted: ascending, 0..1. The result stays within 0..1 if the labels fit there at all.
    """
    # "At least gap apart" is "not descending" once k gaps are taken off the k-th height. That is
    # an isotonic regression.
    offsets = gap * np.arange(len(wanted))
    free = isotonic_regression(wanted - offsets).x
    return np.clip(free, 0.0, max(0.0, 1.0 - offsets[-1])) + offsets


def caption(axes: Axes, text: str) -> None:
    """Small print below the axes: the meaning of the marks."""
    wrapped = textwrap.fill(text, CAPTION_COLUMNS)
    small_print: Options = {"color": DARK_GREY, "linespacing": 1.35}
    note(axes, wrapped, (0, 0), -38, xycoords="axes fraction", **small_print)


def save(figure: Figure, path: Path) -> None:
    """Publish a figure as SVG; equal figures give equal bytes."""
    with files.atomic(path) as temporary:
        figure.savefig(
            temporary,
            format="svg",
            bbox_inches="tight",
            pad_inches=0.12,
            metadata={"Date": None},  # the date would change the bytes
        )
