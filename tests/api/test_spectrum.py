"""Spectra in Python: of the library, of a definition, and mistakes in one line."""

import numpy as np
import pytest

import rope_spectra as rs
from rope_spectra.runtime.errors import UserError
from support.checkout import ROOT

LIBRARY = ROOT / "config.yaml"


def test_a_spectrum_of_the_library_and_its_definition_are_the_same() -> None:
    by_name = rs.spectrum("geo_500k", config=LIBRARY)
    written = rs.spectrum({"family": "geometric", "theta": 500_000})
    assert (by_name.name, written.name) == ("geo_500k", "geometric")
    assert np.array_equal(by_name.inv_freq, written.inv_freq)
    expected = 500_000.0 ** (-np.arange(32) / 32)
    np.testing.assert_allclose(written.inv_freq, expected, rtol=1e-6)
    np.testing.assert_allclose(written.wavelengths, 2 * np.pi / expected, rtol=1e-6)
    assert rs.spectrum({"family": "nope"}, name="still").name == "still"
    assert written.diagnosis(16384)["critical_dimension"] == 30


def test_the_training_length_fills_in_what_a_definition_leaves_open() -> None:
    short = rs.spectrum("geo_L", train_length=128, head_dim=32, config=LIBRARY)
    assert len(short.inv_freq) == 16
    assert short.definition.shape.theta == 128


@pytest.mark.parametrize(
    ("definition", "sizes", "message"),
    [
        ("geo_50k", {}, r"config\.yaml: unknown spectrum 'geo_50k'; did you mean"),
        ({"family": "geometrik"}, {}, "geometric"),
        ({"family": "geometric"}, {}, r"^spectra\.geometric: .*theta"),
        ({"family": "geometric", "theta": -1}, {}, r"^spectra\.geometric\.theta: "),
        ({"family": "values", "inv_freq": [1, 0.5]}, {}, r"^spectra\.values: "),
        ("geo_500k", {"train_length": 0}, "train_length: 0 is no length"),
        ({"family": "nope"}, {"head_dim": 7}, "head_dim: 7 does not make whole pairs"),
    ],
)
def test_a_mistake_is_one_line(definition, sizes, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        rs.spectrum(definition, config=LIBRARY, **sizes)
    assert "\n" not in str(error.value)
