"""The course of a search as a table: every candidate of every round, and the best so far. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rope_spectra.search.objective import Score, in_order, pooled_noise
from rope_spectra.search.space import Point, Space

COLUMNS = [
    *("round", "share", "n_seeds", "candidate", "is_new", "rank", "goes_on"),
    *("value", "noise", "within", "is_allowed", "best_so_far", "best"),
]


@dataclass(frozen=True)
class Round:
    """A round that is over: its share of the training tokens, its candidates with their scores.

    points and scores are by the name of the candidate, in the order of the first proposal. new: the
    names that were proposed in this round.
    """

    share: float
    seeds: Sequence[int]
    points: Mapping[str, Point]
    scores: Mapping[str, Score]
    new: Sequence[str]


def course_table(space: Space, rounds: Sequence[Round]) -> pd.DataFrame:
    """course.csv: a row for each candidate of each round, in the order of the first proposal.

    value and noise are of the difference to the baseline (less is better), those of a second metric
    in value2 and noise2. noise is the standard error of the value: over the seeds of the round the
    deviation of one seed, pooled over its candidates; empty with one seed. rank is from 1. goes_on:
    the candidate is in the next round. best_so_far: the lowest value among the allowed candidates
    up to here, of the rounds with the same share and seeds, since other ones do not compare; best
    is the candidate that has it. wavelength0.. are in tokens at the knots, stilled is a share.
    """
    rows = []
    for number, each in enumerate(rounds):
        ranks = {name: rank for rank, name in enumerate(in_order(each.scores), start=1)}
        following = rounds[number + 1].points if number + 1 < len(rounds) else {}
        pooled = pooled_noise(list(each.scores.values()))
        noise = np.array(pooled or [np.nan]) / len(each.seeds) ** 0.5
        for name, point in each.points.items():
            score = each.scores[name]
            row = {
                "round": number,
                "share": each.share,
                "n_seeds": len(each.seeds),
                "candidate": name,
                "is_new": name in each.new,
                "rank": ranks[name],
                "goes_on": name in following,
                "value": score.values[0],
                "noise": noise[0],
                "within": score.within,
                "is_allowed": score.is_allowed,
            }
            if len(score.values) > 1:
                row |= {"value2": score.values[1], "noise2": noise[-1]}
            shape = space.shape(point)
            row |= {f"wavelength{knot}": tokens for knot, tokens in enumerate(shape.wavelengths)}
            rows.append(row | {"stilled": shape.stilled})
    return _with_best(pd.DataFrame(rows))


def _with_best(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the columns best_so_far and best, which are those of the first metric."""
    values: list[float] = []
    names: list[str | None] = []
    measured_so = None
    for row in table.itertuples():
        if (row.share, row.n_seeds) != measured_so:
            measured_so, best, holder = (row.share, row.n_seeds), np.nan, None
        if row.is_allowed and not row.value >= best:
            best, holder = row.value, row.candidate
        values.append(best)
        names.append(holder)
    table = table.assign(best_so_far=values, best=names)
    return table[[*COLUMNS, *(name for name in table.columns if name not in COLUMNS)]]
