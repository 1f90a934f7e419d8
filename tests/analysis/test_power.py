"""The power of the rule: known answers, and studies judged one by one."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from rope_spectra.analysis import power
from rope_spectra.analysis.verdicts import judge


@pytest.mark.parametrize(("contrasts", "floor"), [(1, 6), (2, 7), (5, 8)])
def test_the_floor_is_that_of_the_sign_flip_test_under_holm(contrasts: int, floor: int) -> None:
    assert power.fewest_seeds(contrasts) == floor
    assert power.seeds_needed(1.0, 0.001, contrasts) == floor
    assert power.power(1.0, 0.001, [floor - 1], contrasts) == 0
    assert power.power(1.0, 0.001, [floor], contrasts) == 1


@pytest.mark.parametrize(("contrasts", "seeds"), [(1, 11), (2, 13), (5, 16)])
def test_seeds_for_an_effect_of_one_standard_deviation(contrasts: int, seeds: int) -> None:
    assert power.seeds_needed(1.0, 1.0, contrasts) == seeds
    assert power.seeds_needed(-0.02, 0.02, contrasts) == seeds


def judged(
    effect: float, text: float, looks: Sequence[int], contrasts: int, studies: int = 600
) -> float:
    """The share of studies of noise 1 that `judge` calls worse; the other contrasts have no runs.

    text: the standard error that 12 blocks add.
    """
    random = np.random.default_rng(7)
    missing = [np.empty((0, 1))] * (contrasts - 1)
    found = 0
    for _ in range(studies):
        per_seed = random.normal(effect, 1, (looks[-1], 1))
        blocks = random.normal(0, text * 12**0.5, (1, 12)) if text else np.zeros((1, 1))
        finding = judge([per_seed + blocks, *missing], 0.01, looks)[0]
        found += finding.verdict.startswith("worse")
    return found / studies


@pytest.mark.parametrize(
    ("effect", "text", "looks", "contrasts"),
    [
        (1.0, 0.0, [8], 1),
        (1.0, 0.0, [10], 5),
        (1.5, 0.3, [9], 2),
        (1.0, 0.0, [8, 10, 12], 1),
    ],
)
def test_power_is_the_share_of_studies_that_the_rule_declares(
    effect: float, text: float, looks: list[int], contrasts: int
) -> None:
    expected = judged(effect, text, looks, contrasts)
    # Two standard errors of 600 studies are 0.04.
    assert power.power(effect, 1.0, looks, contrasts, text) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("n", [12, 13])
def test_random_subsets_do_as_well_as_all_of_them(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    power._needed_by_sign_flip.cache_clear()
    some = power.power(1.0, 1.0, [n], 2)
    monkeypatch.setattr(power, "EXACT_SEEDS", 13)
    power._needed_by_sign_flip.cache_clear()
    assert power.power(1.0, 1.0, [n], 2) == pytest.approx(some, abs=0.015)
    power._needed_by_sign_flip.cache_clear()


def test_with_many_seeds_the_rule_is_the_t_test() -> None:
    rule = power.power(0.5, 1.0, [60])
    assert rule == pytest.approx(power.t_test_power(0.5, 60, 0.05), abs=0.005)


def test_the_power_of_the_t_test_is_that_of_a_simulated_one() -> None:
    draws = np.random.default_rng(0).normal(0.9, 1.0, (20_000, 12))
    rejected = (stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05).mean()
    # The standard error is 0.003.
    assert power.t_test_power(0.9, 12, 0.05) == pytest.approx(rejected, abs=0.01)


def test_no_number_of_seeds_makes_up_for_too_little_text() -> None:
    assert power.seeds_needed(1.0, 1.0, text=0.1) in (11, 12)
    assert power.seeds_needed(1.0, 1.0, text=0.6) == np.inf


@pytest.mark.parametrize(
    ("deltas", "seeds"),
    [
        (np.empty((0, 1)), np.nan),
        ([[0.1]], np.nan),
        ([[0.1], [-0.1]], np.inf),
        ([[0.0], [0.0]], np.inf),
        ([[0.1], [0.1]], 6),
        ([[1.0 - 0.5**0.5], [1.0 + 0.5**0.5]], 11),
    ],
)
def test_seeds_for_80_percent_power_from_a_contrast(deltas: object, seeds: float) -> None:
    assert power.seeds_for_80pct_power(deltas) == pytest.approx(seeds, nan_ok=True)


def test_a_contrast_whose_text_varies_needs_more_seeds() -> None:
    per_seed = np.linspace(0.0, 0.02, 8)[:, None]
    blocks = np.random.default_rng(0).normal(0, 0.01, (1, 12))
    blocks -= blocks.mean()
    assert power.seeds_for_80pct_power(per_seed + blocks) > power.seeds_for_80pct_power(per_seed)
