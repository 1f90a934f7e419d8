"""The figures of a search: its course, the best spectra, the response along each coordinate."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, PercentFormatter
from numpy.typing import NDArray

from rope_spectra.analysis.statistics import exponential
from rope_spectra.config.candidates import SearchStep
from rope_spectra.config.design import Design
from rope_spectra.report import style
from rope_spectra.rope.frequencies import wavelengths

_DROPPED = style.GREY
_KEPT, _BEST = style.SERIES_COLORS
# Of the response: panels next to each other, their size and the gaps between them in inches.
_COLUMNS = 3
_PANEL = (2.0, 1.9)
_GAPS = (0.15, 0.5)
_COURSE_HEIGHT = 3.0
# Of the allowed values, those above so many times the middle half of them are drawn at the edge.
_FAR = 3.0


def draw(
    step: SearchStep, design: Design, table: pd.DataFrame, found: pd.DataFrame
) -> dict[str, Figure]:
    """The figures of layout.SEARCH_FIGURES, from course.csv and found.csv.

    step and design are of the confirmation.
    """
    omegas = {spectrum.name: spectrum.inv_freq(design.head_dim) for spectrum in design.spectra}
    names = list(dict.fromkeys(found["spectrum"]))
    winner = table[_is_winner(table)].iloc[0]
    knots = [winner[f"wavelength{knot}"] for knot in range(step.space.knots)]
    metrics, baseline = step.objective.metrics, step.earlier[0].design.baseline
    named = {name: omega for name, omega in omegas.items() if name not in names}
    return {
        "course": course(table, metrics, baseline),
        "best_spectra": best(
            {name: omegas[name] for name in names}, named, knots, step.train_length
        ),
        "response": response(table, metrics[0], baseline),
    }


def course(table: pd.DataFrame, metrics: Sequence[str], baseline: str) -> Figure:
    """Every candidate of course.csv in the order of the rounds, and the best so far."""
    figure = Figure(figsize=(1.25 * style.WIDTH, _COURSE_HEIGHT * len(metrics)))
    borders = {"left": 0, "right": 1, "bottom": 0, "top": 1, "hspace": 0.12}
    subplots = figure.subplots(len(metrics), 1, sharex=True, squeeze=False, gridspec_kw=borders)
    grid = list(subplots.flat)
    for axes, metric, suffix in zip(grid, metrics, ("", "2"), strict=False):
        shown = drawn(table, metric, suffix)
        _candidates(axes, shown)
        _value_axis(axes, metric, shown)
        axes.set_ylabel(_label(metric, baseline))
        axes.axhline(_neutral(metric), **style.REFERENCE_LINE)
    first, last = grid[0], grid[-1]
    _best_so_far(first, table, metrics[0])
    _rounds(grid, table)
    first.set_title("Course of the search", pad=34)
    last.set_xticks(range(len(table)), table["proposal"].astype(str), fontsize=6.5)
    last.set_xlim(-0.8, len(table) - 0.2)
    last.set_xlabel("Proposal")
    style.caption(last, _course_text(table, metrics))
    return figure


def drawn(table: pd.DataFrame, metric: str, suffix: str = "") -> pd.DataFrame:
    """The candidates as they are drawn: columns x, y, low, high, far, kind.

    A degradation is drawn as a ratio. A value far above the others is drawn at the edge, `far`.
    """
    noise = table[f"noise{suffix}"]
    value = table[f"value{suffix}"]
    steps = {"y": value, "low": value - noise, "high": value + noise}
    scaled = {name: _scaled(metric, each.to_numpy(float)) for name, each in steps.items()}
    edge = _scaled(metric, np.array([_edge(table, value)]))[0]
    far = ~(scaled["y"] <= edge)
    kind = np.where(table["goes_on"] | _is_winner(table), "kept", "dropped")
    kind = np.where(table["is_allowed"], kind, "beyond")
    shown = pd.DataFrame({"x": np.arange(len(table)), **scaled, "far": far, "kind": kind})
    return shown.assign(y=np.where(far, edge, shown["y"]))


def _edge(table: pd.DataFrame, value: pd.Series) -> float:
    finite = value[np.isfinite(value)]
    allowed = finite[table["is_allowed"]]
    shown = allowed if len(allowed) else finite
    if shown.empty:
        return 0.0
    low, high = shown.quantile([0.25, 0.75])
    return float(min(shown.max(), high + _FAR * (high - low)))


def _is_winner(table: pd.DataFrame) -> pd.Series:
    return (table["round"] == table["round"].max()) & (table["rank"] == 1)


def _candidates(axes: Axes, shown: pd.DataFrame) -> None:
    """A mark for each candidate, with its noise."""
    marks: dict[str, style.Options] = {
        "kept": {"color": _KEPT, "marker": "o"},
        "dropped": {"color": _DROPPED, "marker": "o", "markerfacecolor": "white"},
        "beyond": {"color": _DROPPED, "marker": "x"},
    }
    for kind, mark in marks.items():
        rows = shown[shown["kind"] == kind]
        near, far = rows[~rows["far"]], rows[rows["far"]]
        if np.isfinite(near["low"]).any():
            axes.vlines(near["x"], near["low"], near["high"], color=mark["color"], linewidth=0.8)
        axes.plot(near["x"], near["y"], linestyle="", **mark)
        up: style.Options = {"clip_on": False, "zorder": 4, "linestyle": ""}
        axes.plot(far["x"], far["y"], **up | mark | {"marker": "^"})


def _best_so_far(axes: Axes, table: pd.DataFrame, metric: str) -> None:
    """A stair through the rounds that compare; a break where they do not."""
    x = np.arange(len(table))
    for _, rows in table.groupby(_regime(table)):
        best = _scaled(metric, rows["best_so_far"].to_numpy(float))
        axes.step(x[rows.index], best, where="post", color=_BEST, linewidth=1.3, zorder=1.5)


def _regime(table: pd.DataFrame) -> pd.Series:
    """A number that changes where tokens or seeds do."""
    keys = table[["tokens", "n_seeds"]]
    return (keys != keys.shift()).any(axis=1).cumsum()


def _rounds(grid: Sequence[Axes], table: pd.DataFrame) -> None:
    """Lines between the rounds, and what each of them was."""
    for number, rows in table.groupby("round"):
        if number:
            for axes in grid:
                axes.axvline(rows.index[0] - 0.5, color=style.GREY, linewidth=0.6)
        count = rows["n_seeds"].iloc[0]
        seeds = "1 seed" if count == 1 else f"{count} seeds"
        text = f"round {number}\n{_short(rows['tokens'].iloc[0])} tokens\n{seeds}"
        top = grid[0].get_xaxis_transform()
        place: style.Options = {"xycoords": top, "ha": "center", "fontsize": 7.5}
        style.note(grid[0], text, (rows.index.to_series().mean(), 1.0), 3, **place)


def _short(tokens: int) -> str:
    """A number of tokens in three digits: 75k, 1.5M."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if tokens >= size:
            return f"{tokens / size:.3g}{unit}"
    return str(tokens)


