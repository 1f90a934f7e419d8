"""The tables of the retrieval probe."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.analysis import retrieval_table, statistics


def scores(right: int, trials: int = 20, gap: float = 2.0) -> np.ndarray:
    """NLL of 10 candidates a trial: the first `right` are right, the others miss by one word."""
    nll = np.full((trials, 10), 3.0 + gap)
    nll[:, 0] = 3.0
    nll[right:, 4] = 2.5
    return nll


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (5, 10, 0.2366, 0.7634),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilson_intervals_of_the_literature(
    successes: int, trials: int, low: float, high: float
) -> None:
    """To the four digits that are printed; the last one is in Newcombe (1998), table I."""
    assert statistics.wilson95(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_wilson_interval_holds_the_share_and_mirrors(case: tuple[int, int]) -> None:
    successes, trials = case
    low, high = statistics.wilson95(successes, trials)
    assert 0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1
    assert statistics.wilson95(trials - successes, trials) == pytest.approx(
        (1 - high, 1 - low), abs=1e-12
    )


def test_a_run_is_counted_with_its_intervals() -> None:
    row = retrieval_table.by_run({("geo", 1, "none", 64): scores(15)}).iloc[0]
    assert (row["trials"], row["chance"], row["correct"], row["accuracy"]) == (20, 0.1, 15, 0.75)
    assert (row["accuracy_wilson95_low"], row["accuracy_wilson95_high"]) == statistics.wilson95(
        15, 20
    )
    gaps = np.array([2.0] * 15 + [(8 * 2.0 - 0.5) / 9] * 5)
    assert row["nll_gap"] == pytest.approx(gaps.mean())
    assert (row["nll_gap_ci95_low"], row["nll_gap_ci95_high"]) == pytest.approx(
        statistics.mean_ci95(gaps)
    )


def test_a_tie_is_not_right() -> None:
    runs = retrieval_table.by_run({("geo", 1, "none", 64): np.zeros((5, 10))})
    assert runs.iloc[0]["correct"] == 0


def test_spectra_are_compared_on_the_seeds_that_both_have() -> None:
    nll = {("geo", seed, "none", 64): scores(right) for seed, right in [(1, 4), (2, 6), (3, 5)]}
    nll |= {
        ("hybrid", seed, "none", 64): scores(right, gap=3.0)
        for seed, right in [(2, 10), (3, 12), (4, 20)]
    }
    table = retrieval_table.summarize(retrieval_table.by_run(nll), "geo", ["hybrid"]).set_index(
        "spectrum"
    )
    assert table.loc["geo", ["n_seeds", "seeds", "baseline"]].tolist() == [3, "1 2 3", "geo"]
    assert table.loc["geo", "accuracy_mean"] == pytest.approx(0.25)
    assert table.loc["geo", "accuracy_std"] == pytest.approx(0.05)
    assert table.loc["geo", ["accuracy_wilson95_low", "accuracy_wilson95_high"]].tolist() == list(
        statistics.wilson95(15, 60)
    )
    assert np.isnan(table.loc["geo", "delta_accuracy"])
    hybrid = table.loc["hybrid"]
    assert (hybrid["n_pairs"], hybrid["wins"]) == (2, "2/2")
    assert hybrid["delta_accuracy"] == pytest.approx(np.mean([10 / 20 - 6 / 20, 12 / 20 - 5 / 20]))
    assert hybrid["p_sign_flip"] == 0.5
    assert (
        hybrid["delta_nll_gap_ci95_low"]
        < hybrid["delta_nll_gap"]
        < hybrid["delta_nll_gap_ci95_high"]
    )
