"""The power of the rule of verdicts itself, by simulation, and the seeds that a contrast needs.

A formula for the t test knows neither the floor of the sign-flip test nor Holm's correction: it
promises power where the rule has none. Here studies are drawn and judged as analysis/verdicts.py
judges. Assumptions and error: docs/statistics.md, section 2.
"""

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from rope_spectra.analysis.crossed import STRETCHES, crossed
from rope_spectra.analysis.looks import levels
from rope_spectra.analysis.statistics import ALPHA, smallest_p

POWER = 0.8
MOST_SEEDS = 1000
STUDIES = 1000
# Up to this number of seeds all subsets are tried, above it that many random ones.
EXACT_SEEDS = 12
SUBSETS = 2**EXACT_SEEDS
# With more seeds the sign-flip test decides as the t test does.
MOST_SIGN_FLIP_SEEDS = 24
# Beyond it every study finds the effect, and the noncentral t distribution overflows.
LARGEST_NONCENTRALITY = 30.0


def power(
    effect: float, spread: float, looks: Sequence[int], contrasts: int = 1, text: float = 0.0
) -> float:
    """The probability that a contrast is declared, in the right direction, at any of the looks.

    effect: the true mean of the differences of log PPL. spread: their standard deviation over the
    seeds. looks: numbers of seeds, one for a study without looks. contrasts: the size of the
    family; the others are taken to show nothing, which is Holm's worst case. text: the standard
    error that the choice of the text adds (crossed.Estimate.sem_text); it does not fall with the
    seeds.
    """
    return power_by_look(effect, spread, looks, contrasts, text)[-1]


def power_by_look(
    effect: float, spread: float, looks: Sequence[int], contrasts: int = 1, text: float = 0.0
) -> list[float]:
    """The probability that the contrast has been declared by each of the looks; see `power`."""
    # A spread of 0 would divide by 0.
    spread = max(spread, 1e-9 * abs(effect), 1e-300)
    size = abs(effect) / spread
    declared = np.zeros(STUDIES, dtype=bool)
    shares = [0.0]
    for n, level in zip(looks, levels(looks, contrasts), strict=True):
        if contrasts * smallest_p(n) < level:
            declared |= _declared(size, text / spread, n, level / contrasts)
            # The power of the t test is known: only how the rule differs from it is simulated.
            of_t_test = _by_t_test(size, n, level / contrasts).mean()
            luck = of_t_test - t_test_power(size, n, level / contrasts)
            shares.append(float(np.clip(declared.mean() - luck, shares[-1], 1)))
        else:
            shares.append(shares[-1])
    return shares[1:]


def t_test_power(size: float, n: int, level: float) -> float:
    """Power of the two-sided paired t test for |mean| / standard deviation = size.

    The wrong tail, below level / 2, is left out.
    """
    noncentrality = size * n**0.5
    if noncentrality > LARGEST_NONCENTRALITY:
        return 1.0
    return float(stats.nct.sf(stats.t.isf(level / 2, n - 1), n - 1, noncentrality))


def seeds_needed(effect: float, spread: float, contrasts: int = 1, text: float = 0.0) -> float:
    """The smallest number of seeds with a power of 80 % in one look; inf above 1000.

    The arguments are those of `power`. It is never below the floor: 6, 7 and 8 seeds for 1, 2 and
    5 contrasts.
    """
    candidates = range(fewest_seeds(contrasts), MOST_SEEDS + 1)

    def is_enough(n: int) -> bool:
        return power(effect, spread, [n], contrasts, text) >= POWER

    size = abs(effect) / max(spread, abs(effect) / 100, 1e-300)
    # The rule asks for more than the t test, mostly for one or two seeds more.
    first = bisect_left(candidates, POWER, key=lambda n: t_test_power(size, n, ALPHA / contrasts))
    step = 1
    while first + step < len(candidates) and not is_enough(candidates[first + step - 1]):
        first += step
        step *= 2
    last = min(first + step, len(candidates))
    found = bisect_left(candidates, True, first, last, key=is_enough)
    return float(candidates[found]) if found < len(candidates) else np.inf


