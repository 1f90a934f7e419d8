"""The figures of the pages, for any runs and spectra: `rs.plot.spectra(one, other)`.

Each function returns a picture, which a notebook shows.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from rope_spectra.analysis.runs import degraded
from rope_spectra.api.runs import Run
from rope_spectra.api.spectrum import Spectrum
from rope_spectra.config.design import NATIVE
from rope_spectra.report import plots, style
from rope_spectra.runtime.errors import UserError

_DOTS_PER_INCH = 110


@dataclass(frozen=True)
class Picture:
    """A figure of matplotlib, shown and saved in the style of the pages."""

    figure: Figure

    def save(self, path: str | Path) -> None:
        """Write it as SVG, PDF or PNG, by the suffix of the path."""
        with style.applied():
            style.save(self.figure, Path(path))

    def _repr_png_(self) -> bytes:
        """The picture that a notebook shows."""
        content = io.BytesIO()
        with style.applied():
            self.figure.savefig(
                content, format="png", dpi=_DOTS_PER_INCH, bbox_inches="tight", pad_inches=0.12
            )
        return content.getvalue()


def spectra(*shown: Spectrum | Run, longest: int | None = None) -> Picture:
    """Wavelength of each rotary pair. `longest` is a second length to mark besides the training's.

    The default is eight times the training length.
    """
    chosen = [each.spectrum if isinstance(each, Run) else each for each in _some(shown)]
    omegas = {spectrum.name: spectrum.inv_freq for spectrum in chosen}
    train_length = max(spectrum.train_length for spectrum in chosen)
    styles = style.line_styles(list(omegas))
    with style.applied():
        return Picture(plots.spectra(omegas, train_length, longest or 8 * train_length, styles))


def training_loss(*runs: Run) -> Picture:
    """Training loss by step; runs that differ in the seed alone are one curve, as in all below."""
    table = _table(runs, [run.train_log for run in _some(runs)])
    with style.applied():
        return Picture(plots.training_loss(table, _styles(table)))


def ppl_by_length(*runs: Run, protocol: str = "full") -> Picture:
    """Perplexity by evaluation length, without a remap."""
    table = _native(_table(runs, [run.scores for run in _some(runs)]))
    table = _measured(table[table["protocol"] == protocol], f"protocol {protocol}")
    with style.applied():
        return Picture(plots.ppl_by_length(table, protocol, _train_length(runs), _styles(table)))


def degradation_by_length(*runs: Run) -> Picture:
    """Growth of log perplexity from the training length on (protocol `full`), without a remap."""
    length = _train_length(runs)
    table = _native(_table(runs, [degraded(run.scores, run.arrays, length) for run in runs]))
    with style.applied():
        return Picture(plots.degradation_by_length(table, length, _styles(table)))


def nll_by_position(*runs: Run, length: int | None = None) -> Picture:
    """Loss by tokens of context at one length (default: the longest of all), without a remap."""
    blocks = _native(_table(runs, [run.nll for run in _some(runs)]))
    _measured(blocks, "protocol full")
    chosen = int(blocks["length"].max()) if length is None else length
    blocks = _measured(blocks[blocks["length"] == chosen], f"length {chosen}")
    # Every block has as many tokens in a bin as any other.
    table = blocks.groupby(["spectrum", "seed", "first", "end"], as_index=False)["nll"].mean()
    table = table.assign(context=(table["first"] + table["end"] + 1) / 2)
    with style.applied():
        figure = plots.nll_by_position(table, _train_length(runs), chosen, _styles(blocks))
    return Picture(figure)


def _some(given: tuple) -> tuple:
    if not given:
        raise UserError("plot: nothing to draw; give at least one run")
    return given


def _table(runs: tuple[Run, ...], parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Tables of runs as one, with the columns spectrum (the name of the curve) and seed."""
    experiments = {run.settings.experiment for run in _some(runs)}
    tables = []
    for run, part in zip(runs, parts, strict=True):
        name = run.settings.spectrum.name
        if len(experiments) > 1:
            name = f"{run.settings.experiment}/{name}"
        tables.append(part.assign(spectrum=name, seed=run.seed))
    return pd.concat(tables, ignore_index=True)


def _native(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["remap"] == NATIVE]


def _measured(table: pd.DataFrame, what: str) -> pd.DataFrame:
    if table.empty:
        raise UserError(f"plot: none of these runs was evaluated with {what}; choose another")
    return table


def _train_length(runs: tuple[Run, ...]) -> int:
    return max(run.settings.training.seq_len for run in runs)


def _styles(table: pd.DataFrame) -> style.LineStyles:
    """Line styles of the spectra of a table."""
    names = list(table["spectrum"].unique())
    return style.line_styles(names)
