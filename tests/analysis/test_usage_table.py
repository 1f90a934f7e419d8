"""The tables of what models use, from arrays that are made up."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.analysis import statistics, usage_table
from rope_spectra.evaluation.perplexity import bin_edges
from rope_spectra.evaluation.usage import attention_by_distance
from support.used import made_up_usage

OMEGA = {"a": np.array([1.0, 0.5, 0.1, 0.0])}
TRAINED = 16  # pair 2 has a wavelength of 62.8 tokens


def usage_of(costs: list[float], together: list[float]) -> usage_table.Arrays:
    """Arrays with these costs in length, of each pair and of it with all slower ones."""
    trained = np.array([2.0, 3.0])
    return made_up_usage(TRAINED, pairs=4) | {
        "trained/in_length": trained,
        "stilled/in_length": trained + np.array(costs)[:, None],
        "slower/in_length": trained + np.array(together)[:, None],
    }


def test_costs_are_counted_by_the_rise_of_the_perplexity() -> None:
    costs = [np.log(1.0201), np.log(1.0199), np.log(1.0021), -0.3]
    pairs = usage_table.by_pair({("a", 1): usage_of(costs, [0.5, 0.25, 0.125, 0.0])}, OMEGA)
    np.testing.assert_allclose(pairs["cost_in_length"], costs)
    np.testing.assert_allclose(pairs["wavelength"], [6.2832, 12.566, 62.832, np.inf], rtol=1e-4)
    (run,) = usage_table.by_run(pairs, TRAINED).to_dict("records")
    assert run["used_20_permille_in_length"] == 1
    assert run["used_2_permille_in_length"] == 3
    assert run["pairs"] == 4
    assert run["never_turning"] == 2
    # Stilling pair 2 takes the slower pair 3 with it.
    assert run["cost_never_turning_in_length"] == pytest.approx(0.125)


def test_without_slow_pairs_stilling_them_costs_nothing() -> None:
    pairs = usage_table.by_pair({("a", 1): usage_of([0.1] * 4, [0.2] * 4)}, {"a": np.ones(4)})
    (run,) = usage_table.by_run(pairs, TRAINED).to_dict("records")
    assert (run["never_turning"], run["cost_never_turning_in_length"]) == (0, 0.0)


def test_norms_are_root_mean_squares_over_layers_and_heads() -> None:
    arrays = made_up_usage(TRAINED, pairs=4)
    pairs = usage_table.by_pair({("a", 1): arrays}, OMEGA)
    expected = np.sqrt((arrays["norm/k"].reshape(4, 4) ** 2).mean(axis=0))
    np.testing.assert_allclose(pairs["k_norm"], expected)


def test_the_summary_is_over_seeds_with_t_intervals() -> None:
    usages = {("a", seed): made_up_usage(TRAINED, pairs=4, seed=seed) for seed in (1, 2, 3)}
    pairs = usage_table.by_pair(usages, OMEGA)
    runs = usage_table.by_run(pairs, TRAINED)
    table = usage_table.summarize(pairs, runs)
    assert len(table) == 4
    assert set(table["seeds"]) == {"1 2 3"}
    for name in usage_table.MEASURES:
        values = pairs[pairs["pair"] == 2][name]
        row = table.iloc[2]
        assert row[f"{name}_mean"] == pytest.approx(values.mean())
        interval = (row[f"{name}_ci95_low"], row[f"{name}_ci95_high"])
        assert interval == pytest.approx(statistics.mean_ci95(values))
    used = runs["used_20_permille_beyond"].astype(float).mean()
    assert (table["used_20_permille_beyond_mean"] == used).all()


def test_what_was_not_measured_is_empty_and_not_zero() -> None:
    arrays = made_up_usage(TRAINED, pairs=4)
    inside = {name: table for name, table in arrays.items() if not name.endswith("beyond")}
    pairs = usage_table.by_pair({("a", 1): inside}, OMEGA)
    runs = usage_table.by_run(pairs, TRAINED)
    assert pairs["cost_beyond"].isna().all()
    assert runs["used_2_permille_beyond"].isna().all()
    assert runs["cost_never_turning_beyond"].isna().all()
    assert usage_table.summarize(pairs, runs)["used_2_permille_beyond_mean"].isna().all()


def test_attention_keeps_its_mass_and_its_layers() -> None:
    usages = {("a", seed): made_up_usage(TRAINED, pairs=4, seed=seed) for seed in (1, 2)}
    table = usage_table.attention_summary(usage_table.attention(usages))
    assert set(table["length"]) == {TRAINED, 2 * TRAINED}
    assert set(table["layer"]) == {0, 1}
    masses = table.groupby(["length", "layer"])["mass_mean"].sum()
    np.testing.assert_allclose(masses, 1.0)
    mean = (usages["a", 1]["attention/16"][1] + usages["a", 2]["attention/16"][1]) / 2
    found = table[(table["length"] == 16) & (table["layer"] == 1)]
    np.testing.assert_allclose(found["mass_mean"], mean)


@given(length=st.integers(1, 200), trained=st.integers(1, 200))
def test_uniform_attention_is_that_of_a_model_without_queries(length: int, trained: int) -> None:
    edges = bin_edges(length, trained)
    nothing = torch.zeros(1, length, 2)
    expected = attention_by_distance(nothing, nothing, edges) / length
    np.testing.assert_allclose(usage_table.uniform_attention(edges), expected, rtol=1e-5)
    assert usage_table.uniform_attention(edges).sum() == pytest.approx(1)
