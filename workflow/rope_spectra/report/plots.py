"""The drawing of each figure: tidy tables in, a matplotlib Figure out. No files, no statistics of its own but mean and std.

Tables have one row per curve point and seed, with the columns spectrum, seed and what a function names.
`styles` maps the spectra to their looks, in display order.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rope_spectra.report.style import (
    GREY,
    Look,
    canvas,
    caption,
    height_for,
    label_ends,
    length_ticks,
    mark_length,
    plain_log_ticks,
)
from rope_spectra.rope import diagnostics

Styles = Mapping[str, Look]

PROTOCOLS = {
    "full": "Protocol full: the same text at every length.",
    "first_chunks": "Protocol first_chunks: the first chunks of each length, so each length scores other text.",
}


def ppl_by_length(ppl: pd.DataFrame, protocol: str, train_length: int, styles: Styles) -> Figure:
    """Perplexity by evaluation length; columns length and ppl, of one protocol."""
    figure, axes = canvas(
        "Perplexity by evaluation length", height_for(ppl["spectrum"].nunique()), marked=True
    )
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
    figure, axes = canvas(
        "Retrieval by length", height_for(accuracy["spectrum"].nunique()), marked=True
    )
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
    caption(
        axes,
        f"{seeds_text(accuracy)} A trial is right if the true one of {choices} words is the likeliest.",
    )
    return figure


def nll_by_position(
    nll: pd.DataFrame | None, train_length: int, longest: int, styles: Styles
) -> Figure:
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
    caption(
        axes,
        f"{seeds_text(nll)} Protocol full; a point is the mean over a bin of positions (powers of two).",
    )
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


def spectra(
    omegas: Mapping[str, NDArray[np.floating]], train_length: int, longest: int, styles: Styles
) -> Figure:
    """Wavelength 2 pi / omega by pair; omegas maps a spectrum to its frequencies [K], radians per token."""
    figure, axes = canvas("Wavelength of each rotary pair", height_for(len(omegas)))
    axes.set_yscale("log")
    ends = {}
    for name, omega in omegas.items():
        wavelength = diagnostics.wavelengths(omega)
        look, pairs = styles[name], np.flatnonzero(np.isfinite(wavelength))
        axes.plot(
            pairs, wavelength[pairs], **look.line, marker=look.marker, markersize=2.5, linewidth=1.2
        )
        ends |= {name: (pairs[-1], wavelength[pairs[-1]])} if len(pairs) else {}
    for length, text in ((train_length, "training length"), (longest, "longest evaluation length")):
        axes.axhline(length, color=GREY, linestyle=(0, (4, 3)), linewidth=1.0, zorder=1)
        axes.annotate(
            f"{text} {length}",
            (0, length),
            (0, 2),
            textcoords="offset points",
            va="bottom",
            color=GREY,
            fontsize=8,
        )
    plain_log_ticks(axes.yaxis, *axes.get_ylim())
    axes.set(xlabel="Rotary pair k", ylabel="Wavelength 2π/ω (tokens)")
    label_ends(axes, ends, styles)
    still = (
        ""
        if all((omega > 0).all() for omega in omegas.values())
        else " Pairs that do not rotate are not drawn."
    )
    caption(
        axes, f"A pair above the dashed line of a length never completes a turn within it.{still}"
    )
    return figure


def placeholder(text: str, title: str) -> Figure:
    """A figure that says why there is nothing to see."""
    figure, axes = canvas(title, 1.6)
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#444444")
    return figure


def curves(
    axes: Axes,
    table: pd.DataFrame,
    x: str,
    y: str,
    styles: Styles,
    floor: float = -np.inf,
    markers: bool = True,
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
            axes.fill_between(
                by_seed.index,
                np.maximum(mean - std, floor),
                mean + std,
                color=look.color,
                alpha=0.15,
                linewidth=0,
            )
            axes.plot(by_seed, color=look.color, linewidth=0.5, alpha=0.5)
        axes.plot(mean, **look.line, **({"marker": look.marker} if markers else {"linewidth": 1.0}))
        ends[name] = (mean.index[-1], mean.iloc[-1])
    return ends


def seeds_text(table: pd.DataFrame) -> str:
    """What line and band are, and over how many seeds."""
    counts = table.groupby("spectrum")["seed"].nunique()
    if counts.max() == 1:
        return "One seed per spectrum (n = 1): no band."
    return f"Line: mean over seeds (n = {between(counts)}); band: ± 1 standard deviation; thin lines: single seeds."


def between(counts: pd.Series) -> str:
    """3, or 2 to 3 where they differ."""
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"
