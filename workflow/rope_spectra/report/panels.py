"""The figures with panels side by side: paired differences, and published runs next to ours.

All panels of a figure share their rows, so that a row reads across.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rope_spectra.config.experiment import Metric
from rope_spectra.report import plots, style
from rope_spectra.report.style import LineStyles

# By metric: its name, and the meaning of a difference of it.
_METRICS: dict[Metric, tuple[str, str]] = {
    "ppl": ("Log perplexity", "below 0: better; −0.1 is about 10 % lower perplexity"),
    "degradation": ("Degradation", "below 0: degrades less; −0.1 is about 10 % less growth"),
}


def paired_deltas(
    deltas: pd.DataFrame,
    summary: pd.DataFrame,
    baseline: str,
    margin: float,
    styles: LineStyles,
    metric: Metric = "ppl",
) -> Figure:
    """Forest plot of differences of a metric against the baseline on the same seeds.

    deltas: columns spectrum, baseline, length, seed, delta; a row per spectrum, length and seed.
    summary: columns spectrum, length, delta, low and high. margin: the equivalence margin, a
    fraction of PPL. No deltas give a figure that says so.

    There is one panel per spectrum, its rows the lengths; or, where spectra outnumber lengths, one
    panel per length, its rows the spectra from best to worst at the longest length. Where
    spectra have different baselines, each is named together with its own.
    """
    baselines = dict(zip(deltas["spectrum"], deltas["baseline"], strict=True))
    different = set(baselines.values()) or {baseline}
    common = different.pop() if len(different) == 1 else ""
    reference = style.shown(common) if common else "its baseline"
    subject, meaning = _METRICS[metric]
    title = f"{subject} against {reference} on the same seeds"
    if deltas.empty:
        none = f"no spectrum shares a seed with the baseline {style.shown(baseline)}"
        return plots.placeholder(none, title)

    names = [name for name in styles if name in baselines]
    lengths = sorted(deltas["length"].unique())
    if len(names) <= len(lengths):
        panel_key, panels = "spectrum", names
        row_key, rows = "length", lengths
        panel_titles = [_with_baseline(name, baselines[name], common, "\nv") for name in names]
        row_labels = [str(length) for length in lengths]
    else:
        at_longest = deltas[deltas["length"] == lengths[-1]]
        ranked = at_longest.groupby("spectrum")["delta"].mean().sort_values()
        panel_key, panels = "length", lengths
        row_key, rows = "spectrum", list(ranked.index)
        panel_titles = [f"length {length}" for length in lengths]
        row_labels = [_with_baseline(name, baselines[name], common) for name in rows]

    columns = min(len(panels), _columns(panel_titles))
    figure, grid = _panels(len(panels), columns, len(rows))
    dots = deltas.assign(row=deltas[row_key].map(rows.index))
    # One seed has no interval: then its dot is all there is to draw.
    means = summary.dropna(subset="low")
    means = means.assign(row=means[row_key].map(rows.index))
    for axes, panel, panel_title in zip(grid, panels, panel_titles, strict=True):
        of_panel = (dots[dots[panel_key] == panel], means[means[panel_key] == panel])
        forest(axes, *of_panel, margin, styles)
        axes.set_title(panel_title, fontsize=_title_size(), fontweight="normal", pad=4)
    grid[0].set_yticks(range(len(rows)), row_labels)
    grid[0].set_ylabel("Length (tokens)" if row_key == "length" else "")
    x_label = f"Δ {subject[0].lower()}{subject[1:]} against {reference}"
    if not style.in_column():
        x_label += f" ({meaning})"
    text = pairs_text(deltas, margin)
    _label_panels(figure, columns, title, x_label, text)
    return figure


def forest(
    axes: Axes, dots: pd.DataFrame, means: pd.DataFrame, margin: float, styles: LineStyles
) -> None:
    """One panel: a dot per seed, the mean with its interval where there is one, zero and margin.

    dots: columns row, spectrum, delta. means: columns row, spectrum, delta, low, high.
    """
    axes.axvspan(-np.log1p(margin), np.log1p(margin), color="#CCCCCC", linewidth=0, zorder=1)
    axes.axvline(0, color=style.GREY, linewidth=0.6, zorder=1.5)
    # Where there are bars the dots go below them, so that both can be seen.
    below = 0.3 if len(means) else 0.0
    size = 12 if len(means) else 20
    colors = [styles[name].color for name in dots["spectrum"]]
    axes.scatter(dots["delta"], dots["row"] + below, s=size, c=colors, alpha=0.7, linewidths=0)
    for mean in means.itertuples():
        line_style = styles[mean.spectrum]
        axes.plot(
            [mean.low, mean.high], [mean.row, mean.row], color=line_style.color, linewidth=1.4
        )
        mark: style.Options = {"color": line_style.color, "marker": line_style.marker}
        axes.plot(
            mean.delta,
            mean.row,
            **mark,
            markersize=5.5,
            markeredgecolor="white",
            markeredgewidth=0.5,
        )


def published_v_ours(points: pd.DataFrame, text: str) -> Figure:
    """Published runs and ours in the same rows, a panel per length; `text` is the caption.

    points: columns row, label (of the row), length, side (published or ours), ppl and rerun_std
    (PPL, NaN where unknown).
    """
    labels = points.drop_duplicates("row").set_index("row")["label"].sort_index()
    panels = points["length"].nunique()
    columns = min(panels, _columns([]))
    figure, grid = _panels(panels, columns, labels.index[-1] + 1, sharex=False)
    for axes, (length, at_length) in zip(grid, points.groupby("length"), strict=True):
        theirs = at_length[at_length["side"] == "published"]
        ours = at_length[at_length["side"] == "ours"]
        spread = theirs["rerun_std"]
        if spread.notna().any():
            bar: style.Options = {"color": "#D2D2D2", "linewidth": 10, "label": "± rerun spread"}
            axes.hlines(theirs["row"], theirs["ppl"] - spread, theirs["ppl"] + spread, **bar)
        diamond: style.Options = {
            "color": style.SERIES_COLORS[1],
            "markersize": 3.4,
            "label": "ours",
        }
        axes.plot(ours["ppl"], ours["row"], "D", **diamond)
        tick: style.Options = {"color": "black", "markersize": 10, "markeredgewidth": 1.1}
        axes.plot(theirs["ppl"], theirs["row"], "|", label="published", **tick)
        axes.set_title(f"length {length}", fontsize=_title_size(), fontweight="normal", pad=4)
        axes.tick_params(axis="x", labelsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(3))
    grid[0].set_yticks(labels.index, labels)
    entries = grid[0].get_legend_handles_labels()
    below = -14 / 72 / figure.get_figheight()  # 14 points
    figure.legend(*entries, loc="upper right", bbox_to_anchor=(1.0, below), ncols=3, frameon=False)
    title = "Published and ours, seed by seed"
    _label_panels(figure, columns, title, "Perplexity", text)
    return figure


def pairs_text(deltas: pd.DataFrame, margin: float) -> str:
    """The meaning of dots, intervals and band of the forest plot, over how many pairs of seeds."""
    counts = deltas.groupby(["spectrum", "length"])["seed"].nunique()
    band = f"Grey band: equivalence margin, ± {100 * margin:g} % perplexity."
    if counts.max() == 1:
        return f"One seed (n = 1): dots only, no interval is possible. {band}"
    pairs = f"mean and 95 % interval over n = {plots.between(counts)} paired seeds and the text"
    return f"Mark and bar: {pairs}; dots: single seeds. {band}"


def _with_baseline(name: str, baseline: str, common: str, versus: str = " v") -> str:
    """The words for an arm, with its baseline where that is not the common one: `a v b`."""
    shown = style.shown(name)
    return shown if baseline == common else f"{shown}{versus} {style.shown(baseline)}"


def _columns(titles: Sequence[str]) -> int:
    """Panels next to each other, with room for their titles; others go into a new line."""
    if not style.in_column():
        return 4
    return 2 if all(len(title) <= 16 for title in titles) else 1


def _title_size() -> float:
    """Of the title of a panel, in points."""
    return 7.0 if style.in_column() else 8.5


def _panels(
    panels: int, columns: int, rows: float, sharex: bool = True
) -> tuple[Figure, Sequence[Axes]]:
    """A grid of so many columns with common rows; places left over in the last line stay empty.

    rows: what each panel has room for, in units of a row, from the top.
    """
    # Panels with x axes of their own need room for tick labels between them.
    wide, high = (0.08, 0.35) if sharex else (0.14, 0.55)
    width = (style.WIDTH + 0.6) / (columns + wide * (columns - 1))
    # The panels fill the figure; titles and captions lie outside, where the page grows.
    size, gaps = (width, 0.15 + 0.21 * rows), (wide * width, high)
    figure, grid = style.panels(panels, columns, size, gaps, sharex)
    grid[0].set_ylim(rows - 0.4, -0.6)
    grid[0].xaxis.set_major_locator(
        MaxNLocator((4 if style.in_column() else 8) // columns + 2, steps=[1, 2, 2.5, 5, 10])
    )
    for axes in grid:
        axes.tick_params(axis="y", length=0)
    return figure, grid


def _label_panels(figure: Figure, columns: int, title: str, x_label: str, caption: str) -> None:
    """The title above the grid; one label for all x axes and the caption below it."""
    # In inches: a gap, and a line for each line of the panels' own titles.
    above = 0.15 + 0.15 * len(figure.axes[0].get_title("left").splitlines())
    style.heading(figure, title, above)
    bottom_left = style.bottom_left(figure.axes, columns)
    plain: style.Options = {"color": "black", "fontsize": "medium"}
    style.note(bottom_left, x_label, (0, 0), -22, xycoords="axes fraction", **plain)
    style.caption(bottom_left, caption)
