"""Ranks of a leaderboard: known answers, and coverage by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rope_spectra.analysis import statistics
from rope_spectra.analysis.ranks import ranking


def arms(*means: float, n_seeds: int = 6, spread: float = 0.01, seed: int = 0) -> np.ndarray:
    """Values [arms, seeds, 1] around the means, with a part that all arms of a seed share."""
    random = np.random.default_rng(seed)
    shared = random.normal(0, 1, (1, n_seeds, 1))
    own = random.normal(0, spread, (len(means), n_seeds, 1))
    return np.array(means)[:, None, None] + shared + own


def test_arms_that_are_far_apart_have_one_rank_each() -> None:
    found = ranking(arms(3.0, 1.0, 2.0))
    assert found.rank.tolist() == found.low.tolist() == found.high.tolist() == [3, 1, 2]
    assert found.better[1, 0] > 0.999


def test_arms_that_are_close_share_their_ranks() -> None:
    found = ranking(arms(1.0, 1.0, 5.0))
    assert sorted(found.rank.tolist()) == [1, 2, 3]
    assert found.low.tolist() == [1, 1, 3]
    assert found.high.tolist() == [2, 2, 3]
    assert 0.02 < found.better[0, 1] < 0.98


def test_one_seed_leaves_every_rank_open() -> None:
    found = ranking(arms(3.0, 1.0, 2.0, n_seeds=1))
    assert found.rank.tolist() == [3, 1, 2]
    assert (found.low.tolist(), found.high.tolist()) == ([1, 1, 1], [3, 3, 3])
    assert (found.better == 0.5).all()


def test_equal_arms_share_the_first_rank() -> None:
    found = ranking(np.ones((3, 4, 2)))
    assert (found.rank.tolist(), found.high.tolist()) == ([1, 1, 1], [3, 3, 3])
    assert (found.better == 0.5).all()


def test_the_probability_is_half_of_the_p_of_a_paired_t_test() -> None:
    values = arms(1.0, 1.005)
    low, high = statistics.mean_ci95((values[0] - values[1])[:, 0])
    found = ranking(values)
    assert (found.better[0, 1] > 0.975) == (high < 0)
    assert found.better[0, 1] + found.better[1, 0] == pytest.approx(1)
    assert low < 0


@given(st.integers(0, 1000), st.integers(2, 5), st.integers(2, 5))
@settings(max_examples=30, deadline=None)
def test_an_interval_holds_its_rank_and_the_order_of_arms_does_not_matter(
    seed: int, n_arms: int, n_seeds: int
) -> None:
    values = np.random.default_rng(seed).normal(size=(n_arms, n_seeds, 3))
    found, turned = ranking(values), ranking(values[::-1])
    assert (found.low <= found.rank).all()
    assert (found.rank <= found.high).all()
    assert turned.low.tolist() == found.low[::-1].tolist()
    assert turned.better[::-1, ::-1] == pytest.approx(found.better)


@pytest.mark.parametrize("n_seeds", [3, 6])
def test_all_ranks_are_right_together_in_95_of_100_studies(n_seeds: int) -> None:
    true_means = [0.0, 0.02, 0.02 + 1e-9, 0.05]
    wrong = 0
    for study in range(1000):
        found = ranking(arms(*true_means, n_seeds=n_seeds, seed=study))
        wrong += not ((found.low <= [1, 2, 3, 4]) & (found.high >= [1, 2, 3, 4])).all()
    # The standard error is 0.007.
    assert wrong / 1000 < 0.06
