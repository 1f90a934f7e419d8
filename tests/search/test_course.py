"""The course of a search: its table, and the best so far."""

import numpy as np
import pandas as pd
import pytest

from rope_spectra.search.course import Round, course_table
from rope_spectra.search.objective import Score
from rope_spectra.search.space import Space

SPACE = Space(knots=2, shortest=4, longest=64)
POINTS = {name: SPACE.point([4, 8 * (number + 1)]) for number, name in enumerate("abcd")}


def scored(*deltas: float, excess: float = -1.0) -> Score:
    return Score((float(np.mean(deltas)),), tuple((d,) for d in deltas), 0.01, excess)


@pytest.fixture
def table() -> pd.DataFrame:
    def a_round(share: float, seeds: list[int], new: str, **scores: Score) -> Round:
        return Round(share, seeds, {name: POINTS[name] for name in scores}, scores, list(new))

    rounds = [
        a_round(0.25, [1], "abc", a=scored(0.3), b=scored(-9.0, excess=1.0), c=scored(0.1)),
        a_round(0.25, [1], "d", c=scored(0.1), d=scored(-0.2)),
        a_round(1.0, [1, 2], "", c=scored(0.1, 0.3), d=scored(0.0, 0.8)),
    ]
    return course_table(SPACE, rounds)


def test_a_row_for_each_candidate_of_each_round(table: pd.DataFrame) -> None:
    assert table["candidate"].str.cat() == "abccdcd"
    assert table["round"].to_list() == [0, 0, 0, 1, 1, 2, 2]
    assert table["is_new"].to_list() == [True, True, True, False, True, False, False]
    assert table["rank"].to_list() == [2, 3, 1, 2, 1, 1, 2]
    assert table["goes_on"].to_list() == [False, False, True, True, True, False, False]
    assert table["is_allowed"].to_list() == [True, False, True, True, True, True, True]


def test_the_best_so_far_is_of_rounds_that_compare(table: pd.DataFrame) -> None:
    """A candidate beyond the limit is never the best; a longer training begins anew."""
    expected = [0.3, 0.3, 0.1, 0.1, -0.2, 0.2, 0.2]
    assert table["best_so_far"].to_list() == pytest.approx(expected)
    assert table["best"].str.cat() == "aaccdcc"


def test_the_noise_is_that_of_the_mean_and_empty_for_one_seed(table: pd.DataFrame) -> None:
    assert table["noise"][:5].isna().all()
    deviation = ((0.1**2 * 2 + 0.4**2 * 2) / 2) ** 0.5
    assert table["noise"][5:].to_list() == pytest.approx([deviation / 2**0.5] * 2)


def test_the_shape_of_each_candidate_is_there(table: pd.DataFrame) -> None:
    assert table["wavelength1"].to_list() == pytest.approx([8, 16, 24, 24, 32, 24, 32])
    assert (table["stilled"] == 0).all()


def test_no_allowed_candidate_is_no_best() -> None:
    only = Round(1.0, [1], {"a": POINTS["a"]}, {"a": scored(1.0, excess=1.0)}, ["a"])
    table = course_table(SPACE, [only])
    assert table["best_so_far"].isna().all()
    assert table["best"].isna().all()
