"""Curves of log wavelength through knots: their limits, their inverse, what they can describe."""

import math

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator
from scipy.optimize import least_squares

from rope_spectra.rope import curve
from rope_spectra.rope.families import NamedSpectrum
from rope_spectra.rope.frequencies import geometric, wavelengths
from support.checkout import ROOT

points = st.lists(st.floats(0, 1), min_size=2, max_size=8)
bounds = st.tuples(st.floats(1, 100), st.floats(1.5, 1e6)).map(lambda b: (b[0], b[0] * b[1]))


@given(point=points, bounds=bounds)
def test_every_point_of_the_box_is_a_curve_within_the_bounds(
    point: list[float], bounds: tuple[float, float]
) -> None:
    knots = curve.from_unit(point, *bounds)
    assert (np.diff(knots) >= 0).all()
    assert knots.min() >= bounds[0] * (1 - 1e-9)
    assert knots.max() <= bounds[1] * (1 + 1e-9)


@given(
    point=points,
    bounds=bounds,
    pairs=st.integers(1, 64),
    stilled=st.floats(0, 1),
)
def test_frequencies_fall_between_those_of_the_first_and_the_last_knot(
    point: list[float], bounds: tuple[float, float], pairs: int, stilled: float
) -> None:
    knots = curve.from_unit(point, *bounds)
    omega = curve.inv_freq(knots, pairs, stilled)
    still = curve.stilled_pairs(stilled, pairs)
    assert len(omega) == pairs
    assert np.count_nonzero(omega == 0) == still
    assert (np.diff(omega) <= 1e-12).all()
    rotating = wavelengths(omega)[: pairs - still]
    assert (rotating >= knots[0] * (1 - 1e-9)).all()
    assert (rotating <= knots[-1] * (1 + 1e-9)).all()


def test_even_points_of_the_box_are_even_curves() -> None:
    """Knot i of n lies at (i + 1) / (n + 1) on average, as of n sorted even numbers."""
    box = np.random.default_rng(0).uniform(size=(20_000, 4))
    heights = np.log2([curve.from_unit(point, 1, 2) for point in box])
    assert heights.mean(axis=0) == pytest.approx([0.2, 0.4, 0.6, 0.8], abs=0.01)
    assert (heights < 0.5).mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("theta", [128, 10_000, 500_000])
@pytest.mark.parametrize("n", [2, 3, 6])
def test_evenly_spaced_knots_are_a_geometric_spectrum(theta: float, n: int) -> None:
    omega = geometric(16, theta)
    knots = np.geomspace(2 * math.pi, 2 * math.pi / omega[-1], n)
    assert curve.inv_freq(knots, 16) == pytest.approx(omega, rel=1e-12)


def test_known_answers() -> None:
    assert wavelengths(curve.inv_freq([8, 128], 5)) == pytest.approx([8, 16, 32, 64, 128])
    # Half of the pairs stand still: the knots span the others.
    assert wavelengths(curve.inv_freq([8, 128], 6, 0.5)[:3]) == pytest.approx([8, 32, 128])
    assert curve.inv_freq([8, 128], 6, 0.5)[3:].tolist() == [0, 0, 0]
    assert wavelengths(curve.inv_freq([8, 128], 1)) == pytest.approx([8])
    assert curve.inv_freq([8, 128], 4, 1.0).tolist() == [0, 0, 0, 0]
    # PCHIP keeps flat pieces flat and does not overshoot.
    flat = wavelengths(curve.inv_freq([8, 8, 64, 64], 7))
    assert flat[[0, 1, 2, 4, 5, 6]] == pytest.approx([8, 8, 8, 64, 64, 64])
    assert flat[3] == pytest.approx(math.sqrt(8 * 64))


@pytest.mark.parametrize("knots", [[8], [8, 4], [8, 16, 15]])
def test_what_is_no_curve_is_refused(knots: list[float]) -> None:
    with pytest.raises(ValueError, match="none below the one before"):
        curve.inv_freq(knots, 8)


def named(head_dim: int, train_length: int) -> dict[str, np.ndarray]:
    """The spectra of config.yaml with a pair that rotates, in float64."""
    spectra = {}
    for name, definition in yaml.safe_load((ROOT / "config.yaml").read_text())["spectra"].items():
        spectrum = NamedSpectrum.model_validate({"name": "x", **definition})
        omega = spectrum.shape.completed(head_dim, train_length).omega(head_dim // 2)
        if omega.any():
            spectra[name] = omega
    return spectra


def distance(omega: np.ndarray, n: int) -> float:
    """The root mean square of the log wavelengths of a spectrum less the nearest curve, in nats."""
    log_wavelength = np.log(wavelengths(omega[omega > 0]))
    t, places = np.linspace(0, 1, len(log_wavelength)), np.linspace(0, 1, n)

    def error(steps: np.ndarray) -> np.ndarray:
        knots = np.cumsum([steps[0], *np.abs(steps[1:])])
        return PchipInterpolator(places, knots)(t) - log_wavelength

    start = np.interp(places, t, log_wavelength)
    return float(np.sqrt(np.mean(least_squares(error, np.diff(start, prepend=0)).fun ** 2)))


# Root mean square difference of the wavelengths, in percent, with five knots; of all others it is
# below 13. What has a corner or an end that falls to 0 is the hardest.
HARDEST = {"hybrid_a0.2_t500k": 18, "hybrid_a0.2_t100k": 15, "cope_soft_10k": 17, "llama3": 27}


@pytest.mark.parametrize(("head_dim", "train_length"), [(32, 128), (64, 2048)])
def test_five_knots_describe_every_named_spectrum(head_dim: int, train_length: int) -> None:
    """Every one to within 3 % of the range of its log wavelengths, and these wavelengths so far."""
    for name, omega in named(head_dim, train_length).items():
        off = distance(omega, 5)
        spread = np.ptp(np.log(wavelengths(omega[omega > 0])))
        assert off < 0.03 * spread, name
        assert 100 * off < HARDEST.get(name, 13), name
