"""The style that all figures share: colors, marks, ticks, names of curves, captions, forms.

In the full form the axes have a fixed size and the page grows around them, so no label is ever cut
off. The column form is for the column of a paper: its width is fixed, a legend stands in place of
the names at the curves, and what the paper says itself is left out: title and caption.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal, TypeAlias

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from rope_spectra.artifacts import files
from rope_spectra.config.appearance import Appearance
from rope_spectra.runtime.errors import UserError

# Keyword arguments of matplotlib, which are of all types.
Options: TypeAlias = dict[str, Any]
Sized: TypeAlias = tuple[float, float]  # width and height, in inches

# Okabe & Ito (2008): distinct under the common kinds of color blindness. Yellow is left out because
# it is too faint on white.
COLORS = ("#000000", "#D55E00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#E69F00")
SERIES_COLORS = ("#0072B2", "#D55E00")  # of curves that are not of spectra
GREY = "#666666"
DARK_GREY = "#444444"
DASHES = ("solid", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (9, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")

WIDTH = 5.2  # of a single axes, in inches
COLUMN_WIDTH = 3.25  # of a whole figure in the column form, in inches
FONT_SIZE = 9.0
LABEL_HEIGHT_PT = 11.5  # from one label to the next
CAPTION_COLUMNS = 104

Form: TypeAlias = Literal["full", "column"]
# What the figures are drawn with, set by `applied`.
_appearance: ContextVar[Appearance] = ContextVar("appearance")
_form: ContextVar[Form] = ContextVar("form", default="full")

# A reference line, such as the one at the training length. Curves (zorder 2) are drawn over it.
REFERENCE_LINE: Options = {"color": GREY, "linestyle": (0, (4, 3)), "linewidth": 1.0, "zorder": 1}


@dataclass(frozen=True)
class LineStyle:
    """The color, dashes, marker and label of one arm, the same in every figure."""

    color: str
    dashes: Any
    marker: str
    label: str

    @property
    def line(self) -> Options:
        """Color and dashes as matplotlib's arguments for a line."""
        return {"color": self.color, "linestyle": self.dashes}


LineStyles: TypeAlias = Mapping[str, LineStyle]


@contextmanager
def applied(appearance: Appearance | None = None, form: Form = "full") -> Iterator[None]:
    """The context to draw and save figures in: how the arms are shown, and the form.

    Text stays text in SVG and PDF, so that it can be searched and edited. The hash salt makes the
    ids in the SVG, and so its bytes, reproducible.
    """
    tokens = _appearance.set(appearance or Appearance()), _form.set(form)
    settings: Options = {
        # Verdana is as wide as DejaVu Sans, which few but Linux have.
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
        "font.size": FONT_SIZE if form == "full" else 7.5,
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
        "lines.linewidth": 1.6 if form == "full" else 1.2,
        "lines.markersize": 4.0 if form == "full" else 3.0,
        "savefig.facecolor": "white",
        "svg.fonttype": "none",
        "svg.hashsalt": "rope-spectra",
        "pdf.fonttype": 42,  # as text: what journals ask for
    }
    try:
        with matplotlib.rc_context(settings):  # type: ignore[arg-type]
            yield
    finally:
        _appearance.reset(tokens[0])
        _form.reset(tokens[1])


def _applied_appearance() -> Appearance:
    return _appearance.get(Appearance())


def in_column() -> bool:
    """True while figures are drawn in the column form."""
    return _form.get() == "column"


def shown(arm: str) -> str:
    """The words for an arm in a figure: its label or name, such as geo_500k+yarn."""
    # Between two dollars matplotlib would read a formula.
    return _applied_appearance().shown(arm).replace("$", r"\$")


def line_styles(names: Sequence[str]) -> dict[str, LineStyle]:
    """A line style for each name of an arm, by the appearance that is applied.

    An arm without a place there takes one that no other has.
    """
    known = _applied_appearance().places
    taken = {known[name] for name in names if name in known}
    free = (place for place in count() if place not in taken)
    styles = {}
    for name in names:
        place = known[name] if name in known else next(free)
        round_, color = divmod(place, len(COLORS))
        styles[name] = LineStyle(
            color=COLORS[color],
            dashes=DASHES[round_ % len(DASHES)],
            # Those of one color differ by it, and those of the first round too.
            marker=MARKERS[(color + round_) % len(MARKERS)],
            label=shown(name),
        )
    return styles


def canvas(title: str, height: float, marked: bool = False) -> tuple[Figure, Axes]:
    """A figure with one titled axes of WIDTH x height inches, less in the column form.

    `marked` leaves room for the text of mark_length below the title.
    """
    figure = Figure(figsize=(2.7, 1.9) if in_column() else (WIDTH, height))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    if not in_column():
        axes.set_title(title, pad=18 if marked else 8)
    return figure, axes


def height_for(labels: int) -> float:
    """Height of an axes, in inches, with room for that many labels at its right edge."""
    return max(3.1, labels * LABEL_HEIGHT_PT / 72)


