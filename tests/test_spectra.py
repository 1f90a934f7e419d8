"""The spectra of protocol.md section 2: golden values, ranges and what each family promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra import spectra

ANCHORED = {"family": "anchored_poly", "theta": 500_000.0, "p": 3.9, "omf": 0.3}
SIGMOID = {"family": "sigmoid", "theta": 100_000.0, "steepness": 8.0, "midpoint": 0.5, "omf": 0.3}
thetas = st.floats(2.0, 1e7)
fractions = st.floats(0.01, 1.0)


def geometric(theta: float) -> dict:
    return {"family": "geometric", "theta": theta}


def hybrid(alpha: float, theta: float = 100_000.0) -> dict:
    return {"family": "mix", "alpha": alpha, "a": geometric(theta), "b": {**ANCHORED, "theta": theta}}


GOLDEN = {  # inv_freq at head_dim 64, pairs 0, 1, 15 and 31, exact fp32
    "geo_500k": (geometric(500_000.0), ["0x1.0p+0", "0x1.53c38cp-1", "0x1.175482p-9", "0x1.94836p-19"]),
    "anchpoly_p3.9_omf0.3_t500k": (ANCHORED, ["0x1.0p+0", "0x1.fffd38p-1", "0x1.c2deecp-2", "0x1.e56a72p-21"]),
    "sig_s8_m0.5_omf0.3_t100k": (SIGMOID, ["0x1.99f686p-1", "0x1.8093c8p-1", "0x1.94a4cap-9", "0x1.684f64p-18"]),
    "hybrid_a0.2_t100k": (hybrid(0.2), ["0x1.0p+0", "0x1.843acp-1", "0x1.9a4418p-4", "0x1.9d859p-17"]),
    "mix_sig8t10k_geo500k_a0.2": (
        {"family": "mix", "alpha": 0.2, "a": geometric(500_000.0), "b": {**SIGMOID, "theta": 10_000.0}},
        ["0x1.eef2f8p-1", "0x1.60cde8p-1", "0x1.c538eap-9", "0x1.9302ep-17"],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values(name: str) -> None:
    definition, expected = GOLDEN[name]
    omega = spectra.inv_freq(definition, 64)
    assert omega.dtype == np.float32
    assert [float(omega[pair]) for pair in (0, 1, 15, 31)] == [float.fromhex(text) for text in expected]


@pytest.mark.parametrize(
    ("definition", "low", "high"),
    [(geometric(500_000.0), 3.01e-6, 1.0), (geometric(10_000.0), 1.33e-4, 1.0), (ANCHORED, 9.04e-7, 1.0)],
)
def test_ranges_of_the_protocol(definition: dict, low: float, high: float) -> None:
    omega = spectra.inv_freq(definition, 64)
    assert omega[0] == high
    assert omega[-1] == pytest.approx(low, rel=5e-3)  # the protocol gives three digits


@given(theta=thetas, pairs=st.integers(2, 128))
def test_geometric_is_standard_rope(theta: float, pairs: int) -> None:
    standard = 1.0 / theta ** (np.arange(0, 2 * pairs, 2) / (2 * pairs))
    np.testing.assert_allclose(spectra.geometric(pairs, theta), standard, rtol=1e-12)


@given(theta=thetas, p=st.floats(0.2, 8.0), omf=fractions, pairs=st.integers(2, 128))
def test_anchored_poly_keeps_both_ends_and_falls(theta: float, p: float, omf: float, pairs: int) -> None:
    omega = spectra.anchored_poly(pairs, theta, p, omf)
    assert omega[0] == pytest.approx(1.0)
    assert omega[-1] == pytest.approx(omf * spectra.geometric(pairs, theta)[-1])
    assert np.all(np.diff(omega) <= 0)


@given(theta=thetas, steepness=st.floats(1.0, 12.0), midpoint=st.floats(0.2, 0.8), omf=fractions)
def test_sigmoid_falls_and_is_not_anchored(theta: float, steepness: float, midpoint: float, omf: float) -> None:
    omega = spectra.sigmoid(32, theta, steepness, midpoint, omf)
    assert np.all(omega > 0)
    assert np.all(np.diff(omega) < 0)
    assert omega[0] < 1.0


@given(alpha=st.floats(0.0, 1.0))
def test_mix_is_linear_between_its_parts(alpha: float) -> None:
    a, b = spectra.geometric(32, 100_000.0), spectra.anchored_poly(32, 100_000.0, 3.9, 0.3)
    parts = hybrid(alpha)
    np.testing.assert_allclose(spectra.mix(32, alpha, parts["a"], parts["b"]), a + alpha * (b - a), rtol=1e-9)


def test_mix_ends_at_its_parts() -> None:
    assert np.array_equal(spectra.inv_freq(hybrid(0.0), 64), spectra.inv_freq(geometric(100_000.0), 64))
    assert np.array_equal(spectra.inv_freq(hybrid(1.0), 64), spectra.inv_freq({**ANCHORED, "theta": 100_000.0}, 64))


def test_values_are_taken_as_given() -> None:
    assert spectra.inv_freq({"family": "values", "inv_freq": [1.0, 0.5, 0.0]}, 6).tolist() == [1.0, 0.5, 0.0]
    with pytest.raises(ValueError, match="3 frequencies for 2 rotary pairs"):
        spectra.inv_freq({"family": "values", "inv_freq": [1.0, 0.5, 0.1]}, 4)


@given(st.lists(st.floats(1e-9, 1.0), min_size=1, max_size=64))
def test_snapping_changes_little_once_and_nothing_twice(omega: list[float]) -> None:
    snapped = spectra.snap(np.array(omega))
    np.testing.assert_allclose(snapped, omega, rtol=1.2e-7)
    assert np.array_equal(spectra.snap(snapped), snapped)
    factors = np.float32(1.0) / snapped
    assert np.array_equal(np.float32(1.0) / factors, snapped)
