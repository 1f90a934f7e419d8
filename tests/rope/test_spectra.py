"""The spectra of docs/protocol.md section 2: golden values, ranges, promises of each family."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rope_spectra.rope import remaps
from rope_spectra.rope.families import (
    AnchoredPoly,
    EvqCosh,
    Family,
    Geometric,
    Llama3,
    LogSpaced,
    LongRope,
    Midpoint,
    Mix,
    NamedSpectrum,
    Ntk,
    Partial,
    Resonance,
    Sigmoid,
    Stilled,
    Taper,
    Truncate,
    Values,
)
from rope_spectra.rope.frequencies import slowed, snap, wavelengths

ANCHORED = {"family": "anchored_poly", "theta": 500_000.0, "p": 3.9, "omf": 0.3}
SIGMOID = {"family": "sigmoid", "theta": 100_000.0, "steepness": 8.0, "midpoint": 0.5, "omf": 0.3}
thetas = st.floats(2.0, 1e7)
fractions = st.floats(0.01, 1.0)


def geometric(theta: float) -> dict:
    return {"family": "geometric", "theta": theta}


def standard(theta: float) -> Geometric:
    return Geometric(family="geometric", theta=theta)


def values(omega: list[float]) -> Values:
    return Values(family="values", inv_freq=omega)


def midpoint(theta: float) -> Midpoint:
    return Midpoint(family="midpoint", theta=theta)


def evq_cosh(theta: float, tau: float | None) -> EvqCosh:
    return EvqCosh(family="evq_cosh", theta=theta, tau=tau)


def ntk(theta: float, factor: float) -> Ntk:
    return Ntk(family="ntk", theta=theta, factor=factor)


def truncate(of: Family, length: int) -> Truncate:
    return Truncate(family="truncate", of=of, length=length)


def resonance(of: Family, length: int) -> Resonance:
    return Resonance(family="resonance", of=of, length=length)


def hybrid(alpha: float, theta: float = 100_000.0) -> dict:
    return {
        "family": "mix",
        "alpha": alpha,
        "a": geometric(theta),
        "b": {**ANCHORED, "theta": theta},
    }


def inv_freq(definition: dict, head_dim: int, train_length: int = 2048) -> np.ndarray:
    """The spectrum of a definition in config.yaml, as a model of these sizes trains it."""
    shape = NamedSpectrum.model_validate({"name": "x", **definition}).shape
    completed = shape.completed(head_dim, train_length)
    return NamedSpectrum(name="x", shape=completed).inv_freq(head_dim)


# inv_freq at head_dim 64, training length 2048, pairs 0, 1, 15 and 31, exact fp32; those after the
# mixes were checked against the same formulas in 50 digits.
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
    "geo_L": (
        {"family": "geometric", "theta": "train_length"},
        ["0x1.0p+0", "0x1.93737cp-1", "0x1.cb720cp-6", "0x1.44e086p-11"],
    ),
    "half_truncated": (
        {"family": "partial", "share": 0.5, "of": {"family": "log_spaced", "theta": 1024.0}},
        ["0x1.0p+0", "0x1.428a3p-1", "0x1.0p-10", "0x0.0p+0"],
    ),
    "log_spaced_1024": (
        {"family": "log_spaced", "theta": 1024.0},
        ["0x1.0p+0", "0x1.996a2ep-1", "0x1.1e480cp-5", "0x1.0p-10"],
    ),
    "cope_soft_10k": (
        {"family": "taper", "share": 0.3125, "of": geometric(10_000.0)},
        ["0x1.0p+0", "0x1.7ff222p-1", "0x1.b4f7e4p-7", "0x0.0p+0"],
    ),
    "cope_hard_10k": (
        {"family": "stilled", "share": 0.3125, "of": geometric(10_000.0)},
        ["0x1.0p+0", "0x1.7ff222p-1", "0x1.b4f7e4p-7", "0x0.0p+0"],
    ),
    "llama3": (
        {"family": "llama3", "theta": 500_000.0},
        ["0x1.0p+0", "0x1.53c38cp-1", "0x1.175482p-12", "0x1.94836p-22"],
    ),
    "longrope": (
        {"family": "longrope", "theta": 10_000.0, "factors": [1.0 + pair for pair in range(32)]},
        ["0x1.0p+0", "0x1.7ff222p-2", "0x1.b4f7e4p-11", "0x1.17a8e4p-18"],
    ),
    "nope": ({"family": "nope"}, ["0x0.0p+0"] * 4),
    "resonance_500k": (
        {"family": "resonance", "of": geometric(500_000.0), "length": None},
        ["0x1.0c1524p+0", "0x1.657184p-1", "0x1.175482p-9", "0x1.94836p-19"],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values(name: str) -> None:
    definition, expected = GOLDEN[name]
    omega = inv_freq(definition, 64)
    assert omega.dtype == np.float32
    assert [float(omega[pair]) for pair in (0, 1, 15, 31)] == [
        float.fromhex(text) for text in expected
    ]


def all_families(base: type[Family]) -> list[type[Family]]:
    below = [family for child in base.__subclasses__() for family in all_families(child)]
    return [*base.__subclasses__(), *below]


def family_names(family: type[Family]) -> tuple[str, ...]:
    """The name in config.yaml; none for a class that others only share."""
    return get_args(family.model_fields["family"].annotation)


def test_every_family_has_a_golden_value() -> None:
    families = {name for family in all_families(Family) for name in family_names(family)}
    assert {definition["family"] for definition, _ in GOLDEN.values()} | {
        "values",
        "proposed",
    } == families


@pytest.mark.parametrize(
    ("definition", "low", "high"),
    [
        (geometric(500_000.0), 3.01e-6, 1.0),
        (geometric(10_000.0), 1.33e-4, 1.0),
        (ANCHORED, 9.04e-7, 1.0),
    ],
)
def test_ranges_of_the_protocol(definition: dict, low: float, high: float) -> None:
    omega = inv_freq(definition, 64)
    assert omega[0] == high
    assert omega[-1] == pytest.approx(low, rel=5e-3)  # the protocol gives three digits


@given(theta=thetas, pairs=st.integers(2, 128))
def test_geometric_is_standard_rope(theta: float, pairs: int) -> None:
    expected = 1.0 / theta ** (np.arange(0, 2 * pairs, 2) / (2 * pairs))
    np.testing.assert_allclose(standard(theta).omega(pairs), expected, rtol=1e-12)


@given(theta=thetas, p=st.floats(0.2, 8.0), omf=fractions, pairs=st.integers(2, 128))
def test_anchored_poly_keeps_both_ends_and_falls(
    theta: float, p: float, omf: float, pairs: int
) -> None:
    omega = AnchoredPoly(family="anchored_poly", theta=theta, p=p, omf=omf).omega(pairs)
    assert omega[0] == pytest.approx(1.0)
    assert omega[-1] == pytest.approx(omf * standard(theta).omega(pairs)[-1])
    assert np.all(np.diff(omega) <= 0)


@given(theta=thetas, steepness=st.floats(1.0, 12.0), midpoint=st.floats(0.2, 0.8), omf=fractions)
def test_sigmoid_falls_and_is_not_anchored(
    theta: float, steepness: float, midpoint: float, omf: float
) -> None:
    spectrum = Sigmoid(
        family="sigmoid", theta=theta, steepness=steepness, midpoint=midpoint, omf=omf
    )
    omega = spectrum.omega(32)
    assert np.all(omega > 0)
    assert np.all(np.diff(omega) < 0)
    assert omega[0] < 1.0


@given(alpha=st.floats(0.0, 1.0))
def test_mix_is_linear_between_its_parts(alpha: float) -> None:
    mix = Mix.model_validate(hybrid(alpha))
    a = standard(100_000.0).omega(32)
    b = AnchoredPoly(family="anchored_poly", theta=100_000.0, p=3.9, omf=0.3).omega(32)
    np.testing.assert_allclose(mix.omega(32), a + alpha * (b - a), rtol=1e-9)


def test_mix_ends_at_its_parts() -> None:
    assert np.array_equal(inv_freq(hybrid(0.0), 64), inv_freq(geometric(100_000.0), 64))
    assert np.array_equal(inv_freq(hybrid(1.0), 64), inv_freq({**ANCHORED, "theta": 100_000.0}, 64))


def test_values_are_taken_as_given() -> None:
    assert inv_freq({"family": "values", "inv_freq": [1.0, 0.5, 0.0]}, 6).tolist() == [
        1.0,
        0.5,
        0.0,
    ]
    with pytest.raises(ValueError, match="3 frequencies for 2 rotary pairs"):
        inv_freq({"family": "values", "inv_freq": [1.0, 0.5, 0.1]}, 4)


@given(theta=thetas, tau=st.floats(1e-6, 20.0), pairs=st.integers(1, 128))
def test_midpoint_and_evq_cosh_fall_between_one_and_the_end_of_theta(
    theta: float, tau: float, pairs: int
) -> None:
    for spectrum in (midpoint(theta), evq_cosh(theta, tau)):
        omega = spectrum.omega(pairs)
        assert np.all(np.diff(omega) < 0)
        assert np.all((1 / theta < omega) & (omega < 1))


@given(theta=thetas, pairs=st.integers(1, 128), tau=st.floats(1e-6, 1e-5))
def test_evq_cosh_without_tau_is_the_midpoint_grid(theta: float, pairs: int, tau: float) -> None:
    np.testing.assert_allclose(
        evq_cosh(theta, tau).omega(pairs), midpoint(theta).omega(pairs), rtol=1e-8
    )


@given(theta=thetas, tau=st.floats(0.1, 10.0), more=st.floats(1.01, 3.0))
def test_a_larger_tau_makes_every_pair_faster(theta: float, tau: float, more: float) -> None:
    assert np.all(evq_cosh(theta, more * tau).omega(32) > evq_cosh(theta, tau).omega(32))


def test_tau_is_by_default_that_of_the_experiment() -> None:
    assert evq_cosh(500_000.0, None).completed(64, 2048).tau == pytest.approx(2**0.5, rel=1e-15)
    assert evq_cosh(500_000.0, 3.0).completed(64, 2048).tau == 3.0


@given(theta=thetas, length=st.integers(1, 10**6), pairs=st.integers(1, 128))
def test_truncation_stops_exactly_the_pairs_with_longer_waves(
    theta: float, length: int, pairs: int
) -> None:
    full = standard(theta).omega(pairs)
    cut = truncate(standard(theta), length).omega(pairs)
    kept = wavelengths(full) <= length
    assert np.array_equal(cut, np.where(kept, full, 0.0))
    assert np.array_equal(truncate(values(cut.tolist()), length).omega(pairs), cut)


@given(theta=thetas, factor=st.floats(1.0, 64.0), pairs=st.integers(2, 128))
def test_ntk_is_geometric_of_a_larger_theta(theta: float, factor: float, pairs: int) -> None:
    dimensions = 2 * pairs
    expected = standard(theta * factor ** (dimensions / (dimensions - 2))).omega(pairs)
    np.testing.assert_allclose(ntk(theta, factor).omega(pairs), expected, rtol=1e-12)
    assert ntk(theta, 1.0).omega(pairs).tolist() == standard(theta).omega(pairs).tolist()


def test_ntk_of_one_pair_changes_nothing() -> None:
    assert slowed(np.array([1.0]), 8.0).tolist() == [1.0]


@given(theta=thetas, length=st.integers(1, 10**6), pairs=st.integers(1, 128))
def test_resonance_rounds_the_trained_wavelengths_and_leaves_the_others(
    theta: float, length: int, pairs: int
) -> None:
    before = standard(theta).omega(pairs)
    after = resonance(standard(theta), length).omega(pairs)
    trained = wavelengths(before) <= length
    np.testing.assert_allclose(
        wavelengths(after)[trained], np.round(wavelengths(before)[trained]), rtol=1e-12
    )
    assert np.array_equal(after[~trained], before[~trained])
    assert np.all(np.diff(after) <= 0)


def test_resonance_keeps_still_pairs_still_and_no_wave_shorter_than_a_token() -> None:
    omega = resonance(values([20.0, 1.0, 0.0]), 100).omega(3)
    assert omega.tolist() == [2 * np.pi, 2 * np.pi / 6, 0.0]


@given(
    name=st.sampled_from(sorted(set(GOLDEN) - {"longrope"})),  # it has a number for each pair
    pairs=st.integers(1, 64),
    length=st.integers(2, 10**5),
)
def test_every_spectrum_is_finite_not_negative_and_snapped(
    name: str, pairs: int, length: int
) -> None:
    omega = inv_freq(GOLDEN[name][0], 2 * pairs, length)
    assert omega.shape == (pairs,)
    assert np.all(np.isfinite(omega) & (omega >= 0))
    stills = {"truncate", "partial", "stilled", "taper", "nope"}
    assert GOLDEN[name][0]["family"] in stills or np.all(omega > 0)
    assert np.array_equal(snap(omega), omega)


theta_texts = st.builds(
    "train_length{}{}".format, st.sampled_from("*/"), st.integers(1, 10)
) | st.just("train_length")


@given(text=theta_texts, length=st.integers(16, 10**5))
def test_a_theta_of_the_training_length_becomes_a_number(text: str, length: int) -> None:
    expected = eval(text, {"train_length": length})
    for family in ("geometric", "log_spaced", "anchored_poly", "sigmoid", "midpoint", "evq_cosh"):
        definition = {"family": family, "theta": text}
        shape = NamedSpectrum.model_validate({"name": "x", **definition}).shape
        assert shape.completed(32, length).content()["theta"] == expected
    inside = Partial(
        family="partial", share=0.5, of=standard(2.0).model_copy(update={"theta": text})
    )
    completed = inside.completed(32, length)
    assert completed.content()["of"] == {"family": "geometric", "theta": expected}
    assert np.array_equal(completed.omega(16)[:8], standard(expected).omega(8))


@pytest.mark.parametrize(
    "theta", ["train_length*0", "train_length*", "train_length/0.5", "5e5", "L", "train_length\n"]
)
def test_other_texts_are_no_theta(theta: str) -> None:
    with pytest.raises(ValidationError, match=r"is text, not a number; (in YAML )?write"):
        Geometric(family="geometric", theta=theta)


def test_a_theta_of_one_is_refused() -> None:
    shape = Geometric(family="geometric", theta="train_length/2").completed(32, 2)
    with pytest.raises(ValueError, match="theta: 1 is too small; it must be above 1"):
        shape.omega(16)


@given(theta=thetas, pairs=st.integers(2, 128))
def test_log_spaced_includes_both_ends(theta: float, pairs: int) -> None:
    omega = LogSpaced(family="log_spaced", theta=theta).omega(pairs)
    assert omega[0] == 1.0
    assert omega[-1] == pytest.approx(1 / theta, rel=1e-12)
    np.testing.assert_allclose(omega[1:] / omega[:-1], theta ** (-1 / (pairs - 1)), rtol=1e-9)


@pytest.mark.parametrize(
    ("share", "of_16", "of_32"), [(0.1, 2, 3), (0.25, 4, 8), (0.3125, 5, 10), (1.0, 16, 32)]
)
def test_shares_in_whole_pairs(share: float, of_16: int, of_32: int) -> None:
    of = standard(10_000.0)
    for pairs, count in ((16, of_16), (32, of_32)):
        partial = Partial(family="partial", share=share, of=of).omega(pairs)
        stilled = Stilled(family="stilled", share=share, of=of).omega(pairs)
        taper = Taper(family="taper", share=share, of=of).omega(pairs)
        assert np.count_nonzero(partial) == count
        assert np.count_nonzero(stilled) == pairs - count
        assert np.count_nonzero(taper != of.omega(pairs)) == count - 1


@given(theta=thetas, share=st.floats(0.001, 1.0), pairs=st.integers(1, 128))
def test_partial_is_a_smaller_head_and_stilled_pairs_stand_behind_it(
    theta: float, share: float, pairs: int
) -> None:
    full = standard(theta).omega(pairs)
    partial = Partial(family="partial", share=share, of=standard(theta)).omega(pairs)
    rotating = partial[partial > 0]
    assert np.array_equal(rotating, standard(theta).omega(len(rotating)))
    assert not partial[len(rotating) :].any()
    stilled = Stilled(family="stilled", share=share, of=standard(theta)).omega(pairs)
    kept = np.count_nonzero(stilled)
    assert np.array_equal(stilled[:kept], full[:kept])
    assert abs(len(rotating) - share * pairs) <= max(0.5, 1 - share * pairs)
    assert pairs - kept == len(rotating)


def test_the_spectrum_inside_a_partial_one_is_completed_for_the_smaller_head() -> None:
    of = evq_cosh(10_000.0, None)
    completed = Partial(family="partial", share=0.25, of=of).completed(64, 256)
    assert completed.content()["of"]["tau"] == 1.0  # 16 / sqrt(256)
    assert Stilled(family="stilled", share=0.25, of=of).completed(64, 256).content()["of"] == {
        "family": "evq_cosh",
        "theta": 10_000.0,
        "tau": 4.0,
    }


@given(theta=thetas, share=st.floats(0.001, 1.0), pairs=st.integers(1, 128))
def test_taper_fades_to_a_standstill(theta: float, share: float, pairs: int) -> None:
    taper = Taper(family="taper", share=share, of=standard(theta))
    factors = taper.omega(pairs) / standard(theta).omega(pairs)
    last = taper.count(pairs)
    assert np.all(np.diff(factors) <= 0)
    assert np.all(factors[: pairs - last + 1] == 1.0)
    assert last == 1 or factors[-1] == 0.0
    # A half turn of a cosine is symmetrical about its middle.
    np.testing.assert_allclose(
        factors[pairs - last :] + factors[pairs - last :][::-1], 1 + (last == 1)
    )


def test_taper_of_five_pairs_is_that_of_cope() -> None:
    factors = Taper(family="taper", share=0.3125, of=values([1.0] * 16)).omega(16)
    half = 0.5**0.5
    expected = [1.0] * 11 + [1.0, (1 + half) / 2, 0.5, (1 - half) / 2, 0.0]
    np.testing.assert_allclose(factors, expected, rtol=1e-14)


@given(theta=st.floats(10.0, 1e7), factor=st.floats(1.001, 64.0).map(lambda x: float(f"{x:.4g}")))
def test_llama3_trains_what_its_remap_gives(theta: float, factor: float) -> None:
    llama3 = Llama3(family="llama3", theta=theta, factor=factor).completed(64, 2048).omega(32)
    geometric_pairs = standard(theta).omega(32).astype(np.float32)
    remapped, _ = remaps.remapped(geometric_pairs, f"llama3@{factor:g}", 2048, 2048)
    np.testing.assert_allclose(llama3, remapped, rtol=1e-6)


def test_llama3_needs_an_order_of_its_turns() -> None:
    with pytest.raises(ValidationError, match="high_freq_factor: 1 is too small; it must be above"):
        Llama3(family="llama3", theta=500_000.0, high_freq_factor=1.0)


def test_longrope_divides_each_pair_and_needs_as_many_factors() -> None:
    spectrum = LongRope(family="longrope", theta=10_000.0, factors=[1.0, 2.0, 4.0, 8.0])
    expected = standard(10_000.0).omega(4) / [1, 2, 4, 8]
    np.testing.assert_allclose(spectrum.omega(4), expected, rtol=1e-15)
    with pytest.raises(ValueError, match="4 factors for 8 rotary pairs"):
        spectrum.omega(8)


@given(st.lists(st.just(0.0) | st.floats(1e-9, 1.0), min_size=1, max_size=64))
def test_snapping_changes_little_once_and_nothing_twice(omega: list[float]) -> None:
    snapped = snap(np.array(omega))
    np.testing.assert_allclose(snapped, omega, rtol=1.2e-7)
    assert np.array_equal(snap(snapped), snapped)
    rotating = snapped[snapped > 0]
    factors = np.float32(1.0) / rotating
    assert np.array_equal(np.float32(1.0) / factors, rotating)
