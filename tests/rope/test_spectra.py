"""The spectra of protocol.md section 2: golden values, ranges and what each family promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra import spectra
from rope_spectra.config import spectra as config_spectra
from rope_spectra.rope.diagnostics import wavelengths
from rope_spectra.rope.families import (
    FAMILIES,
    anchored_poly,
    evq_cosh,
    midpoint,
    mix,
    ntk,
    resonance,
    sigmoid,
    slowed,
    truncate,
)
from rope_spectra.rope.families import geometric as standard

ANCHORED = {"family": "anchored_poly", "theta": 500_000.0, "p": 3.9, "omf": 0.3}
SIGMOID = {"family": "sigmoid", "theta": 100_000.0, "steepness": 8.0, "midpoint": 0.5, "omf": 0.3}
thetas = st.floats(2.0, 1e7)
fractions = st.floats(0.01, 1.0)


def geometric(theta: float) -> dict:
    return {"family": "geometric", "theta": theta}


def hybrid(alpha: float, theta: float = 100_000.0) -> dict:
    return {
        "family": "mix",
        "alpha": alpha,
        "a": geometric(theta),
        "b": {**ANCHORED, "theta": theta},
    }


# inv_freq at head_dim 64, training length 2048, pairs 0, 1, 15 and 31, exact fp32; those after the mixes were checked against
# the same formulas in 50 digits.
GOLDEN = {
    "geo_500k": (
        geometric(500_000.0),
        ["0x1.0p+0", "0x1.53c38cp-1", "0x1.175482p-9", "0x1.94836p-19"],
    ),
    "anchpoly_p3.9_omf0.3_t500k": (
        ANCHORED,
        ["0x1.0p+0", "0x1.fffd38p-1", "0x1.c2deecp-2", "0x1.e56a72p-21"],
    ),
    "sig_s8_m0.5_omf0.3_t100k": (
        SIGMOID,
        ["0x1.99f686p-1", "0x1.8093c8p-1", "0x1.94a4cap-9", "0x1.684f64p-18"],
    ),
    "hybrid_a0.2_t100k": (
        hybrid(0.2),
        ["0x1.0p+0", "0x1.843acp-1", "0x1.9a4418p-4", "0x1.9d859p-17"],
    ),
    "mix_sig8t10k_geo500k_a0.2": (
        {
            "family": "mix",
            "alpha": 0.2,
            "a": geometric(500_000.0),
            "b": {**SIGMOID, "theta": 10_000.0},
        },
        ["0x1.eef2f8p-1", "0x1.60cde8p-1", "0x1.c538eap-9", "0x1.9302ep-17"],
    ),
    "midpoint_500k": (
        {"family": "midpoint", "theta": 500_000.0},
        ["0x1.a11582p-1", "0x1.14c708p-1", "0x1.c7182p-10", "0x1.4985fep-19"],
    ),
    "evq_500k": (
        {"family": "evq_cosh", "theta": 500_000.0, "tau": None},
        ["0x1.c1c3bp-1", "0x1.595ef6p-1", "0x1.cc2404p-8", "0x1.635b18p-19"],
    ),
    "truncated_500k": (
        {"family": "truncate", "of": geometric(500_000.0), "length": None},
        ["0x1.0p+0", "0x1.53c38cp-1", "0x0.0p+0", "0x0.0p+0"],
    ),
    "ntk8_10k": (
        {"family": "ntk", "theta": 10_000.0, "factor": 8.0},
        ["0x1.0p+0", "0x1.670938p-1", "0x1.3f85a8p-8", "0x1.17a8e4p-16"],
    ),
    "resonance_500k": (
        {"family": "resonance", "of": geometric(500_000.0), "length": None},
        ["0x1.0c1524p+0", "0x1.657184p-1", "0x1.175482p-9", "0x1.94836p-19"],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values(name: str) -> None:
    definition, expected = GOLDEN[name]
    omega = spectra.inv_freq(config_spectra.completed(definition, 64, 2048), 64)
    assert omega.dtype == np.float32
    assert [float(omega[pair]) for pair in (0, 1, 15, 31)] == [
        float.fromhex(text) for text in expected
    ]


def test_every_family_has_a_golden_value() -> None:
    assert {definition["family"] for definition, _ in GOLDEN.values()} | {"values"} == set(FAMILIES)


@pytest.mark.parametrize(
    ("definition", "low", "high"),
    [
        (geometric(500_000.0), 3.01e-6, 1.0),
        (geometric(10_000.0), 1.33e-4, 1.0),
        (ANCHORED, 9.04e-7, 1.0),
    ],
)
def test_ranges_of_the_protocol(definition: dict, low: float, high: float) -> None:
    omega = spectra.inv_freq(definition, 64)
    assert omega[0] == high
    assert omega[-1] == pytest.approx(low, rel=5e-3)  # the protocol gives three digits


@given(theta=thetas, pairs=st.integers(2, 128))
def test_geometric_is_standard_rope(theta: float, pairs: int) -> None:
    expected = 1.0 / theta ** (np.arange(0, 2 * pairs, 2) / (2 * pairs))
    np.testing.assert_allclose(standard(pairs, theta), expected, rtol=1e-12)


@given(theta=thetas, p=st.floats(0.2, 8.0), omf=fractions, pairs=st.integers(2, 128))
def test_anchored_poly_keeps_both_ends_and_falls(
    theta: float, p: float, omf: float, pairs: int
) -> None:
    omega = anchored_poly(pairs, theta, p, omf)
    assert omega[0] == pytest.approx(1.0)
    assert omega[-1] == pytest.approx(omf * standard(pairs, theta)[-1])
    assert np.all(np.diff(omega) <= 0)


@given(theta=thetas, steepness=st.floats(1.0, 12.0), midpoint=st.floats(0.2, 0.8), omf=fractions)
def test_sigmoid_falls_and_is_not_anchored(
    theta: float, steepness: float, midpoint: float, omf: float
) -> None:
    omega = sigmoid(32, theta, steepness, midpoint, omf)
    assert np.all(omega > 0)
    assert np.all(np.diff(omega) < 0)
    assert omega[0] < 1.0


@given(alpha=st.floats(0.0, 1.0))
def test_mix_is_linear_between_its_parts(alpha: float) -> None:
    a, b = standard(32, 100_000.0), anchored_poly(32, 100_000.0, 3.9, 0.3)
    parts = hybrid(alpha)
    np.testing.assert_allclose(
        mix(32, alpha, parts["a"], parts["b"]), a + alpha * (b - a), rtol=1e-9
    )


def test_mix_ends_at_its_parts() -> None:
    assert np.array_equal(
        spectra.inv_freq(hybrid(0.0), 64), spectra.inv_freq(geometric(100_000.0), 64)
    )
    assert np.array_equal(
        spectra.inv_freq(hybrid(1.0), 64), spectra.inv_freq({**ANCHORED, "theta": 100_000.0}, 64)
    )


def test_values_are_taken_as_given() -> None:
    assert spectra.inv_freq({"family": "values", "inv_freq": [1.0, 0.5, 0.0]}, 6).tolist() == [
        1.0,
        0.5,
        0.0,
    ]
    with pytest.raises(ValueError, match="3 frequencies for 2 rotary pairs"):
        spectra.inv_freq({"family": "values", "inv_freq": [1.0, 0.5, 0.1]}, 4)


@given(theta=thetas, tau=st.floats(1e-6, 20.0), pairs=st.integers(1, 128))
def test_midpoint_and_evq_cosh_fall_between_one_and_the_end_of_theta(
    theta: float, tau: float, pairs: int
) -> None:
    for omega in (midpoint(pairs, theta), evq_cosh(pairs, theta, tau)):
        assert np.all(np.diff(omega) < 0)
        assert np.all((1 / theta < omega) & (omega < 1))


@given(theta=thetas, pairs=st.integers(1, 128), tau=st.floats(1e-6, 1e-5))
def test_evq_cosh_without_tau_is_the_midpoint_grid(theta: float, pairs: int, tau: float) -> None:
    np.testing.assert_allclose(evq_cosh(pairs, theta, tau), midpoint(pairs, theta), rtol=1e-8)


@given(theta=thetas, tau=st.floats(0.1, 10.0), more=st.floats(1.01, 3.0))
def test_a_larger_tau_makes_every_pair_faster(theta: float, tau: float, more: float) -> None:
    assert np.all(evq_cosh(32, theta, more * tau) > evq_cosh(32, theta, tau))


def test_tau_is_by_default_that_of_the_experiment() -> None:
    open_tau = {"family": "evq_cosh", "theta": 500_000.0, "tau": None}
    assert config_spectra.completed(open_tau, 64, 2048)["tau"] == pytest.approx(2**0.5, rel=1e-15)
    assert config_spectra.completed({**open_tau, "tau": 3.0}, 64, 2048)["tau"] == 3.0


@given(theta=thetas, length=st.integers(1, 10**6), pairs=st.integers(1, 128))
def test_truncation_stops_exactly_the_pairs_with_longer_waves(
    theta: float, length: int, pairs: int
) -> None:
    full = standard(pairs, theta)
    cut = truncate(pairs, geometric(theta), length)
    kept = wavelengths(full) <= length
    assert np.array_equal(cut, np.where(kept, full, 0.0))
    assert np.array_equal(
        truncate(pairs, {"family": "values", "inv_freq": cut.tolist()}, length), cut
    )


@given(theta=thetas, factor=st.floats(1.0, 64.0), pairs=st.integers(2, 128))
def test_ntk_is_geometric_of_a_larger_theta(theta: float, factor: float, pairs: int) -> None:
    dimensions = 2 * pairs
    expected = standard(pairs, theta * factor ** (dimensions / (dimensions - 2)))
    np.testing.assert_allclose(ntk(pairs, theta, factor), expected, rtol=1e-12)
    assert ntk(pairs, theta, 1.0).tolist() == standard(pairs, theta).tolist()


def test_ntk_of_one_pair_changes_nothing() -> None:
    assert slowed(np.array([1.0]), 8.0).tolist() == [1.0]


@given(theta=thetas, length=st.integers(1, 10**6), pairs=st.integers(1, 128))
def test_resonance_rounds_the_trained_wavelengths_and_leaves_the_others(
    theta: float, length: int, pairs: int
) -> None:
    before = standard(pairs, theta)
    after = resonance(pairs, geometric(theta), length)
    trained = wavelengths(before) <= length
    np.testing.assert_allclose(
        wavelengths(after)[trained], np.round(wavelengths(before)[trained]), rtol=1e-12
    )
    assert np.array_equal(after[~trained], before[~trained])
    assert np.all(np.diff(after) <= 0)


def test_resonance_keeps_still_pairs_still_and_no_wave_shorter_than_a_token() -> None:
    omega = resonance(3, {"family": "values", "inv_freq": [20.0, 1.0, 0.0]}, 100)
    assert omega.tolist() == [2 * np.pi, 2 * np.pi / 6, 0.0]


@given(name=st.sampled_from(sorted(GOLDEN)), pairs=st.integers(1, 64), length=st.integers(2, 10**5))
def test_every_spectrum_is_finite_not_negative_and_snapped(
    name: str, pairs: int, length: int
) -> None:
    omega = spectra.inv_freq(
        config_spectra.completed(GOLDEN[name][0], 2 * pairs, length), 2 * pairs
    )
    assert omega.shape == (pairs,)
    assert np.all(np.isfinite(omega) & (omega >= 0))
    assert "truncate" in GOLDEN[name][0]["family"] or np.all(omega > 0)
    assert np.array_equal(spectra.snap(omega), omega)


@given(st.lists(st.just(0.0) | st.floats(1e-9, 1.0), min_size=1, max_size=64))
def test_snapping_changes_little_once_and_nothing_twice(omega: list[float]) -> None:
    snapped = spectra.snap(np.array(omega))
    np.testing.assert_allclose(snapped, omega, rtol=1.2e-7)
    assert np.array_equal(spectra.snap(snapped), snapped)
    rotating = snapped[snapped > 0]
    factors = np.float32(1.0) / rotating
    assert np.array_equal(np.float32(1.0) / factors, rotating)
