"""The course of a search: its table, the best so far, and what became of the best."""

import math

import numpy as np
import pandas as pd
import pytest

from rope_spectra.search.course import Round, course_table, found_table
from rope_spectra.search.objective import Score
from rope_spectra.search.space import Space

SPACE = Space(knots=2, shortest=4, longest=64)


def scored(*deltas: float, excess: float = -1.0) -> Score:
    return Score((float(np.mean(deltas)),), tuple((d,) for d in deltas), 0.01, excess)


def a_round(tokens: int, seeds: list[int], new: set[int], scores: dict[int, Score]) -> Round:
    # Curves from 4 to 8, 16, ... tokens.
    points = {number: (0.0, math.log(2 * (number + 1), 16)) for number in scores}
    return Round(tokens, seeds, points, scores, new)


@pytest.fixture
def table() -> pd.DataFrame:
    first = {0: scored(0.3), 1: scored(-9.0, excess=1.0), 2: scored(0.1)}
    rounds = [
        a_round(1000, [1], {0, 1, 2}, first),
        a_round(1000, [1], {3}, {2: scored(0.1), 3: scored(-0.2)}),
        a_round(4000, [1, 2], set(), {3: scored(0.0, 0.8), 2: scored(0.1, 0.3)}),
    ]
    return course_table(SPACE, rounds)


def test_a_row_for_each_candidate_of_each_round(table: pd.DataFrame) -> None:
    assert table["proposal"].to_list() == [0, 1, 2, 2, 3, 3, 2]
    assert table["round"].to_list() == [0, 0, 0, 1, 1, 2, 2]
    assert table["is_new"].to_list() == [True, True, True, False, True, False, False]
    assert table["rank"].to_list() == [2, 3, 1, 2, 1, 2, 1]
    assert table["goes_on"].to_list() == [False, False, True, True, True, False, False]
    assert table["is_allowed"].to_list() == [True, False, True, True, True, True, True]
    assert table["tokens"].to_list() == [1000] * 5 + [4000] * 2


def test_the_best_so_far_is_of_rounds_that_compare(table: pd.DataFrame) -> None:
    """A candidate beyond the limit is never the best; a longer training begins anew."""
    expected = [0.3, 0.3, 0.1, 0.1, -0.2, 0.4, 0.2]
    assert table["best_so_far"].to_list() == pytest.approx(expected)
    assert table["best"].to_list() == [0, 0, 2, 2, 3, 3, 2]


def test_the_noise_is_pooled_over_all_rounds_with_two_seeds(table: pd.DataFrame) -> None:
    one_seed = ((0.1**2 * 2 + 0.4**2 * 2) / 2) ** 0.5
    expected = [one_seed] * 5 + [one_seed / 2**0.5] * 2
    assert table["noise"].to_list() == pytest.approx(expected)


def test_the_shape_of_each_candidate_is_there(table: pd.DataFrame) -> None:
    assert table["wavelength1"].to_list() == pytest.approx([8, 16, 24, 24, 32, 32, 24])
    assert (table["stilled"] == 0).all()


def test_no_allowed_candidate_is_no_best_and_one_seed_no_noise() -> None:
    table = course_table(SPACE, [a_round(1, [1], {0}, {0: scored(1.0, excess=1.0)})])
    assert table[["best_so_far", "best", "noise"]].isna().all(axis=None)


def test_two_metrics_have_a_value_each() -> None:
    both = Score((0.1, -0.2), ((0.0, -0.3), (0.2, -0.1)), 0.0, -1.0)
    table = course_table(SPACE, [a_round(1, [1, 2], {0}, {0: both})])
    assert table[["value", "value2"]].to_numpy() == pytest.approx(np.array([[0.1, -0.2]]))
    assert table[["noise", "noise2"]].to_numpy() == pytest.approx(np.array([[0.1, 0.1]]))


def test_the_best_have_both_scores_beside_each_other() -> None:
    names = {"best": 7, "second": 2}
    chosen = {"best": scored(-0.5), "second": scored(-0.4)}
    later = {"best": scored(-0.1, -0.3), "second": scored(-0.4, -0.4)}
    table = found_table(["degradation"], names, chosen, later)
    assert table["proposal"].to_list() == [7, 2]
    assert table["selection"].to_list() == pytest.approx([-0.5, -0.4])
    assert table["confirmation"].to_list() == pytest.approx([-0.2, -0.4])
    assert table["confirmation_se"].to_list() == pytest.approx([0.1, 0.0])
    assert table["selection_se"].isna().all()
    assert table["confirmation_n_seeds"].to_list() == [2, 2]
