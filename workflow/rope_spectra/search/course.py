"""The course of a search as a table: every candidate of every round, and the best so far. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rope_spectra.analysis.endpoints import Row
from rope_spectra.search.objective import Score, in_order, pooled_noise
from rope_spectra.search.space import Point, Space

COLUMNS = [
    *("round", "tokens", "n_seeds", "proposal", "is_new", "rank", "goes_on"),
    *("value", "noise", "within", "is_allowed", "best_so_far", "best"),
]


@dataclass(frozen=True)
class Round:
    """A round that is over: the training tokens of a run, its seeds, and its candidates.

    points and scores are by the number of the proposal, in the order of the round; new: the numbers
    that it proposed itself.
    """

    tokens: int
    seeds: Sequence[int]
    points: Mapping[int, Point]
    scores: Mapping[int, Score]
    new: Collection[int]


def course_table(space: Space, rounds: Sequence[Round]) -> pd.DataFrame:
    """course.csv: a row for each candidate of each round.

    value is the difference to the baseline (less is better), that of a second metric value2. noise
    is its standard error: the deviation of the difference of one seed, pooled over all candidates
    and rounds with two seeds or more, over the root of the number of seeds; empty where no round
    has two. rank is from 1; goes_on: the candidate is in the next round. best_so_far is the lowest
    value of an allowed candidate up to here, of the rounds with the same tokens and seeds, since
    others do not compare, and best is the proposal that has it; both are of the first metric.
    wavelength0 and so on are in tokens at the knots, stilled is a share of the pairs.
    """
    pooled = pooled_noise([score for each in rounds for score in each.scores.values()])
    rows = []
    for number, each in enumerate(rounds):
        ranks = {proposal: rank for rank, proposal in enumerate(in_order(each.scores), start=1)}
        following = rounds[number + 1].points if number + 1 < len(rounds) else {}
        for proposal, point in each.points.items():
            row: Row = {
                "round": number,
                "tokens": each.tokens,
                "n_seeds": len(each.seeds),
                "proposal": proposal,
                "is_new": proposal in each.new,
                "rank": ranks[proposal],
                "goes_on": proposal in following,
                "within": each.scores[proposal].within,
                "is_allowed": each.scores[proposal].is_allowed,
            }
            values = each.scores[proposal].values
            for suffix, value, deviation in zip(("", "2"), values, pooled, strict=False):
                row[f"value{suffix}"] = value
                row[f"noise{suffix}"] = deviation / len(each.seeds) ** 0.5
            shape = space.shape(point)
            row |= {f"wavelength{knot}": tokens for knot, tokens in enumerate(shape.wavelengths)}
            rows.append(row | {"stilled": shape.stilled})
    return _with_best(pd.DataFrame(rows))


def _with_best(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the columns best_so_far and best."""
    bests: list[tuple[float, int | None]] = []
    regime, best = None, (np.inf, None)
    for row in table.itertuples():
        if (row.tokens, row.n_seeds) != regime:
            regime, best = (row.tokens, row.n_seeds), (np.inf, None)
        if row.is_allowed and row.value < best[0]:
            best = (row.value, row.proposal)
        bests.append(best)
    values, proposals = zip(*bests, strict=True)
    table = table.assign(best_so_far=values, best=proposals)
    table = table.replace({"best_so_far": np.inf}, np.nan).astype({"best": "Int64"})
    return table[[*COLUMNS, *(name for name in table.columns if name not in COLUMNS)]]


def found_table(
    metrics: Sequence[str],
    proposals: Mapping[str, int],
    selection: Mapping[str, Score],
    confirmation: Mapping[str, Score],
) -> pd.DataFrame:
    """found.csv: the best of the search on what chose them, and on other seeds and text.

    proposals, selection and confirmation are by name, the best first; the scores are differences to
    the same baseline. A row for each name and metric; se is the standard error over the seeds of
    that phase, empty for one seed.
    """
    rows = []
    for name, proposal in proposals.items():
        for index, metric in enumerate(metrics):
            row: Row = {"spectrum": name, "proposal": proposal, "metric": metric}
            for phase, scores in (("selection", selection), ("confirmation", confirmation)):
                row[phase] = scores[name].values[index]
                row[f"{phase}_se"] = scores[name].noise[index]
                row[f"{phase}_n_seeds"] = len(scores[name].deltas)
            rows.append(row)
    return pd.DataFrame(rows)
