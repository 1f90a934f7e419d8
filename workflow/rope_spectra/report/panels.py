"""The drawing of the figures that have panels side by side: paired differences, and the published runs beside ours."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rope_spectra.report.plots import Styles, between, placeholder
from rope_spectra.report.style import COLOURS, GREY, WIDTH, caption


def paired_deltas(
    deltas: pd.DataFrame, summary: pd.DataFrame, baseline: str, margin: float, styles: Styles
) -> Figure:
    """Forest plot of delta log PPL against the baseline on the same seeds.

    deltas: columns baseline, length, delta, a row per spectrum and seed. summary: columns spectrum, length, delta_log_ppl and its
    delta_log_ppl_ci95_low / _high. One panel per spectrum, its rows the lengths; where there are more spectra than lengths,
    one panel per length, its rows the spectra from best to worst at the longest. Where baselines differ, each is named beside
    its spectrum. No deltas give a figure that says so.
    """
    against = dict(zip(deltas["spectrum"], deltas["baseline"], strict=True))
    common = (
        "its baseline" if len(set(against.values())) > 1 else next(iter(against.values()), baseline)
    )
    title = f"Log perplexity against {common} on the same seeds"
    if not against:
        return placeholder(f"no spectrum shares a seed with the baseline {baseline}", title)
    texts = {
        name: name if other == common else f"{name} v {other}" for name, other in against.items()
    }
    names, lengths = (
        [name for name in styles if name in set(deltas["spectrum"])],
        sorted(deltas["length"].unique()),
    )
    if by_spectrum := len(names) <= len(lengths):
        panel_key, panels, row_key, rows = "spectrum", names, "length", lengths
    else:
        ranked = (
            deltas[deltas["length"] == lengths[-1]]
            .groupby("spectrum")["delta"]
            .mean()
            .sort_values()
        )
        panel_key, panels, row_key, rows = "length", lengths, "spectrum", list(ranked.index)
    figure, grid = _panels(len(panels), len(rows))
    tables = (deltas, summary.dropna(subset="delta_log_ppl_ci95_low"))
    dots, means = (table.assign(row=table[row_key].map(rows.index)) for table in tables)
    for axes, panel in zip(grid, panels, strict=False):
        forest(
            axes, dots[dots[panel_key] == panel], means[means[panel_key] == panel], margin, styles
        )
        text = texts[panel].replace(" v ", "\nv ") if by_spectrum else f"length {panel}"
        axes.set_title(text, fontsize=8.5, fontweight="normal", pad=4)
    grid[0].set_yticks(range(len(rows)), rows if by_spectrum else [texts[name] for name in rows])
    grid[0].set_ylabel("Length (tokens)" if by_spectrum else "")
    x = f"Δ log perplexity against {common} (below 0: better; −0.1 is about 10 % lower perplexity)"
    _label_panels(figure, grid[(len(panels) - 1) // 4 * 4], title, x, pairs_text(deltas, margin))
    return figure


def forest(
    axes: Axes, dots: pd.DataFrame, means: pd.DataFrame, margin: float, styles: Styles
) -> None:
    """One panel: a dot per seed, the mean and its interval where there is one, zero line and equivalence margin.

    dots: columns row, spectrum, delta. means: columns row, spectrum, delta_log_ppl and its interval.
    """
    axes.axvspan(-np.log1p(margin), np.log1p(margin), color="#CCCCCC", linewidth=0, zorder=1)
    axes.axvline(0, color=GREY, linewidth=0.6, zorder=1.5)
    colors = [styles[name].color for name in dots["spectrum"]]
    # Where there are bars the dots go below them, to stay in sight.
    below, size = (0.3, 12) if len(means) else (0.0, 20)
    axes.scatter(dots["delta"], dots["row"] + below, s=size, c=colors, alpha=0.7, linewidths=0)
    for mean in means.itertuples():
        look = styles[mean.spectrum]
        interval = [mean.delta_log_ppl_ci95_low, mean.delta_log_ppl_ci95_high]
        axes.plot(interval, [mean.row, mean.row], color=look.color, linewidth=1.4)
        axes.plot(
            mean.delta_log_ppl,
            mean.row,
            color=look.color,
            marker=look.marker,
            markersize=5,
            markeredgecolor="white",
        )


def published_v_ours(points: pd.DataFrame, text: str) -> Figure:
    """Published runs beside ours, a panel per length; columns row, label (of the row), length, side, ppl, rerun_std (or NaN)."""
    labels = points.drop_duplicates("row").set_index("row")["label"].sort_index()
    panels = points["length"].nunique()
    figure, grid = _panels(panels, labels.index[-1] + 1, sharex=False)
    for axes, (length, at_length) in zip(grid, points.groupby("length"), strict=False):
        theirs, ours = (at_length[at_length["side"] == side] for side in ("published", "ours"))
        if (spread := theirs["rerun_std"]).notna().any():
            low, high = theirs["ppl"] - spread, theirs["ppl"] + spread
            axes.hlines(
                theirs["row"], low, high, color="#D2D2D2", linewidth=10, label="± rerun spread"
            )
        axes.plot(ours["ppl"], ours["row"], "D", color=COLOURS[1], markersize=3.4, label="ours")
        axes.plot(
            theirs["ppl"],
            theirs["row"],
            "|",
            color="black",
            markersize=10,
            markeredgewidth=1.1,
            label="published",
        )
        axes.set_title(f"length {length}", fontsize=8.5, fontweight="normal", pad=4)
        axes.tick_params(axis="x", labelsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(3))
    grid[0].set_yticks(labels.index, labels)
    below = (1.0, -14 / 72 / figure.get_figheight())
    figure.legend(
        *grid[0].get_legend_handles_labels(),
        loc="upper right",
        bbox_to_anchor=below,
        ncols=3,
        frameon=False,
    )
    _label_panels(
        figure, grid[(panels - 1) // 4 * 4], "Published and ours, seed by seed", "Perplexity", text
    )
    return figure


def pairs_text(deltas: pd.DataFrame, margin: float) -> str:
    """What dots, intervals and band of the forest plot are, and over how many pairs of seeds."""
    counts = deltas.groupby(["spectrum", "length"])["seed"].nunique()
    interval = f"Mark and bar: mean and 95 % t interval over n = {between(counts)} paired seeds; dots: single seeds."
    one = "One seed (n = 1): dots only, no interval is possible."
    return f"{one if counts.max() == 1 else interval} Grey band: equivalence margin, ± {100 * margin:g} % perplexity."


def _panels(panels: int, rows: float, sharex: bool = True) -> tuple[Figure, Sequence[Axes]]:
    """A grid, four panels wide, with common rows and room for `rows` of them in each; the places left over stay empty."""
    columns, lines = min(panels, 4), -(-panels // 4)
    height, (wide, high) = 0.15 + 0.21 * rows, (0.08, 0.35) if sharex else (0.14, 0.55)
    figure = Figure(figsize=(WIDTH + 0.6, lines * height + (lines - 1) * high))
    grid = figure.subplots(
        lines, columns, sharex=sharex, sharey=True, squeeze=False,
        gridspec_kw={"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": wide, "hspace": high / height},
    ).flatten()  # fmt: skip
    grid[0].set_ylim(rows - 0.4, -0.6)
    grid[0].xaxis.set_major_locator(MaxNLocator(8 // columns + 2, steps=[1, 2, 2.5, 5, 10]))
    for axes in grid:
        axes.tick_params(axis="y", length=0)
    for axes in grid[panels:]:
        axes.set_visible(False)
    return figure, grid


def _label_panels(figure: Figure, bottom_left: Axes, title: str, x: str, text: str) -> None:
    """Title above the grid; what x is, and the caption, below it."""
    above = 0.15 + 0.15 * len(figure.axes[0].get_title("left").splitlines())
    figure.suptitle(
        title,
        x=0.0,
        y=1.0 + above / figure.get_figheight(),
        ha="left",
        va="bottom",
        fontsize=10.5,
        fontweight="bold",
    )
    bottom_left.annotate(
        x, (0, 0), (0, -22), xycoords="axes fraction", textcoords="offset points", va="top"
    )
    caption(bottom_left, text)