def seeds_for_80pct_power(deltas: ArrayLike, contrasts: int = 1) -> float:
    """Seeds that a contrast needs, taking what its pairs show for the truth; NaN below two pairs.

    deltas: its differences, [seeds, blocks] in nats per token, with one column where there are no
    blocks. contrasts: the size of its family.
    """
    d = np.asarray(deltas, dtype=np.float64)
    if len(d) < 2:
        return np.nan
    estimate = crossed(d)
    spread = float(d.mean(axis=1).std(ddof=1))
    return seeds_needed(float(estimate.mean), spread, contrasts, float(estimate.sem_text))


def fewest_seeds(contrasts: int) -> int:
    """The smallest number of seeds with which a contrast of the family can be declared at all."""
    n = 2
    while contrasts * smallest_p(n) >= ALPHA:
        n += 1
    return n


def _declared(size: float, shift: float, n: int, level: float) -> NDArray[np.bool_]:
    """The simulated studies that declare an effect of `size` standard deviations, [studies].

    shift: the standard error of the text, in the same unit.
    """
    noise = _noise()
    effects = size + shift * noise[:, MOST_SEEDS]
    var_seeds = noise[:, :n].var(axis=1, ddof=1) / n
    var = var_seeds + shift**2
    df = var**2 / (var_seeds**2 / (n - 1) + shift**4 / (STRETCHES - 1))
    limit = special.stdtrit(df, 1 - level / 2) * var**0.5
    by_interval = effects + noise[:, :n].mean(axis=1) > limit
    return by_interval & (effects > _needed_by_sign_flip(n, level))


def _by_t_test(size: float, n: int, level: float) -> NDArray[np.bool_]:
    """The simulated studies that the t test over the seeds alone would declare, [studies]."""
    seeds = _noise()[:, :n]
    limit = special.stdtrit(n - 1, 1 - level / 2) * seeds.std(axis=1, ddof=1) / n**0.5
    return size + seeds.mean(axis=1) > limit


@lru_cache(maxsize=1)
def _noise() -> NDArray[np.float64]:
    """Standard normal noise, [studies, seeds + 1]: that of a study's seeds, then of its text."""
    return np.random.default_rng(0).normal(size=(STUDIES, MOST_SEEDS + 1))


@lru_cache(maxsize=256)
def _needed_by_sign_flip(n: int, level: float) -> NDArray[np.float64]:
    """The effect, in standard deviations, that each simulated study needs, [studies].

    Flipping the signs of a subset of the seeds leaves a sum as large as the observed one exactly
    where the mean of the subset is not above 0. So p is below the level once the effect lifts all
    but a share level / 2 of the subset means above 0 (Hartigan 1969).
    """
    if n > MOST_SIGN_FLIP_SEEDS:
        return np.full(STUDIES, -np.inf)
    random = np.random.default_rng(1)
    needed = []
    for part in np.array_split(_noise()[:, :n], 8):
        subsets = _subsets(n, random)
        # The empty subset, no flip at all, always reaches the observed sum.
        tolerated = max(1, int(np.ceil(level / 2 * (len(subsets) + 1))) - 1)
        means = part @ (subsets / subsets.sum(axis=1, keepdims=True)).T
        needed.append(np.partition(-means, -tolerated, axis=1)[:, -tolerated])
    return np.concatenate(needed)


def _subsets(n: int, random: np.random.Generator) -> NDArray[np.float64]:
    """The members of subsets of n seeds as 0 or 1, [subsets, n], without the empty one."""
    if n <= EXACT_SEEDS:
        members = np.arange(2**n)[:, None] >> np.arange(n) & 1
    else:
        members = random.integers(0, 2, (SUBSETS, n))
    return members[members.any(axis=1)].astype(np.float64)