def best(
    found: Mapping[str, NDArray[np.floating]],
    named: Mapping[str, NDArray[np.floating]],
    knots: Sequence[float],
    train_length: int,
) -> Figure:
    """Wavelengths of the best spectra over those of declared ones.

    found and named: frequencies [pairs] by name, radians per token, the best first. knots: the
    wavelengths of the best at its knots, in tokens.
    """
    names = [*found, *named]
    figure, axes = style.canvas("The best spectra over declared ones", style.height_for(len(names)))
    axes.set_yscale("log")
    styles = style.line_styles(names)
    ends = {}
    for name, omega in {**named, **found}.items():
        wavelength = wavelengths(omega)
        pairs = np.flatnonzero(np.isfinite(wavelength))
        width = 2.2 if name == names[0] else 1.2
        axes.plot(pairs, wavelength[pairs], **styles[name].line, linewidth=width)
        if len(pairs):
            ends[name] = (float(pairs[-1]), float(wavelength[pairs[-1]]))
    rotating = np.count_nonzero(found[names[0]])
    if rotating > 1:
        places = np.linspace(0, rotating - 1, len(knots))
        axes.plot(
            places, knots, linestyle="", marker="o", markersize=5, color=styles[names[0]].color
        )
    axes.axhline(train_length, **style.REFERENCE_LINE)
    style.note(axes, f"training length {train_length}", (0, train_length), 2)
    style.plain_log_ticks(axes.yaxis, *axes.get_ylim())
    axes.set(xlabel="Rotary pair k", ylabel="Wavelength 2π/ω (tokens)")
    style.label_ends(axes, ends, styles)
    text = f"Dots: the knots of {style.shown(names[0])}. Pairs that do not rotate are not drawn: "
    text += "there a line leads to the name."
    style.caption(axes, text)
    return figure


