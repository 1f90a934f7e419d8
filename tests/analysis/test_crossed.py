"""The crossed interval: known answers, edge cases, and coverage by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rope_spectra.analysis import statistics
from rope_spectra.analysis.crossed import Estimate, crossed

tables = st.builds(
    lambda seed, shape: np.random.default_rng(seed).normal(0.2, 1, shape),
    st.integers(0, 2**32),
    st.tuples(st.integers(2, 6), st.integers(2, 19)),
)


def test_two_by_two_by_hand() -> None:
    # Mean squares 4 and 4, rest 1: variance (4 + 4 - 1) / 4, degrees of freedom 7^2 / (16 + 16).
    found = crossed([[1.0, 2.0], [2.0, 5.0]])
    assert found.mean == 2.5
    assert found.sem == pytest.approx(1.75**0.5)
    assert found.df == pytest.approx(49 / 32)
    assert found.sem_text == pytest.approx(0.75**0.5)


def test_blocks_that_do_not_differ_leave_the_t_interval_over_the_seeds() -> None:
    per_seed = np.array([0.1, -0.2, 0.4])
    expected = statistics.mean_ci95(per_seed)
    assert crossed(np.repeat(per_seed[:, None], 7, axis=1)).interval() == pytest.approx(expected)
    assert crossed(per_seed[:, None]).interval() == pytest.approx(expected)


def test_one_seed_has_a_mean_and_no_interval() -> None:
    found = crossed([[0.1, 0.3]])
    assert found.mean == pytest.approx(0.2)
    assert np.isnan([*found.interval(), found.p_difference(), found.p_equivalence(1.0)]).all()


@pytest.mark.parametrize(
    ("value", "different", "equivalent"), [(0.2, 0, 1), (0.05, 0, 0), (0.0, 1, 0)]
)
def test_equal_differences_leave_no_doubt(value: float, different: int, equivalent: int) -> None:
    found = crossed(np.full((3, 4), value))
    assert found.interval() == pytest.approx((value, value))
    p_values = [found.p_difference(), found.p_equivalence(0.1)]
    assert p_values == pytest.approx([different, equivalent])


@given(tables)
@settings(max_examples=50, deadline=None)
def test_the_interval_turns_with_the_sign_and_ignores_the_order(table: np.ndarray) -> None:
    low, high = crossed(table).interval()
    assert crossed(-table).interval() == pytest.approx((-high, -low), abs=1e-12)
    assert crossed(table[::-1, ::-1]).interval() == pytest.approx((low, high), abs=1e-12)
    assert crossed(np.stack([table, table])).interval()[0] == pytest.approx([low, low], abs=1e-12)


@given(tables)
@settings(max_examples=50, deadline=None)
def test_the_standard_error_is_at_least_that_of_the_seeds_alone(table: np.ndarray) -> None:
    per_seed = table.mean(axis=1)
    assert crossed(table).sem >= statistics.std(per_seed) / len(table) ** 0.5 - 1e-12


@given(tables, st.floats(1e-3, 1.0))
@settings(max_examples=50, deadline=None)
def test_p_values_agree_with_the_intervals(table: np.ndarray, limit: float) -> None:
    found = crossed(table)
    low, high = found.interval()
    inner_low, inner_high = found.interval(0.90)
    for distance in (low, high, limit + inner_low, limit - inner_high):
        if abs(distance) < 1e-9:
            return
    assert (found.p_difference() < 0.05) == (low > 0 or high < 0)
    within = -limit < inner_low and inner_high < limit
    assert (found.p_equivalence(limit) < 0.05) == within


def test_neighboring_blocks_are_joined_from_twenty_on() -> None:
    few = np.random.default_rng(0).normal(size=(4, 10))
    assert crossed(np.repeat(few, 3, axis=1)).sem == pytest.approx(crossed(few).sem)


# ---- simulation


def draw(
    studies: int, shape: tuple[int, int], share: tuple[float, float], neighbors: float = 0.0
) -> np.ndarray:
    """Differences of mean 0, [studies, seeds, blocks].

    share: the variance that the mean owes to the seeds and to the blocks; each cell has noise of
    its own besides. neighbors: the correlation of the effects of two neighboring blocks.
    """
    random = np.random.default_rng(0)
    n_seeds, n_blocks = shape
    of_seeds = random.normal(0, (share[0] * n_seeds) ** 0.5, (studies, n_seeds, 1))
    of_blocks = random.normal(0, 1, (studies, 1, n_blocks))
    for block in range(1, n_blocks):
        new = (1 - neighbors**2) ** 0.5 * of_blocks[:, :, block]
        of_blocks[:, :, block] = neighbors * of_blocks[:, :, block - 1] + new
    of_blocks *= (share[1] * n_blocks) ** 0.5
    noise = random.normal(0, (0.1 * n_seeds * n_blocks) ** 0.5, (studies, n_seeds, n_blocks))
    return of_seeds + of_blocks + noise


def coverage(found: Estimate) -> float:
    low, high = found.interval()
    return float(((low < 0) & (high > 0)).mean())


@pytest.mark.parametrize("n_seeds", [3, 6, 10])
@pytest.mark.parametrize("share", [(1.0, 0.02), (1.0, 1.0), (0.02, 1.0)])
def test_coverage_is_near_95_percent_whatever_dominates(
    n_seeds: int, share: tuple[float, float]
) -> None:
    deltas = draw(4000, (n_seeds, 12), share)
    assert 0.93 < coverage(crossed(deltas)) < 0.97  # the standard error is 0.0035


def test_a_t_interval_over_the_seeds_misses_what_the_text_adds() -> None:
    per_seed = draw(4000, (6, 12), (0.02, 1.0)).mean(axis=2)
    p = stats.ttest_1samp(per_seed, 0.0, axis=1).pvalue
    assert (p > 0.05).mean() < 0.6
