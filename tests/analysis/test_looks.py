"""Levels of declared looks, and arms that may stop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.analysis import looks


def test_one_look_has_all_of_the_level() -> None:
    assert looks.levels([10], 5) == [0.05]
    assert looks.levels([3], 1) == [0.05]  # which three seeds can use for equivalence alone


def test_late_looks_have_most_of_it() -> None:
    cubes = 0.05 * np.array([10, 12, 16]) ** 3 / 16**3
    assert looks.levels([10, 12, 16], 1) == pytest.approx(np.diff(cubes, prepend=0))


@pytest.mark.parametrize(("contrasts", "expected"), [(1, [0, 0.0256, 0.0244]), (5, [0, 0, 0.05])])
def test_a_look_that_cannot_decide_leaves_its_share(contrasts: int, expected: list[float]) -> None:
    assert looks.levels([6, 8, 10], contrasts) == pytest.approx(expected)


@given(st.sets(st.integers(2, 40), min_size=1).map(sorted), st.integers(1, 20))
def test_levels_add_up_to_5_percent(plan: list[int], contrasts: int) -> None:
    found = looks.levels(plan, contrasts)
    assert sum(found) == pytest.approx(0.05)
    assert min(found) >= 0
    for n, level in zip(plan[:-1], found, strict=False):
        assert level == 0 or contrasts * 2 / 2**n < level


def test_conditional_power_is_that_of_simulated_seeds() -> None:
    so_far = np.array([0.01, 0.03, -0.01, 0.02, 0.04, 0.0])
    to_come = np.random.default_rng(0).normal(so_far.mean(), so_far.std(ddof=1), (20_000, 10))
    final = np.concatenate([np.tile(so_far, (20_000, 1)), to_come], axis=1)
    # The spread is taken as it is now, so the limit is fixed.
    sem = so_far.std(ddof=1) / 4
    limit = 2.1314495 * sem  # Student's t, 15 degrees of freedom
    different, _ = looks.conditional_power(so_far, 16, 0.05, 0.01)
    assert different == pytest.approx((final.mean(axis=1) > limit).mean(), abs=0.01)


@pytest.mark.parametrize(
    ("deltas", "hopeless"),
    [
        ([0.05, 0.06, 0.05, 0.07], False),
        ([0.001, -0.001, 0.0, 0.001], False),  # on the way to equivalence
        ([0.3, -0.3, 0.31, -0.29], True),
        ([0.05, 0.05], False),
        ([0.0, 0.0], False),
    ],
)
def test_an_arm_is_hopeless_where_neither_verdict_is_in_reach(
    deltas: list[float], hopeless: bool
) -> None:
    assert looks.is_hopeless(deltas, 10, 0.025, 0.01) is hopeless
