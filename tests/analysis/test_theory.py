"""Rank correlations of diagnostics with measures: by hand, over seeds, and what is related."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rope_spectra.analysis.spectra_table import spectra_table
from rope_spectra.analysis.theory import correlation, groups, spearman, theory_table
from support.designs import make_design

GEO = [{"name": f"geo{k}", "family": "geometric", "theta": 10.0 ** (k + 2)} for k in range(5)]


def test_spearman_with_ties_as_worked_out_by_hand() -> None:
    # Ranks 1 2.5 2.5 4 and 2 1 3 4: deviations -1.5 0 0 1.5 and -0.5 -1.5 0.5 1.5;
    # 3 / sqrt(4.5 * 5).
    found = spearman([10, 20, 20, 30], [0.2, 0.1, 0.3, 0.4])
    assert found == pytest.approx(3 / np.sqrt(22.5))
    assert found == pytest.approx(stats.spearmanr([10, 20, 20, 30], [2, 1, 3, 4]).statistic)


def test_a_side_of_equal_values_has_no_order_and_infinite_values_are_the_last() -> None:
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))
    assert spearman([1, 2, np.inf], [5, 6, np.inf]) == pytest.approx(1)


def test_the_interval_is_over_the_seeds() -> None:
    values = [[1, 2, 3, 4], [1, 2, 4, 3], [2, 1, 3, 4]]
    found = correlation([1, 2, 3, 4], values)
    per_seed = np.array([1.0, 0.8, 0.8])
    assert found.spearman == pytest.approx(per_seed.mean())
    half = stats.t.isf(0.025, 2) * per_seed.std(ddof=1) / np.sqrt(3)
    assert (found.low, found.high) == pytest.approx((per_seed.mean() - half, 1))
    assert found.of_means == pytest.approx(1)
    assert found.n_seeds == 3
    assert np.isnan(correlation([1, 2, 3], [[1, 2, 3]]).low)
    assert correlation([1, 2, 3], np.empty((0, 3))).n_seeds == 0


@pytest.mark.parametrize(("seeds", "truth"), [(3, "steps"), (9, "null")])
def test_the_interval_covers_the_mean_coefficient_of_seeds(seeds: int, truth: str) -> None:
    """The numbers of docs/statistics.md; bootstrap and jackknife of the means miss theirs."""
    random = np.random.default_rng(seeds)
    means = np.repeat([0.0, 0.3, 1.0], 4) if truth == "steps" else np.zeros(12)
    diagnostic = np.arange(12)

    def draw(*size: int) -> np.ndarray:
        shared = random.standard_normal((*size, 1))
        return means + shared + 0.3 * random.standard_normal((*size, 12))

    expected = spearman(diagnostic, draw(5000)).mean()
    found = [correlation(diagnostic, study) for study in draw(400, seeds)]
    covered = np.mean([each.low <= expected <= each.high for each in found])
    assert 0.91 < covered < 0.99


def test_spectra_of_a_family_and_mixes_of_it_are_related() -> None:
    poly = {"family": "anchored_poly", "theta": 10_000}
    spectra = [
        {"name": "evq", "family": "evq_cosh", "theta": 10_000, "tau": 1.0},
        {"name": "poly", **poly},
        {"name": "geo", "family": "geometric", "theta": 10_000},
        {"name": "mid", "family": "midpoint", "theta": 10_000},
        {"name": "mix", "family": "mix", "alpha": 0.2, "a": GEO[0] | {"name": "a"}, "b": poly},
    ]
    del spectra[-1]["a"]["name"]
    design = make_design("evq", spectra=spectra, contrasts=[])
    assert groups(design.spectra) == [["evq"], ["poly", "geo", "mix"], ["mid"]]


def test_the_table_has_a_row_per_diagnostic_and_endpoint() -> None:
    design = make_design(
        "geo0",
        spectra=GEO,
        contrasts=[],
        primary={"metric": "degradation", "length": 128},
        retrieval={"trials": 10, "distractors": 9},
        seeds=[1, 2, 3],
        selection={"seeds": [3], "blocks": 0.5},
    )
    keys = [(k, seed) for k in range(5) for seed in (1, 2, 3)]
    runs = pd.DataFrame(
        {
            "spectrum": f"geo{k}",
            "seed": seed,
            "remap": "none",
            "protocol": "full",
            "length": 128,
            "ppl": 3.0,
            # The larger theta, the more it degrades; the selection says the opposite.
            "degradation": -k if seed == 3 else k + seed,
            "phase": "selection" if seed == 3 else "confirmation",
        }
        for k, seed in keys
    )
    found = {
        (f"geo{k}", seed, "none", 128): np.full(10, 1 - k / 10) for k, seed in keys if seed != 3
    }
    table = theory_table(design, spectra_table(design), runs, found)
    assert set(table["n_groups"]) == {1}
    assert set(table["groups"]) == {"geo0 geo1 geo2 geo3 geo4"}
    assert set(table["n_seeds"]) == {2}
    by_place = table.set_index(["measure", "diagnostic"])
    assert by_place.loc[("degradation", "wavelength_above_train"), "spearman"] == pytest.approx(1)
    assert by_place.loc[("degradation", "rotations_slowest"), "spearman"] == pytest.approx(-1)
    assert by_place.loc[("retrieval", "rotations_slowest"), "spearman"] == pytest.approx(1)
    assert by_place.loc[("degradation", "rotations_fastest"), "n_values"] == 1
    assert np.isnan(by_place.loc[("degradation", "rotations_fastest"), "spearman"])