def panels(
    number: int, columns: int, panel: Sized, gaps: Sized, sharex: bool = True
) -> tuple[Figure, list[Axes]]:
    """A figure filled by so many panels with a shared y axis; the last line may have gaps.

    panel, gaps: width and height in inches. In the column form the width is that of a column.
    """
    columns = min(number, columns)
    lines = -(-number // columns)  # rounded up
    across = columns * panel[0] + (columns - 1) * gaps[0]
    shrink = min(1.0, 2.7 / across) if in_column() else 1.0
    figure = Figure(figsize=(shrink * across, lines * panel[1] + (lines - 1) * gaps[1]))
    spacing: Options = {"left": 0, "right": 1, "bottom": 0, "top": 1}
    spacing |= {"wspace": gaps[0] / panel[0], "hspace": gaps[1] / panel[1]}
    grid = figure.subplots(
        lines, columns, sharex=sharex, sharey=True, squeeze=False, gridspec_kw=spacing
    )
    flat = list(grid.flat)
    for axes in flat[number:]:
        figure.delaxes(axes)
    return figure, flat[:number]


def bottom_left(grid: Sequence[Axes], columns: int) -> Axes:
    """The first panel of the last line."""
    return grid[(len(grid) - 1) // columns * columns]


def heading(figure: Figure, text: str, above: float) -> None:
    """The title of a figure with panels, so many inches above them; none in the column form."""
    if in_column():
        return
    height = 1.0 + above / figure.get_figheight()
    bold: Options = {"ha": "left", "va": "bottom", "fontsize": 10.5, "fontweight": "bold"}
    figure.suptitle(text, x=0.0, y=height, **bold)


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
    size = 6.5 if in_column() else 8
    small_print: Options = {"va": side, "color": GREY, "fontsize": size} | options
    axes.annotate(text, at, (0, points), textcoords="offset points", **small_print)


def mark_length(axes: Axes, length: int) -> None:
    """A dashed vertical line at the training length."""
    axes.axvline(length, **REFERENCE_LINE)
    # Above the axes, clear of all curves.
    above = axes.get_xaxis_transform()
    note(axes, f"training length {length}", (length, 1.0), 3, xycoords=above)


def label_ends(axes: Axes, ends: Mapping[str, tuple[float, float]], styles: LineStyles) -> None:
    """Name each curve at the right edge, with a leader from its last point (x, y).

    Labels keep the vertical order of the curves. The column form has a legend instead.
    """
    if in_column():
        legend(axes, {name: styles[name] for name in styles if name in ends})
        return
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
            styles[name].label,
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


def legend(axes: Axes, styles: LineStyles) -> None:
    """A legend with a line and marker for each arm; `save` gives it its place."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    entries = [
        Line2D([], [], **each.line, marker=each.marker, label=each.label)
        for each in styles.values()
    ]
    figure.legend(handles=entries)


def caption(axes: Axes, text: str) -> None:
    """Small print below the axes: the meaning of the marks. None in the column form."""
    if in_column():
        return
    wrapped = textwrap.fill(text, CAPTION_COLUMNS)
    small_print: Options = {"color": DARK_GREY, "linespacing": 1.35}
    note(axes, wrapped, (0, 0), -38, xycoords="axes fraction", **small_print)


def save(figure: Figure, path: Path) -> None:
    """Publish a figure as SVG, PDF or PNG, by its suffix; equal figures give equal bytes."""
    if in_column():
        _fit_column(figure)
    kind = path.suffix[1:]
    if kind not in _METADATA:
        raise UserError(f"{path}: no kind of picture that is drawn; end it in .svg, .pdf or .png")
    with files.atomic(path) as temporary:
        figure.savefig(
            temporary,
            format=kind,
            dpi=_DPI,
            bbox_inches="tight",
            pad_inches=_PAD if in_column() else 0.12,
            metadata=_METADATA[kind],
        )


# The date would change the bytes.
_METADATA: dict[str, Options] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
_DPI = 300
_PAD = 0.02  # around a figure in the column form, in inches
_LEGEND: Options = {
    **{"loc": "upper left", "frameon": False, "borderaxespad": 0, "borderpad": 0},
    **{"fontsize": 7.0, "handlelength": 2.2, "columnspacing": 1.0, "labelspacing": 0.3},
}


def _fit_column(figure: Figure) -> None:
    """Make a figure as wide as a column, its legends below it."""
    wanted = COLUMN_WIDTH - 2 * _PAD
    figure.set_dpi(_DPI)  # at which text is as wide as it will be
    renderer = FigureCanvasAgg(figure).get_renderer()
    entries: list[tuple[Any, str]] = []
    for old in list(figure.legends):
        entries += zip(old.legend_handles, [text.get_text() for text in old.texts], strict=True)
        old.remove()
    # Ticks may change with the width, and their labels are part of it.
    for _ in range(4):
        box = figure.get_tightbbox(renderer)
        figure.set_figwidth(figure.get_figwidth() + wanted - box.width)
    if not entries:
        return
    box = figure.get_tightbbox(renderer)
    handles, names = zip(*entries, strict=True)
    # In parts of the figure: saving shifts what has a place in inches.
    corner = box.x0 / figure.get_figwidth(), (box.y0 - 0.08) / figure.get_figheight()
    for columns in (4, 3, 2, 1):
        made = figure.legend(handles, names, ncols=columns, bbox_to_anchor=corner, **_LEGEND)
        width = made.get_window_extent(renderer).width / figure.dpi
        if width <= wanted or columns == 1:
            return
        made.remove()
