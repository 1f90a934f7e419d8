"""The drawing of each figure: tidy tables in, a matplotlib Figure out. No files, no statistics of its own but mean and std.

Tables have one row per curve point and seed, with the columns spectrum, seed and what a function names.
`styles` maps the spectra to their looks, in display order.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from rope_spectra import diagnostics
from rope_spectra.plot_style import (
    COLOURS,
    GREY,
    WIDTH,
    Look,
    canvas,
    caption,
    height_for,
    label_ends,
    length_ticks,
    mark_length,
    plain_log_ticks,
)

Styles = Mapping[str, Look]

PROTOCOLS = {
    "full": "Protocol full: the same text at every length.",
    "first_chunks": "Protocol first_chunks: the first chunks of each length, so each length scores other text.",
}


def ppl_by_length(ppl: pd.DataFrame, protocol: str, train_length: int, styles: Styles) -> Figure:
    """Perplexity by evaluation length; columns length and ppl, of one protocol."""
    figure, axes = canvas("Perplexity by evaluation length", height_for(ppl["spectrum"].nunique()), marked=True)
    axes.set_yscale("log")
    # Perplexity is at least 1: on the log axis a band may not reach below.
    ends = curves(axes, ppl, "length", "ppl", styles, floor=1.0)
    length_ticks(axes, sorted(ppl["length"].unique()))
    plain_log_ticks(axes.yaxis, *axes.get_ylim())
    mark_length(axes, train_length, f"training length {train_length}")
    axes.set(xlabel="Evaluation length (tokens)", ylabel="Perplexity")
    label_ends(axes, ends, styles)
    caption(axes, f"{seeds_text(ppl)} {PROTOCOLS[protocol]}")
    return figure


def retrieval(accuracy: pd.DataFrame, chance: float, train_length: int, styles: Styles) -> Figure:
    """Accuracy of the retrieval probe by length, with the level of chance; columns length and accuracy."""
    figure, axes = canvas("Retrieval by length", height_for(accuracy["spectrum"].nunique()), marked=True)
    axes.set_ylim(0.0, 1.03)
    ends = curves(axes, accuracy, "length", "accuracy", styles, floor=0.0)
    length_ticks(axes, sorted(accuracy["length"].unique()))
    mark_length(axes, train_length, f"training length {train_length}")
    axes.axhline(chance, color=GREY, linestyle=(0, (1, 2)), linewidth=1.0, zorder=1)
    axes.annotate(
        "chance", (0.25, chance), (0, -3), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
        va="top", color=GREY, fontsize=8,
    )  # fmt: skip
    axes.set(xlabel="Length (tokens)", ylabel="Accuracy")
    label_ends(axes, ends, styles)
    choices = round(1 / chance)
    caption(axes, f"{seeds_text(accuracy)} A trial is right if the true one of {choices} words is the likeliest.")
    return figure


def nll_by_position(nll: pd.DataFrame | None, train_length: int, longest: int, styles: Styles) -> Figure:
    """Loss by tokens of context (mean of a position bin) at the longest length; columns context and nll, nats per token.

    None, where protocol full was not run, gives a figure that says so.
    """
    title = f"Loss by position at length {longest}"
    if nll is None:
        return placeholder("protocol full was not run", title)
    figure, axes = canvas(title, height_for(nll["spectrum"].nunique()), marked=True)
    ends = curves(axes, nll, "context", "nll", styles)
    powers = range(longest.bit_length())
    length_ticks(axes, [2**power for power in powers[:: -1 if len(powers) < 12 else -2]])
    mark_length(axes, train_length, f"training length {train_length}")
    axes.set(xlabel="Tokens of context", ylabel="Loss (nats per token)")
    label_ends(axes, ends, styles)
    caption(axes, f"{seeds_text(nll)} Protocol full; a point is the mean over a bin of positions (powers of two).")
    return figure


def training_loss(losses: pd.DataFrame, styles: Styles) -> Figure:
    """Training loss of the logged steps; columns step and loss, nats per token."""
    figure, axes = canvas("Training loss by step", height_for(losses["spectrum"].nunique()))
    axes.set_yscale("log")
    ends = curves(axes, losses, "step", "loss", styles, markers=False)
    plain_log_ticks(axes.yaxis, *axes.get_ylim())
    axes.set(xlabel="Training step", ylabel="Training loss (nats per token)")
    label_ends(axes, ends, styles)
    caption(axes, seeds_text(losses))
    return figure


def spectra(omegas: Mapping[str, NDArray[np.floating]], train_length: int, longest: int, styles: Styles) -> Figure:
    """Wavelength 2 pi / omega by pair; omegas maps a spectrum to its frequencies [K], radians per token."""
    figure, axes = canvas("Wavelength of each rotary pair", height_for(len(omegas)))
    axes.set_yscale("log")
    ends = {}
    for name, omega in omegas.items():
        wavelength = diagnostics.wavelengths(omega)
        look, pairs = styles[name], np.flatnonzero(np.isfinite(wavelength))
        axes.plot(pairs, wavelength[pairs], **look.line, marker=look.marker, markersize=2.5, linewidth=1.2)
        ends |= {name: (pairs[-1], wavelength[pairs[-1]])} if len(pairs) else {}
    for length, text in ((train_length, "training length"), (longest, "longest evaluation length")):
        axes.axhline(length, color=GREY, linestyle=(0, (4, 3)), linewidth=1.0, zorder=1)
        axes.annotate(f"{text} {length}", (0, length), (0, 2), textcoords="offset points", va="bottom", color=GREY, fontsize=8)
    plain_log_ticks(axes.yaxis, *axes.get_ylim())
    axes.set(xlabel="Rotary pair k", ylabel="Wavelength 2π/ω (tokens)")
    label_ends(axes, ends, styles)
    still = "" if all((omega > 0).all() for omega in omegas.values()) else " Pairs that do not rotate are not drawn."
    caption(axes, f"A pair above the dashed line of a length never completes a turn within it.{still}")
    return figure


def paired_deltas(deltas: pd.DataFrame, summary: pd.DataFrame, baseline: str, margin: float, styles: Styles) -> Figure:
    """Forest plot of delta log PPL against the baseline on the same seeds.

    deltas: columns baseline, length, delta, a row per spectrum and seed. summary: columns spectrum, length, delta_log_ppl and its
    delta_log_ppl_ci95_low / _high. One panel per spectrum, its rows the lengths; where there are more spectra than lengths,
    one panel per length, its rows the spectra from best to worst at the longest. Where baselines differ, each is named beside
    its spectrum. No deltas give a figure that says so.
    """
    against = dict(zip(deltas["spectrum"], deltas["baseline"], strict=True))
    common = "its baseline" if len(set(against.values())) > 1 else next(iter(against.values()), baseline)
    title = f"Log perplexity against {common} on the same seeds"
    if not against:
        return placeholder(f"no spectrum shares a seed with the baseline {baseline}", title)
    texts = {name: name if other == common else f"{name} v {other}" for name, other in against.items()}
    names, lengths = [name for name in styles if name in set(deltas["spectrum"])], sorted(deltas["length"].unique())
    if by_spectrum := len(names) <= len(lengths):
        panel_key, panels, row_key, rows = "spectrum", names, "length", lengths
    else:
        ranked = deltas[deltas["length"] == lengths[-1]].groupby("spectrum")["delta"].mean().sort_values()
        panel_key, panels, row_key, rows = "length", lengths, "spectrum", list(ranked.index)
    figure, grid = _panels(len(panels), len(rows))
    tables = (deltas, summary.dropna(subset="delta_log_ppl_ci95_low"))
    dots, means = (table.assign(row=table[row_key].map(rows.index)) for table in tables)
    for axes, panel in zip(grid, panels, strict=False):
        forest(axes, dots[dots[panel_key] == panel], means[means[panel_key] == panel], margin, styles)
        text = texts[panel].replace(" v ", "\nv ") if by_spectrum else f"length {panel}"
        axes.set_title(text, fontsize=8.5, fontweight="normal", pad=4)
    grid[0].set_yticks(range(len(rows)), rows if by_spectrum else [texts[name] for name in rows])
    grid[0].set_ylabel("Length (tokens)" if by_spectrum else "")
    x = f"Δ log perplexity against {common} (below 0: better; −0.1 is about 10 % lower perplexity)"
    _label_panels(figure, grid[(len(panels) - 1) // 4 * 4], title, x, pairs_text(deltas, margin))
    return figure


def forest(axes: Axes, dots: pd.DataFrame, means: pd.DataFrame, margin: float, styles: Styles) -> None:
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
        axes.plot(mean.delta_log_ppl, mean.row, color=look.color, marker=look.marker, markersize=5, markeredgecolor="white")


def published_v_ours(points: pd.DataFrame, text: str) -> Figure:
    """Published runs beside ours, a panel per length; columns row, label (of the row), length, side, ppl, rerun_std (or NaN)."""
    labels = points.drop_duplicates("row").set_index("row")["label"].sort_index()
    panels = points["length"].nunique()
    figure, grid = _panels(panels, labels.index[-1] + 1, sharex=False)
    for axes, (length, at_length) in zip(grid, points.groupby("length"), strict=False):
        theirs, ours = (at_length[at_length["side"] == side] for side in ("published", "ours"))
        if (spread := theirs["rerun_std"]).notna().any():
            low, high = theirs["ppl"] - spread, theirs["ppl"] + spread
            axes.hlines(theirs["row"], low, high, color="#D2D2D2", linewidth=10, label="± rerun spread")
        axes.plot(ours["ppl"], ours["row"], "D", color=COLOURS[1], markersize=3.4, label="ours")
        axes.plot(theirs["ppl"], theirs["row"], "|", color="black", markersize=10, markeredgewidth=1.1, label="published")
        axes.set_title(f"length {length}", fontsize=8.5, fontweight="normal", pad=4)
        axes.tick_params(axis="x", labelsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(3))
    grid[0].set_yticks(labels.index, labels)
    below = (1.0, -14 / 72 / figure.get_figheight())
    figure.legend(*grid[0].get_legend_handles_labels(), loc="upper right", bbox_to_anchor=below, ncols=3, frameon=False)
    _label_panels(figure, grid[(panels - 1) // 4 * 4], "Published and ours, seed by seed", "Perplexity", text)
    return figure


def placeholder(text: str, title: str) -> Figure:
    """A figure that says why there is nothing to see."""
    figure, axes = canvas(title, 1.6)
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#444444")
    return figure


def curves(
    axes: Axes, table: pd.DataFrame, x: str, y: str, styles: Styles, floor: float = -np.inf, markers: bool = True
) -> dict[str, tuple[float, float]]:
    """For each spectrum the mean over seeds, with +- std and the single seeds where there are several; returns the last points.

    Only x that every seed of a spectrum has are drawn: a mean over a changing set of seeds would jump.
    """
    ends = {}
    for name in (name for name in styles if name in set(table["spectrum"])):
        look = styles[name]
        by_seed = table[table["spectrum"] == name].pivot(index=x, columns="seed", values=y).dropna()
        mean, std = by_seed.mean(axis=1), by_seed.std(axis=1)
        if by_seed.shape[1] > 1:
            axes.fill_between(by_seed.index, np.maximum(mean - std, floor), mean + std, color=look.color, alpha=0.15, linewidth=0)
            axes.plot(by_seed, color=look.color, linewidth=0.5, alpha=0.5)
        axes.plot(mean, **look.line, **({"marker": look.marker} if markers else {"linewidth": 1.0}))
        ends[name] = (mean.index[-1], mean.iloc[-1])
    return ends


def seeds_text(table: pd.DataFrame) -> str:
    """What line and band are, and over how many seeds."""
    low, high = _range(table.groupby("spectrum")["seed"].nunique())
    if high == 1:
        return "One seed per spectrum (n = 1): no band."
    return f"Line: mean over seeds (n = {_between(low, high)}); band: ± 1 standard deviation; thin lines: single seeds."


def pairs_text(deltas: pd.DataFrame, margin: float) -> str:
    """What dots, intervals and band of the forest plot are, and over how many pairs of seeds."""
    low, high = _range(deltas.groupby(["spectrum", "length"])["seed"].nunique())
    interval = f"Mark and bar: mean and 95 % t interval over n = {_between(low, high)} paired seeds; dots: single seeds."
    one = "One seed (n = 1): dots only, no interval is possible."
    return f"{one if high == 1 else interval} Grey band: equivalence margin, ± {100 * margin:g} % perplexity."


def _range(counts: pd.Series) -> tuple[int, int]:
    return int(counts.min()), int(counts.max())


def _between(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


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
        title, x=0.0, y=1.0 + above / figure.get_figheight(), ha="left", va="bottom", fontsize=10.5, fontweight="bold"
    )
    bottom_left.annotate(x, (0, 0), (0, -22), xycoords="axes fraction", textcoords="offset points", va="top")
    caption(bottom_left, text)
