"""The rule that turns paired differences into verdicts; docs/statistics.md states it in words.

Three questions about each declared contrast: is it different from 0, is it within the margin, and
could this number of seeds have told. All contrasts are judged together, because Holm's correction
is one of the family.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rope_spectra.analysis import statistics
from rope_spectra.analysis.crossed import crossed
from rope_spectra.analysis.looks import levels
from rope_spectra.analysis.statistics import ALPHA

Verdict: TypeAlias = Literal[
    "better",
    "worse",
    "equivalent",
    "better, within the margin",
    "worse, within the margin",
    "cannot be told apart",
    "too few seeds",
]

UNDECIDED: tuple[Verdict, ...] = ("cannot be told apart", "too few seeds")

# Two seeds leave one degree of freedom: an interval that is narrow by chance.
FEWEST_SEEDS_FOR_EQUIVALENCE = 3


@dataclass(frozen=True)
class Finding:
    """The verdict on a contrast, and the two p values that it rests on.

    seeds is the number of pairs that it rests on, wins how many of them have the lower value. Both
    p are corrected for the family and the looks, so that 0.05 is their limit: p_difference of a
    mean of 0, p_equivalence of a mean outside the margin. They are NaN where the contrast has too
    few pairs for a p.
    """

    verdict: Verdict = "too few seeds"
    seeds: int = 0
    wins: int = 0
    p_difference: float = np.nan
    p_equivalence: float = np.nan

    def in_words(self) -> str:
        """The verdict; where there are too few seeds for one, what they show instead."""
        if self.verdict != "too few seeds" or not self.seeds:
            return self.verdict
        better = max(self.wins, self.seeds - self.wins)
        word = "better" if better == self.wins else "worse"
        plural = "s" if self.seeds > 1 else ""
        return (
            f"{better} of {self.seeds} seed{plural} {word};"
            f" {self.seeds} seed{plural} cannot make it significant"
        )


def judge(
    contrasts: Sequence[ArrayLike], margin: float, looks: Sequence[int] | None = None
) -> list[Finding]:
    """The findings on all declared contrasts of one endpoint, in their order.

    contrasts: for each, the arm minus its baseline, [seeds, blocks] in nats per token (one column
    where there are no blocks), the seeds in their declared order. A row of NaN is a seed that one
    of the two lacks; a contrast without any seed still counts in the family. margin: a fraction of
    PPL. looks: the declared numbers of seeds, increasing; without them there is one look, at all
    seeds. A look beyond the seeds has not taken place.

    - different: the p of a contrast is the larger of the sign-flip p over its seeds and the p of
      its crossed interval. Holm's p is below 0.05. The sign of the mean tells better from worse.
    - within the margin: the mean is inside +-log(1 + margin) by two one-sided tests of the crossed
      interval, from three seeds on. Holm's p, in a family of its own, is below 0.05.
    - Looks: the p of a look is multiplied by 0.05 / its level (looks.levels), and the smallest one
      so far counts. So a verdict of an earlier look stands. A look that brings a contrast no new
      pairs, because its arm has been stopped, is none for it.
    - Neither of the two: too few seeds where even unanimous seeds could not have been declared at
      this look, else the arms cannot be told apart.
    """
    tables = [np.asarray(deltas, dtype=np.float64) for deltas in contrasts]
    n_seeds = max((len(table) for table in tables), default=0)
    looks = looks or [n_seeds]
    planned = zip(looks, levels(looks, len(tables)), strict=True)
    reached = [(n, level) for n, level in planned if n <= n_seeds]
    limit = float(np.log1p(margin))
    evidence = [_evidence(table, reached, limit) for table in tables]
    different = statistics.holm([item.p_difference for item in evidence])
    equivalent = statistics.holm([item.p_equivalence for item in evidence])
    return [
        _finding(item, p_difference, p_equivalence, len(tables))
        for item, p_difference, p_equivalence in zip(evidence, different, equivalent, strict=True)
    ]


@dataclass
class _Evidence:
    """The p values of one contrast over the looks so far, not yet corrected for the others.

    below is True where the mean was below 0 at the look with the smallest p; level, seeds and wins
    are those of the last look.
    """

    p_difference: float = np.nan
    p_equivalence: float = np.nan
    below: bool = False
    level: float = ALPHA
    seeds: int = 0
    wins: int = 0


def _evidence(
    deltas: NDArray[np.float64], looks: Sequence[tuple[int, float]], limit: float
) -> _Evidence:
    found = _Evidence()
    for n_seeds, level in looks:
        pairs = deltas[:n_seeds]
        pairs = pairs[~np.isnan(pairs).any(axis=1)]
        # An arm that has been stopped is not tested again at the level of a later look.
        if len(pairs) == found.seeds:
            continue
        per_seed = pairs.mean(axis=1)
        found.level = level
        found.seeds = len(pairs)
        found.wins = int(np.count_nonzero(per_seed < 0))
        # Of an arm that has diverged nothing can be estimated.
        if len(pairs) < 2 or not np.isfinite(pairs).all():
            continue
        estimate = crossed(pairs)
        p = max(statistics.sign_flip_p(per_seed), float(estimate.p_difference()))
        p = _of_all_looks(p, level)
        if not p >= found.p_difference:
            found.p_difference = p
            found.below = bool(estimate.mean < 0)
        if len(pairs) >= FEWEST_SEEDS_FOR_EQUIVALENCE:
            p = _of_all_looks(float(estimate.p_equivalence(limit)), level)
            found.p_equivalence = float(np.fmin(found.p_equivalence, p))
    return found


def _of_all_looks(p: float, level: float) -> float:
    """A p of one look, such that 0.05 is the limit of all of them together."""
    return min(1.0, p * ALPHA / level) if level else 1.0


def _finding(
    evidence: _Evidence, p_difference: float, p_equivalence: float, contrasts: int
) -> Finding:
    within = p_equivalence < ALPHA
    floor = contrasts * statistics.smallest_p(evidence.seeds)
    verdict: Verdict
    if p_difference < ALPHA and within:
        verdict = "better, within the margin" if evidence.below else "worse, within the margin"
    elif p_difference < ALPHA:
        verdict = "better" if evidence.below else "worse"
    elif within:
        verdict = "equivalent"
    elif floor >= evidence.level:
        verdict = "too few seeds"
    else:
        verdict = "cannot be told apart"
    return Finding(
        verdict, evidence.seeds, evidence.wins, float(p_difference), float(p_equivalence)
    )
