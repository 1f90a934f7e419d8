"""The rule behind the verdicts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rope_spectra.analysis.verdicts import Finding, judge

MARGIN = 0.01


def seeds(mean: float, spread: float, n: int) -> np.ndarray:
    """Differences [n, 1] of exactly this mean and standard deviation."""
    values = np.arange(n) - (n - 1) / 2
    return (mean + spread * values / values.std(ddof=1))[:, None]


@pytest.mark.parametrize(
    ("mean", "spread", "n", "expected"),
    [
        (-0.1, 0.02, 6, "better"),
        (0.1, 0.02, 6, "worse"),
        (-0.1, 0.02, 5, "too few seeds"),
        (-0.005, 0.001, 6, "better, within the margin"),
        (0.005, 0.001, 6, "worse, within the margin"),
        (0.0, 0.001, 6, "equivalent"),
        (0.0, 0.001, 3, "equivalent"),
        (0.0, 0.0001, 2, "too few seeds"),
        (0.02, 0.1, 6, "cannot be told apart"),
        (0.02, 0.1, 1, "too few seeds"),
    ],
)
def test_the_verdict_on_one_contrast(mean: float, spread: float, n: int, expected: str) -> None:
    table = seeds(mean, spread, n) if n > 1 else np.array([[mean]])
    assert judge([table], MARGIN)[0].verdict == expected


@pytest.mark.parametrize(("contrasts", "needed"), [(1, 6), (2, 7), (5, 8)])
def test_more_contrasts_need_more_seeds(contrasts: int, needed: int) -> None:
    others = [np.empty((0, 1))] * (contrasts - 1)
    fewer = judge([seeds(-0.1, 0.01, needed - 1), *others], MARGIN)
    enough = judge([seeds(-0.1, 0.01, needed), *others], MARGIN)
    assert (fewer[0].verdict, enough[0].verdict) == ("too few seeds", "better")
    assert fewer[0].in_words() == (
        f"{needed - 1} of {needed - 1} seeds better; {needed - 1} seeds cannot make it significant"
    )


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (Finding("better", 6, 6), "better"),
        (Finding("too few seeds", 0, 0), "too few seeds"),
        (
            Finding("too few seeds", 3, 1),
            "2 of 3 seeds worse; 3 seeds cannot make it significant",
        ),
        (
            Finding("too few seeds", 1, 1),
            "1 of 1 seed better; 1 seed cannot make it significant",
        ),
    ],
)
def test_in_words(finding: Finding, words: str) -> None:
    assert finding.in_words() == words


def test_equivalence_is_corrected_for_the_family() -> None:
    close = seeds(0.0, 0.0115, 7)
    assert judge([close], MARGIN)[0].p_equivalence == pytest.approx(0.034, abs=0.003)
    assert judge([close, seeds(0.0, 0.1, 7)], MARGIN)[0].verdict == "cannot be told apart"


def test_text_that_varies_forbids_a_verdict_that_its_seeds_would_give() -> None:
    text = np.random.default_rng(0).normal(0.03, 0.1, 12)
    per_seed = seeds(0.0, 0.001, 8)
    assert judge([per_seed + text.mean()], MARGIN)[0].verdict == "worse"
    assert judge([per_seed + text], MARGIN)[0].verdict == "cannot be told apart"


def test_a_missing_seed_is_left_out() -> None:
    whole = seeds(-0.1, 0.02, 7)
    gap = np.insert(whole, 3, np.nan, axis=0)
    assert judge([gap], MARGIN) == judge([whole], MARGIN)


def test_a_verdict_of_an_early_look_stands() -> None:
    strong = seeds(-0.1, 0.02, 8)
    later = np.concatenate([strong, [[0.5], [0.5]]])
    plan = [8, 10]
    early = judge([strong], MARGIN, plan)[0]
    assert early.verdict == judge([later], MARGIN, plan)[0].verdict == "better"
    assert judge([later], MARGIN)[0].verdict == "cannot be told apart"
    # An arm that has stopped leaves the others their looks.
    stopped, other = judge([strong, seeds(0.1, 0.02, 10)], MARGIN, plan)
    assert (stopped.verdict, other.verdict) == ("better", "worse")


def test_a_stopped_arm_is_not_tested_again_at_the_level_of_a_later_look() -> None:
    plan = [8, 10, 12]
    # Its p of 4 / 256 is above the level 0.0148 of the look at 8, and below 0.0211 of that at 12.
    eight = np.array([[-0.001], *([0.1 + 0.001 * i] for i in range(7))])
    other = seeds(-0.1, 0.02, 12)
    assert judge([eight, other], MARGIN, [8])[0].p_difference == pytest.approx(4 / 256)
    stopped, decided = judge([eight, other], MARGIN, plan)
    assert (stopped.verdict, stopped.p_difference) == ("too few seeds", 1)
    assert decided.verdict == "better"


def test_a_look_that_has_not_taken_place_decides_nothing() -> None:
    assert judge([seeds(-0.1, 0.02, 7)], MARGIN, [8, 10])[0].seeds == 0
    nine = seeds(-0.1, 0.02, 9)
    assert judge([nine], MARGIN, [8, 10]) == judge([nine[:8]], MARGIN, [8, 10])


@given(st.lists(st.floats(-0.1, 0.1), min_size=1, max_size=9), st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_swapping_the_two_arms_turns_the_verdict(values: list[float], blocks: int) -> None:
    table = np.array(values)[:, None] + np.linspace(-0.01, 0.01, blocks)
    there, back = judge([table], MARGIN)[0], judge([-table], MARGIN)[0]
    opposite = back.verdict.replace("better", "?").replace("worse", "better").replace("?", "worse")
    assert there.verdict == opposite
    assert there.p_difference == pytest.approx(back.p_difference, nan_ok=True)
