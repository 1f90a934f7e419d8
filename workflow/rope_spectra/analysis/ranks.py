"""Ranks of the arms of a leaderboard, with what their differences leave open.

A bootstrap of ranks over three seeds is far too sure. The intervals here follow from the paired
differences instead: an arm ranks surely below those that are surely better than it. The definitions
are in docs/statistics.md, section 2.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from rope_spectra.analysis.crossed import crossed
from rope_spectra.analysis.statistics import ALPHA, holm


@dataclass(frozen=True)
class Ranking:
    """The ranks of the arms, 1 for the lowest mean.

    rank, low, high: whole numbers [arms]. All intervals low to high hold together with a
    probability of 95 %. better: [arms, arms], at [a, b] the probability that a has the lower mean
    in truth; each pair by itself, 0.5 on the diagonal and where nothing is known.
    """

    rank: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    better: NDArray[np.float64]


def ranking(values: ArrayLike) -> Ranking:
    """The ranks of arms on the seeds that all of them have.

    values: [arms, seeds, blocks], lower is better; one block where there are none.

    Each two arms are compared by the crossed p of their difference, corrected by Holm over all
    pairs. The lowest rank of an arm is 1 plus the number of arms that are better at 0.05; the
    highest follows in the same way from those that are worse (Mohamad, Goeman and van Zwet 2019).
    better[a, b] is Student's t at the difference over its standard error: what a flat prior leaves
    of the belief that b is better.
    """
    x = np.asarray(values, dtype=np.float64)
    n_arms = len(x)
    mean = x.mean(axis=(1, 2))
    p = np.full((n_arms, n_arms), np.nan)
    better = np.full((n_arms, n_arms), 0.5)
    for arm in range(n_arms):
        # One arm at a time: all pairs at once may not fit into memory.
        with np.errstate(divide="ignore", invalid="ignore"):
            estimate = crossed(x[arm] - x)
            p[arm] = estimate.p_difference()
            below = special.stdtr(estimate.df, -estimate.mean / estimate.sem)
        better[arm] = np.where(np.isnan(below), 0.5, below)
    pairs = np.triu_indices(n_arms, k=1)
    apart = np.zeros((n_arms, n_arms), dtype=bool)
    apart[pairs] = holm(p[pairs]) < ALPHA
    apart |= apart.T
    is_lower = mean[:, None] < mean
    return Ranking(
        rank=1 + is_lower.sum(axis=0),
        low=1 + (apart & is_lower).sum(axis=0),
        high=n_arms - (apart & is_lower).sum(axis=1),
        better=better,
    )
