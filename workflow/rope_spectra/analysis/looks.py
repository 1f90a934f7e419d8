"""Looks at the seeds that were declared before the first run, each with its share of the 5 %.

Looking after every seed and stopping at a good moment makes false verdicts likely: with looks at 6
to 16 seeds 12 % instead of 5 %. A plan says beforehand after how many seeds to look, and the levels
of its looks add up to 5 %. Formulas and simulated error rates: docs/statistics.md, sections 2 and
8.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from rope_spectra.analysis.statistics import ALPHA, smallest_p, std

# The exponent of the spending function (Kim and DeMets 1987): late looks get most of the 5 %, so
# that looking early costs the last look little.
SPENDING = 3
# An arm is hopeless below this probability of any verdict at the last look.
HOPELESS = 0.1


def levels(looks: Sequence[int], contrasts: int) -> list[float]:
    """The level at which each of the declared looks tests, in their order; they add up to 0.05.

    looks: numbers of seeds, increasing. By a look at n of N seeds 0.05 (n / N)^3 may have been
    spent. A look at which even unanimous seeds could not be declared among that many contrasts has
    level 0 and leaves its share to the next one; the last look has all that is left.
    """
    found: list[float] = []
    for n in looks[:-1]:
        level = ALPHA * (n / looks[-1]) ** SPENDING - sum(found)
        found.append(level if contrasts * smallest_p(n) < level else 0.0)
    return [*found, ALPHA - sum(found)]


def conditional_power(
    deltas: ArrayLike, last: int, level: float, margin: float
) -> tuple[float, float]:
    """The probability that the last look will find a difference, and that it finds equivalence.

    deltas: the differences of log PPL of the seeds so far, [n] with 2 <= n < last. The seeds to
    come are taken to scatter around the mean so far, as these do (Lan and Wittes 1988). level: that
    of the last look, divided by the number of contrasts. margin: a fraction of PPL.
    """
    d = np.asarray(deltas, dtype=np.float64)
    mean = abs(float(d.mean()))
    final_sem = std(d) / last**0.5
    # The standard deviation of the final mean, given the seeds so far.
    to_come = final_sem * (1 - len(d) / last) ** 0.5
    if to_come == 0:
        return float(mean > 0), float(mean < np.log1p(margin))
    beyond = float(stats.t.isf(level / 2, last - 1)) * final_sem
    different = stats.norm.sf((beyond - mean) / to_come)
    within = np.log1p(margin) - float(stats.t.isf(level, last - 1)) * final_sem
    equivalent = stats.norm.cdf((within - mean) / to_come) - stats.norm.cdf(
        (-within - mean) / to_come
    )
    return float(different), max(0.0, float(equivalent))


def is_hopeless(deltas: ArrayLike, last: int, level: float, margin: float) -> bool:
    """True where an arm can stop, because the last look will hardly decide it either way.

    Stopping it makes no false verdict more likely. The arguments are those of conditional_power.
    """
    return max(conditional_power(deltas, last, level, margin)) < HOPELESS
