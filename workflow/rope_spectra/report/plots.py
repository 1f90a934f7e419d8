"""The figures with one axes: tidy tables in, a matplotlib Figure out.

A table has a row per point of a curve and seed, with the columns `spectrum`, `seed` and those that
a function names. `styles` maps the spectra to their line styles, in display order. Nothing is read
from files, and no statistics are made but mean, standard deviation and interval over seeds.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from rope_spectra.analysis import statistics
from rope_spectra.report import style
from rope_spectra.report.style import LineStyles
from rope_spectra.rope.frequencies import wavelengths

PROTOCOLS = {
    "full": "Protocol full: the same text at every length.",
    "first_chunks": (
        "Protocol first_chunks: the first chunks of each length, so each length scores other text."
    ),
}


def ppl_by_length(
    ppl: pd.DataFrame, protocol: str, train_length: int, styles: LineStyles
) -> Figure:
    """Perplexity by evaluation length; columns length (tokens) and ppl, of one protocol."""
    height = style.height_for(ppl["spectrum"].nunique())
    figure, axes = style.canvas("Perplexity by evaluation length", height, marked=True)
    axes.set_yscale("log")
    # Perplexity is at least 1; a band of mean - std may not reach below that.
    ends = curves(axes, ppl, "length", "ppl", styles, floor=1.0)
    style.length_ticks(axes, sorted(ppl["length"].unique()))
    style.plain_log_ticks(axes.yaxis, *axes.get_ylim())
    style.mark_length(axes, train_length)
    axes.set(xlabel="Evaluation length (tokens)", ylabel="Perplexity")
    style.label_ends(axes, ends, styles)
    infinite = np.isinf(ppl["ppl"])
    diverged = ", ".join(map(style.shown, ppl["spectrum"][infinite].unique()))
    missing = f" Not drawn where a run has diverged: {diverged}." if diverged else ""
    style.caption(axes, f"{seeds_text(ppl)} {PROTOCOLS[protocol]}{missing}")
    return figure


def degradation_by_length(
    degradation: pd.DataFrame, train_length: int, styles: LineStyles
) -> Figure:
    """Growth of log PPL from the training length on, by evaluation length.

    Columns length (tokens) and degradation (nats per token), NaN where it was not measured. No
    value at all gives a figure that says so.
    """
    title = "Degradation by evaluation length"
    measured = degradation.dropna(subset="degradation")
    if measured.empty:
        why = f"protocol full was not run both at the training length {train_length} and beyond"
        return placeholder(why, title)
    # At the training length it is 0 by definition.
    start = measured.drop_duplicates(["spectrum", "seed"])
    measured = pd.concat([start.assign(length=train_length, degradation=0.0), measured])
    height = style.height_for(measured["spectrum"].nunique())
    figure, axes = style.canvas(title, height, marked=True)
    ends = curves(axes, measured, "length", "degradation", styles, half=_t95_half)
    style.length_ticks(axes, sorted(measured["length"].unique()))
    style.mark_length(axes, train_length)
    axes.set(xlabel="Evaluation length (tokens)", ylabel="log PPL − log PPL at training length")
    style.label_ends(axes, ends, styles)
    words = seeds_text(measured, "95 % t interval of the mean")
    style.caption(axes, f"{words} {PROTOCOLS['full']}")
    return figure


def _t95_half(by_seed: pd.DataFrame) -> pd.Series:
    """Half the width of the t interval of the mean of each row."""
    intervals = [statistics.mean_ci95(values) for values in by_seed.to_numpy()]
    return pd.Series([(high - low) / 2 for low, high in intervals], index=by_seed.index)


def retrieval(
    accuracy: pd.DataFrame, chance: float, train_length: int, styles: LineStyles
) -> Figure:
    """Accuracy of the retrieval probe by length, and a line at the level of chance.

    Columns length (tokens) and accuracy, 0..1.
    """
    height = style.height_for(accuracy["spectrum"].nunique())
    figure, axes = style.canvas("Retrieval by length", height, marked=True)
    axes.set_ylim(0.0, 1.03)
    ends = curves(axes, accuracy, "length", "accuracy", styles, floor=0.0)
    style.length_ticks(axes, sorted(accuracy["length"].unique()))
    style.mark_length(axes, train_length)
    # Dotted, to tell it from the dashed line of the training length.
    axes.axhline(chance, **style.REFERENCE_LINE | {"linestyle": (0, (1, 2))})
    style.note(axes, "chance", (0.25, chance), -3, xycoords=axes.get_yaxis_transform())
    axes.set(xlabel="Length (tokens)", ylabel="Accuracy")
    style.label_ends(axes, ends, styles)
    right = f"A trial is right if the true one of {round(1 / chance)} words is the likeliest."
    style.caption(axes, f"{seeds_text(accuracy)} {right}")
    return figure


def nll_by_position(
    nll: pd.DataFrame | None, train_length: int, longest: int, styles: LineStyles
) -> Figure:
    """Loss by tokens of context, at the longest length.

    Columns context (tokens, mean of a bin of positions) and nll (nats per token). None, where
    protocol full was not run, gives a figure that says so.
    """
    title = f"Loss by position at length {longest}"
    if nll is None:
        return placeholder("protocol full was not run", title)
    height = style.height_for(nll["spectrum"].nunique())
    figure, axes = style.canvas(title, height, marked=True)
    ends = curves(axes, nll, "context", "nll", styles)
    # Powers of two up to the longest length. Every second one, counted from the longest, where
    # all of them would be too many.
    powers = range(longest.bit_length())
    step = -1 if len(powers) < 12 else -2
    style.length_ticks(axes, [2**power for power in powers[::step]])
    style.mark_length(axes, train_length)
    axes.set(xlabel="Tokens of context", ylabel="Loss (nats per token)")
    style.label_ends(axes, ends, styles)
    bins = "Protocol full; a point is the mean over a bin of positions (powers of two)."
    style.caption(axes, f"{seeds_text(nll)} {bins}")
    return figure


def training_loss(losses: pd.DataFrame, styles: LineStyles) -> Figure:
    """Training loss of the logged steps; columns step and loss (nats per token)."""
    height = style.height_for(losses["spectrum"].nunique())
    figure, axes = style.canvas("Training loss by step", height)
    axes.set_yscale("log")
    ends = curves(axes, losses, "step", "loss", styles, markers=False)
    style.plain_log_ticks(axes.yaxis, *axes.get_ylim())
    axes.set(xlabel="Training step", ylabel="Training loss (nats per token)")
    style.label_ends(axes, ends, styles)
    style.caption(axes, seeds_text(losses))
    return figure


def spectra(
    omegas: Mapping[str, NDArray[np.floating]],
    train_length: int,
    longest: int,
    styles: LineStyles,
) -> Figure:
    """Wavelength 2 pi / omega of each rotary pair.

    omegas: the frequencies of each spectrum, [pairs], in radians per token.
    """
    figure, axes = style.canvas("Wavelength of each rotary pair", style.height_for(len(omegas)))
    axes.set_yscale("log")
    ends = {}
    for name, omega in omegas.items():
        wavelength = wavelengths(omega)
        # A pair with frequency 0 does not rotate: its wavelength is infinite.
        pairs = np.flatnonzero(np.isfinite(wavelength))
        line_style = styles[name]
        dots: style.Options = {
            "marker": line_style.marker,
            "markersize": 1.8 if style.in_column() else 2.5,
        }
        axes.plot(pairs, wavelength[pairs], **line_style.line, **dots, linewidth=1.2)
        if len(pairs):
            ends[name] = (pairs[-1], wavelength[pairs[-1]])
    words = (
        ("training", "longest") if style.in_column() else ("training length", "longest evaluation")
    )
    for length, text in zip((train_length, longest), words, strict=True):
        axes.axhline(length, **style.REFERENCE_LINE)
        style.note(axes, f"{text} {length}", (0, length), 2)
    style.plain_log_ticks(axes.yaxis, *axes.get_ylim())
    axes.set(xlabel="Rotary pair k", ylabel="Wavelength 2π/ω (tokens)")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    if ends:
        style.label_ends(axes, ends, styles)
    text = "A pair above the dashed line of a length never completes a turn within it."
    if any((omega == 0).any() for omega in omegas.values()):
        text += " Pairs that do not rotate are not drawn."
    if len(ends) < len(omegas):
        still = [styles[name].label for name in omegas if name not in ends]
        text += f" None rotates: {', '.join(still)}."
    style.caption(axes, text)
    return figure


def placeholder(text: str, title: str) -> Figure:
    """A figure that says why there is nothing to see."""
    figure, axes = style.canvas(title, 1.6)
    axes.set(xticks=[], yticks=[])
    centered: style.Options = {"ha": "center", "va": "center", "transform": axes.transAxes}
    axes.text(0.5, 0.5, text, color=style.DARK_GREY, **centered)
    return figure


def curves(
    axes: Axes,
    table: pd.DataFrame,
    x: str,
    y: str,
    styles: LineStyles,
    floor: float = -np.inf,
    markers: bool = True,
    half: Callable[[pd.DataFrame], pd.Series] = lambda by_seed: by_seed.std(axis=1),
) -> dict[str, tuple[float, float]]:
    """Draw the mean over seeds of each spectrum; return the last point (x, y) of each curve.

    Where there are several seeds, a band shows mean ± `half` of the values [x, seeds] (not below
    `floor`) and thin lines the single seeds. Only those x are drawn that all seeds of a spectrum
    have as a finite value, because a mean over a changing set of seeds would jump.
    """
    ends = {}
    for name, line_style in styles.items():
        rows = table[table["spectrum"] == name]
        if rows.empty:
            continue
        by_seed = rows.pivot(index=x, columns="seed", values=y)
        by_seed = by_seed[np.isfinite(by_seed).all(axis=1)]
        if by_seed.empty:
            continue
        mean = by_seed.mean(axis=1)
        if by_seed.shape[1] > 1:
            width = half(by_seed)
            low = np.maximum(mean - width, floor)
            axes.fill_between(
                by_seed.index, low, mean + width, color=line_style.color, alpha=0.15, linewidth=0
            )
            axes.plot(by_seed, color=line_style.color, linewidth=0.5, alpha=0.5)
        if markers:
            axes.plot(mean, **line_style.line, marker=line_style.marker)
        else:
            axes.plot(mean, **line_style.line, linewidth=1.0)
        ends[name] = (mean.index[-1], mean.iloc[-1])
    return ends


def seeds_text(table: pd.DataFrame, band: str = "± 1 standard deviation") -> str:
    """The meaning of line and band, and the number of seeds behind them."""
    counts = table.groupby("spectrum")["seed"].nunique()
    if counts.max() == 1:
        return "One seed per spectrum (n = 1): no band."
    return f"Line: mean over seeds (n = {between(counts)}); band: {band}; thin lines: single seeds."


def between(counts: pd.Series) -> str:
    """The counts in words: 3, or 2 to 3 where they differ."""
    low = int(counts.min())
    high = int(counts.max())
    return str(low) if low == high else f"{low} to {high}"