def response(table: pd.DataFrame, metric: str, baseline: str) -> Figure:
    """The value of every proposal, when it was new, over each coordinate of the space."""
    new = table[table["is_new"]].reset_index(drop=True)
    shown = drawn(new, metric).assign(round=new["round"], proposal=new["proposal"])
    shown["kind"] = np.where(new["is_allowed"], "dropped", "beyond")
    names = [name for name in table.columns if name.startswith("wavelength")]
    if new["stilled"].nunique() > 1:
        names.append("stilled")
    figure, grid = style.panels(len(names), _COLUMNS, _PANEL, _GAPS, sharex=False)
    winner = table.loc[_is_winner(table), "proposal"].iloc[0]
    for axes, name in zip(grid, names, strict=False):
        _responses(axes, shown.assign(at=new[name]), winner)
        _coordinate_axis(axes, name)
    _value_axis(grid[0], metric, shown)
    for axes in grid[::_COLUMNS]:
        axes.set_ylabel(_label(metric, baseline), fontsize=8)
    style.heading(figure, "Response along each knot", 0.12)
    text = (
        "A point: a proposal in the round that proposed it; the darker, the later. Cross: beyond"
        " the limit. Ringed: the one that won. All knots change at once, so a trend here is not"
        " the effect of one knot alone."
    )
    style.caption(style.bottom_left(grid, _COLUMNS), text)
    return figure


def _responses(axes: Axes, shown: pd.DataFrame, winner: int) -> None:
    last = max(int(shown["round"].max()), 1)
    for kind, marker in (("dropped", "o"), ("beyond", "x")):
        rows = shown[shown["kind"] == kind]
        if rows.empty:
            continue  # matplotlib refuses no opacities
        opacity = (0.35 + 0.65 * rows["round"] / last).to_numpy()
        mark: style.Options = {"s": 16, "marker": marker, "color": _KEPT}
        axes.scatter(rows["at"], rows["y"], alpha=opacity, **mark)
    won = shown[shown["proposal"] == winner]
    axes.plot(won["at"], won["y"], "o", markersize=9, markerfacecolor="none", color=_BEST)


def _coordinate_axis(axes: Axes, name: str) -> None:
    if name == "stilled":
        axes.set_xlabel("Share of stilled pairs", fontsize=8)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        return
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    style.plain_log_ticks(axes.xaxis, low, high)
    if high > 8 * low:
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))  # a panel has room for few
    axes.set_xlabel(f"Wavelength at knot {name.removeprefix('wavelength')}", fontsize=8)


def _scaled(metric: str, values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Values as they are drawn: a degradation as a ratio, retrieval in points of accuracy lost."""
    return exponential(values) if metric == "degradation" else 100 * values


def _neutral(metric: str) -> float:
    """The value of the baseline itself."""
    return 1.0 if metric == "degradation" else 0.0


def _label(metric: str, baseline: str) -> str:
    if metric == "degradation":
        return f"Degradation over that of {style.shown(baseline)}"
    return f"Points of accuracy lost to {style.shown(baseline)}"


def _value_axis(axes: Axes, metric: str, shown: pd.DataFrame) -> None:
    """Limits that hold all marks and the baseline; a log axis with plain numbers for ratios."""
    values = [*shown["y"], *shown.loc[~shown["far"], ["low", "high"]].to_numpy().ravel()]
    finite = np.array([value for value in [*values, _neutral(metric)] if np.isfinite(value)])
    if metric == "degradation":
        axes.set_yscale("log")
        low, high = finite.min(), finite.max()
        room = max((high / low) ** 0.06, 1.01)
        axes.set_ylim(low / room, high * room)
        style.plain_log_ticks(axes.yaxis, low / room, high * room)
        return
    axes.margins(y=0.06)


def _course_text(table: pd.DataFrame, metrics: Sequence[str]) -> str:
    text = (
        "Lower is better; dashed: the baseline. Filled: goes on, or won; open: does not; cross:"
        " beyond the limit; triangle: off the scale."
    )
    if table["noise"].notna().any():
        text += (
            " Bars: standard error over seeds, from the spread of those candidates that have two"
            " seeds or more."
        )
    else:
        text += " One seed in all rounds: the noise is not known."
    by = f" by {metrics[0]}" if len(metrics) > 1 else ""
    stair = f"Line: the best so far{by}; it breaks where tokens or seeds change, since such values"
    return f"{text} {stair} do not compare."
