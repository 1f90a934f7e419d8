"""Points of a search space: their coordinates and their spectra."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.rope.families import NamedSpectrum
from rope_spectra.rope.frequencies import wavelengths
from rope_spectra.search.space import Space

SPACE = Space(knots=5, shortest=4, longest=2048, stilled=(0.0, 0.5))
unit = st.floats(0, 1)
points = st.lists(unit, min_size=6, max_size=6)


def test_the_coordinates_are_the_knots_and_the_share_unless_it_is_fixed() -> None:
    assert SPACE.names == ["knot0", "knot1", "knot2", "knot3", "knot4", "stilled"]
    fixed = Space(knots=2, shortest=4, longest=64, stilled=(0.25, 0.25))
    assert fixed.names == ["knot0", "knot1"]
    assert fixed.shape([0, 1]).stilled == 0.25
    assert fixed.inv_freq([0, 1], 4)[-1] == 0


@given(point=points, pairs=st.sampled_from([8, 16, 32, 64]))
def test_every_point_is_a_spectrum_that_can_be_trained(point: list[float], pairs: int) -> None:
    values = SPACE.inv_freq(point, pairs)
    spectrum = {"name": "c00", "family": "values", "inv_freq": values}
    omega = NamedSpectrum.model_validate(spectrum).inv_freq(2 * pairs)
    assert (np.diff(omega) <= 0).all()
    rotating = wavelengths(omega[omega > 0])
    assert len(rotating) >= pairs / 2
    assert rotating.min() > 3.999
    assert rotating.max() < 2049


def test_frequencies_have_six_digits_and_known_values() -> None:
    # Wavelengths 8 to 128: each of the five knots takes one of the doublings that are left of nine.
    left = {5: 8 / 9, 4: 7 / 8, 3: 6 / 7, 2: 5 / 6, 1: 4 / 5}
    geometric = [*(1 - share**knots for knots, share in left.items()), 0.0]
    assert SPACE.inv_freq(geometric, 5) == [0.785398, 0.392699, 0.19635, 0.0981748, 0.0490874]
