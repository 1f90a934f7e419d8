"""Theory beside measurement: the rank correlation of each diagnostic of a spectrum with a measure.

A diagnostic is a number that follows from the frequencies alone (rope/diagnostics.py). The
coefficient is Spearman's, over the spectra of an experiment, within each seed; its mean over the
seeds has a t interval. Of the intervals that were simulated it is the one that holds: those of the
correlation with the means over the seeds, by bootstrap or jackknife, miss it in most studies,
because a rank changes in steps (docs/statistics.md, section 9). Pure.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from rope_spectra.analysis import statistics
from rope_spectra.analysis.measured import Correct, by_seed, endpoints_of
from rope_spectra.analysis.summary_table import interval_columns
from rope_spectra.config.design import Design
from rope_spectra.rope.families import NamedSpectrum
from rope_spectra.rope.family import Family

# The columns of spectra.csv that are no diagnostics.
_NAMES = ("spectrum", "family", "train_length", "longest")

COLUMNS = [
    "experiment",
    "diagnostic",
    "measure",
    "length",
    "spearman",
    "spearman_ci95_low",
    "spearman_ci95_high",
    "spearman_of_means",
    "n_seeds",
    "n_spectra",
    "n_values",
    "n_groups",
    "groups",
]


class Correlation(NamedTuple):
    """A rank correlation over spectra; NaN where a side has one value only.

    spearman: mean over the seeds of the coefficient within a seed. low, high: its 95 % t interval,
    NaN below two seeds. of_means: the coefficient of the means over the seeds.
    """

    spearman: float
    low: float
    high: float
    of_means: float
    n_seeds: int


def spearman(x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """Spearman's coefficient along the last axis, [...]; equal values share their mean rank.

    NaN where all values of a side are equal.
    """
    a, b = _centered_ranks(x), _centered_ranks(y)
    with np.errstate(invalid="ignore"):
        return np.asarray((a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1)))


def _centered_ranks(values: ArrayLike) -> NDArray[np.float64]:
    ranks = stats.rankdata(values, axis=-1)
    return ranks - ranks.mean(axis=-1, keepdims=True)


def correlation(diagnostic: ArrayLike, values: ArrayLike) -> Correlation:
    """The correlation of a diagnostic, [spectra], with a measure, [seeds, spectra]."""
    measured = np.asarray(values, dtype=np.float64)
    if measured.size == 0:
        return Correlation(np.nan, np.nan, np.nan, np.nan, 0)
    per_seed = spearman(diagnostic, measured)
    of_means = spearman(diagnostic, measured.mean(axis=0))
    # No coefficient is beyond -1 or 1, whatever Student's t says of few seeds.
    low, high = np.clip(statistics.mean_ci95(per_seed), -1, 1)
    return Correlation(
        float(per_seed.mean()), float(low), float(high), float(of_means), len(measured)
    )


def diagnostics_of(spectra: pd.DataFrame) -> pd.DataFrame:
    """The diagnostics of a table of spectra (spectra_table), by name of spectrum, as floats.

    A distance that does not exist is beyond all that do.
    """
    numbers = spectra.set_index("spectrum").drop(columns=list(_NAMES[1:]))
    return numbers.astype("Float64").fillna(np.inf).astype("float64")


def theory_table(
    design: Design,
    spectra: pd.DataFrame,
    runs: pd.DataFrame,
    trials: Correct,
) -> pd.DataFrame:
    """A row per endpoint and diagnostic; columns in docs/statistics.md, section 9.

    spectra: the table of spectra_table. runs: the rows of runs.csv.
    """
    diagnostics = diagnostics_of(spectra)
    rows = []
    for at in endpoints_of(design):
        values = by_seed(design, at, runs, trials)
        names = list(values.columns)
        alike = groups([each for each in design.spectra if each.name in names])
        for diagnostic in diagnostics:
            numbers = diagnostics.loc[names, diagnostic]
            found = correlation(numbers, values)
            rows.append(
                {
                    "experiment": design.experiment,
                    "diagnostic": diagnostic,
                    "measure": at.measure,
                    "length": at.length,
                    "spearman": found.spearman,
                    **interval_columns("spearman_ci95", (found.low, found.high)),
                    "spearman_of_means": found.of_means,
                    "n_seeds": found.n_seeds,
                    "n_spectra": len(names),
                    "n_values": numbers.nunique(),
                    "n_groups": len(alike),
                    "groups": "; ".join(" ".join(group) for group in alike),
                }
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def groups(spectra: Sequence[NamedSpectrum]) -> list[list[str]]:
    """The spectra in groups that have nothing to do with each other by their definitions.

    Two spectra are in one group where a family is part of both: the same formula with another
    parameter, a spectrum and a mix of it. Spectra of a group are no independent samples.
    """
    found: list[tuple[set[str], list[str]]] = []
    for spectrum in spectra:
        families, names = _families(spectrum.shape), [spectrum.name]
        others = []
        for group in found:
            if group[0] & families:
                families, names = families | group[0], group[1] + names
            else:
                others.append(group)
        found = [*others, (families, names)]
    order = [spectrum.name for spectrum in spectra]
    return sorted(
        (sorted(names, key=order.index) for _, names in found),
        key=lambda names: order.index(names[0]),
    )


def _families(shape: Family) -> set[str]:
    """The names of the family of a spectrum and of all spectra inside it."""
    found = {shape.family}
    for _, part in shape.inner():
        found |= _families(part)
    return found
