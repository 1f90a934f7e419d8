"""How every figure looks: colours, marks, log ticks, labels at the ends of curves, captions, reproducible SVG.

The axes have a fixed size and the page grows around them, so no label is ever cut off.
"""

import textwrap
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from scipy.optimize import isotonic_regression

from rope_spectra.artifacts import files

# Okabe & Ito (2008), distinct under the common kinds of colour blindness; black is for the baseline, and yellow, too faint
# on white, is left out.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BASELINE_COLOUR = "#000000"
GREY = "#666666"
LINES = ("solid", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
MARKERS = ("s", "^", "D", "v", "P", "X", "<")

WIDTH = 5.2
LABEL_HEIGHT_PT = 11.5
CAPTION_COLUMNS = 104


@dataclass(frozen=True)
class Look:
    """How one spectrum is drawn, the same in every figure."""

    color: str
    linestyle: Any
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """Colour and style as arguments of a line."""
        return {"color": self.color, "linestyle": self.linestyle}


def style() -> AbstractContextManager[None]:
    """The style of every figure, to draw and to save in. Text becomes outlines: it looks the same without our fonts."""
    return matplotlib.rc_context(
        {
            "font.family": "DejaVu Sans",
            "font.size": 9.0,
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


def looks(names: Sequence[str], baseline: str) -> dict[str, Look]:
    """A look for each spectrum: black for the baseline, else a colour with its own marker, and a new line style every six."""
    others = [name for name in names if name != baseline]
    distinct = {
        name: Look(
            COLOURS[i % len(COLOURS)],
            LINES[i // len(COLOURS) % len(LINES)],
            MARKERS[i % len(MARKERS)],
        )
        for i, name in enumerate(others)
    }
    return {name: distinct.get(name, Look(BASELINE_COLOUR, "solid", "o")) for name in names}


def canvas(title: str, height: float, marked: bool = False) -> tuple[Figure, Axes]:
    """A figure with one titled axes of WIDTH x height inches; `marked` leaves room for mark_length below the title."""
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_title(title, pad=18 if marked else 8)
    return figure, axes


def height_for(labels: int) -> float:
    """Height of an axes in inches with room for that many labels at its right edge."""
    return max(3.1, labels * LABEL_HEIGHT_PT / 72)


def plain_log_ticks(axis: Axis, low: float, high: float) -> None:
    """Ticks of a log axis from low to high as plain numbers: the fewer in a decade, the more decades there are."""
    steps = {
        1000.0: (1.0,),
        8.0: (1.0, 2.0, 5.0),
        2.5: (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0),
    }
    subs = next((subs for ratio, subs in steps.items() if high > ratio * low), None)
    axis.set_major_locator(LogLocator(subs=subs) if subs else MaxNLocator(6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_locator(NullLocator())


def length_ticks(axes: Axes, lengths: Sequence[int]) -> None:
    """A log2 x axis with exactly these lengths as ticks."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(list(lengths)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())


def mark_length(axes: Axes, length: int, text: str) -> None:
    """A dashed vertical line at a length, its name above the axes where no curve can hide it."""
    axes.axvline(length, color=GREY, linestyle=(0, (4, 3)), linewidth=1.0, zorder=1)
    axes.annotate(
        text, (length, 1.0), (0, 3), xycoords=axes.get_xaxis_transform(), textcoords="offset points",
        ha="left", va="bottom", color=GREY, fontsize=8,
    )  # fmt: skip


def label_ends(
    axes: Axes, ends: Mapping[str, tuple[float, float]], looks: Mapping[str, Look]
) -> None:
    """Name each curve at the right edge, with a leader from its last point (x, y); labels keep the curves' order."""
    axes.autoscale_view()  # matplotlib would settle the limits only when it draws
    to_axes = axes.transData + axes.transAxes.inverted()
    names = sorted(ends, key=lambda name: ends[name][1])
    wanted = np.array([to_axes.transform(ends[name])[1] for name in names])
    gap = LABEL_HEIGHT_PT / (72 * axes.get_position().height * axes.figure.get_figheight())
    leader = {
        "arrowstyle": "-",
        "linewidth": 0.9,
        "relpos": (0.0, 0.5),
        "patchA": None,
        "shrinkA": 3,
        "shrinkB": 3,
    }
    for name, height in zip(names, spread(wanted, gap), strict=True):
        axes.annotate(
            name, ends[name], (1.07, height), textcoords="axes fraction", va="center", fontsize=8.5,
            arrowprops=leader | looks[name].line, annotation_clip=False,
        )  # fmt: skip


def spread(wanted: np.ndarray, gap: float) -> np.ndarray:
    """The heights nearest to the ascending `wanted` (least squares) that are at least `gap` apart, within 0..1 if they fit."""
    offsets = gap * np.arange(len(wanted))
    free = isotonic_regression(wanted - offsets).x
    return np.clip(free, 0.0, max(0.0, 1.0 - offsets[-1])) + offsets


def caption(axes: Axes, text: str) -> None:
    """What the marks mean, in small print below the axes."""
    axes.annotate(
        textwrap.fill(text, CAPTION_COLUMNS), (0, 0), (0, -38), xycoords="axes fraction", textcoords="offset points",
        va="top", fontsize=8, color="#444444", linespacing=1.35,
    )  # fmt: skip


def save(figure: Figure, path: Path) -> None:
    """Publish a figure as SVG; equal figures give equal bytes."""
    with files.atomic(path) as temporary:
        figure.savefig(
            temporary, format="svg", bbox_inches="tight", pad_inches=0.12, metadata={"Date": None}
        )
