"""Remaps at evaluation time, against transformers' functions, and the rows of the tables."""

import csv
import re

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaForCausalLM, LlamaRotaryEmbedding

from rope_spectra.config.sections import EvaluationSettings
from rope_spectra.evaluation import passes
from rope_spectra.model.config import ModelConfig
from rope_spectra.model.llama import Llama
from rope_spectra.rope import remaps
from rope_spectra.rope.families import Geometric, NamedSpectrum
from rope_spectra.rope.frequencies import snap

SIZES = ModelConfig(
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    head_dim=16,
    intermediate_size=48,
    vocab_size=61,
)
TYPES = {
    "none": "default",
    "pi": "linear",
    "ntk": "dynamic",
    "dynamic_ntk": "dynamic",
    "yarn": "yarn",
    "yarn_untruncated": "yarn",
    "llama3": "llama3",
}
# Each with the scale of the length, and all but `none` with a factor of their own.
NAMES = [*TYPES, *(f"{method}@{factor}" for method in list(TYPES)[1:] for factor in ("8", "2.5"))]


def geometric(theta: float, head_dim: int) -> np.ndarray:
    shape = Geometric(family="geometric", theta=theta)
    return NamedSpectrum(name="geo", shape=shape).inv_freq(head_dim)


def theirs(
    remap: str, theta: float, head_dim: int, train_length: int, length: int
) -> tuple[np.ndarray, float]:
    """The result of transformers from a config of its own: theta, lengths, factor, none of ours."""
    method, at, factor = remap.partition("@")
    rope = {"rope_type": TYPES[method], "rope_theta": theta}
    rope["factor"] = float(factor) if at else max(length / train_length, 1.0)
    rope["original_max_position_embeddings"] = train_length
    if method == "ntk":
        # NTK-aware is `dynamic` with the factor 1, at the length that gives it its scale.
        length, rope["factor"] = int(rope["factor"] * train_length), 1.0
    if method == "yarn_untruncated":
        rope["truncate"] = False
    if method == "llama3":
        rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    config = LlamaConfig(
        hidden_size=2 * head_dim,
        num_attention_heads=2,
        head_dim=head_dim,
        max_position_embeddings=train_length,
        rope_parameters=rope,
    )
    if method == "none":
        inv_freq, factor = LlamaRotaryEmbedding.compute_default_rope_parameters(config)
    else:
        inv_freq, factor = ROPE_INIT_FUNCTIONS[TYPES[method]](
            config, torch.device("cpu"), seq_len=length
        )
    return inv_freq.numpy(), factor


def ours(
    remap: str, theta: float, head_dim: int, train_length: int, length: int
) -> tuple[np.ndarray, float]:
    trained = geometric(theta, head_dim)
    return remaps.remapped(trained, remap, length, train_length)


@pytest.mark.parametrize("remap", NAMES)
@pytest.mark.parametrize(
    ("train_length", "length"),
    [(128, 128), (128, 1024), (256, 1000), (2048, 16384), (2048, 3072), (4096, 131072)],
)
@pytest.mark.parametrize(("theta", "head_dim"), [(10_000.0, 64), (500_000.0, 64), (500_000.0, 128)])
def test_geometric_spectra_are_remapped_as_transformers_does(
    remap: str, theta: float, head_dim: int, train_length: int, length: int
) -> None:
    expected, expected_factor = theirs(remap, theta, head_dim, train_length, length)
    inv_freq, factor = ours(remap, theta, head_dim, train_length, length)
    # transformers works in fp32: its powers and the ramp of yarn carry some 1e-6 of rounding.
    np.testing.assert_allclose(inv_freq, expected, rtol=5e-6)
    assert factor == pytest.approx(expected_factor, rel=1e-12)


@given(
    method=st.sampled_from(["yarn", "yarn_untruncated"]),
    theta=st.floats(100, 1e7),
    pairs=st.integers(4, 64),
    train_length=st.integers(7, 8192),
    scale=st.floats(1.01, 64.0),
)
def test_yarn_by_turns_is_the_ramp_of_transformers_over_the_pairs(
    method: str, theta: float, pairs: int, train_length: int, scale: float
) -> None:
    """At every size at which the fastest pair turns at all, with both values of `truncate`."""
    # Where a pair turns 32 times or once to the last digit, rounding decides whether it does.
    at = np.log(train_length / (2 * np.pi * np.array([1.0, 32.0]))) / np.log(theta) * pairs
    assume(np.all(np.abs(at - np.round(at)) > 1e-4))
    length = int(scale * train_length) + 1
    expected, _ = theirs(method, theta, 2 * pairs, train_length, length)
    inv_freq, _ = ours(method, theta, 2 * pairs, train_length, length)
    # The ramp in fp32 by dimensions and in fp64 by turns differ by some 1e-6 of the blended
    # frequency times s.
    np.testing.assert_allclose(inv_freq, expected, rtol=2e-6 * max(scale, 8))


def test_yarn_is_another_one_where_no_pair_turns_32_times() -> None:
    """The demo's size: before, these four pairs were slowed down by up to 11 %."""
    turns = np.array([20.0, 13.5, 9.0, 6.0, 0.5])
    omega = turns * 2 * np.pi / 128
    assert remaps.yarn(omega, 8.0, 128)[0] == omega[0]
    earlier = np.log(turns[:4]) / np.log(32)
    earlier = earlier + (1 - earlier) / 8
    assert np.all(remaps.yarn(omega, 8.0, 128)[:4] > 1.02 * earlier * omega[:4])


@given(
    remap=st.sampled_from(NAMES),
    omega=st.lists(st.just(0.0) | st.floats(1e-6, 1.0), min_size=1, max_size=64),
    length=st.integers(1, 5000),
)
def test_any_spectrum_can_be_remapped_up_to_the_training_length_by_a_fixed_factor_only(
    remap: str, omega: list[float], length: int
) -> None:
    trained = snap(np.array(omega))
    changed, factor = remaps.remapped(trained, remap, length, 1000)
    assert changed.dtype == np.float32
    is_everywhere = "@" in remap and not remap.startswith("dynamic")
    if remap == "none" or (length <= 1000 and not is_everywhere):
        assert np.array_equal(changed, trained)
        assert factor == 1.0
    else:
        assert np.all(np.isfinite(changed) & (changed >= 0) & (changed <= trained))
        assert np.array_equal(changed == 0, trained == 0)
        assert (factor > 1.0) == remap.startswith("yarn")


def test_ntk_on_a_geometric_spectrum_is_a_larger_theta() -> None:
    inv_freq, _ = ours("ntk", 500_000.0, 64, 2048, 16384)
    expected = geometric(500_000.0 * 8 ** (64 / 62), 64)
    np.testing.assert_allclose(inv_freq, expected, rtol=2e-7)  # two roundings to fp32


@pytest.mark.parametrize("truncate", [True, False])
def test_yarn_keeps_fast_pairs_interpolates_slow_ones_and_blends_between(truncate: bool) -> None:
    turns = np.array([100.0, 32.001, 32**0.5, 0.999, 0.1, 0.0])
    omega = turns * 2 * np.pi / 2048
    changed = remaps.yarn(omega, 8.0, 2048, truncate)[:5] / omega[:5]
    np.testing.assert_allclose(changed, [1, 1, 0.5 + 0.5 / 8, 1 / 8, 1 / 8], rtol=1e-3)
    assert remaps.yarn(omega, 8.0, 2048, truncate)[5] == 0


@given(st.permutations(range(16)))
def test_yarn_changes_a_pair_by_its_frequency_and_not_by_its_place(order: list[int]) -> None:
    omega = geometric(1e4, 32).astype(np.float64)
    changed = remaps.yarn(omega, 4.0, 256)
    assert np.array_equal(remaps.yarn(omega[order], 4.0, 256), changed[order])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("longrope", "unknown remap 'longrope'"),
        ("yran@8", "unknown remap 'yran'; did you mean 'yarn'"),
        ("none@8", "none has no factor"),
        *((f"yarn@{factor}", "plain number above 1, .* yarn@8") for factor in ("0", "1", "x", "")),
        *((f"pi@{factor}", "plain number above 1") for factor in ("8.0", "08", "-8", "1e2", "nan")),
        *(
            (f"ntk@{factor}", "plain number above 1")
            for factor in ("inf", "1025", "８", "8@8", " 8")
        ),
    ],
)
def test_a_remap_that_is_unknown_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        remaps.remapped(np.ones(4, np.float32), name, 64, 32)


# --- the model ---


@pytest.mark.parametrize("remap", ["pi", "dynamic_ntk", "yarn", "llama3"])
def test_logits_of_a_remapped_model_equal_transformers(remap: str) -> None:
    """The weights are ours; frequencies and attention factor come from each side's own settings."""
    train_length, length, scale = 256, 1024, 4.0
    torch.manual_seed(0)
    omega = geometric(1e5, 16)
    model = Llama(SIZES.model_copy(update={"initializer_range": 0.2}), torch.from_numpy(omega))
    rope = {"rope_type": TYPES[remap], "rope_theta": 1e5, "factor": scale}
    if remap in ("yarn", "llama3"):
        rope["original_max_position_embeddings"] = train_length
    if remap == "llama3":
        rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    config = LlamaConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        head_dim=16,
        intermediate_size=48,
        vocab_size=61,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
        max_position_embeddings=train_length,
        attn_implementation="eager",
        rope_parameters=rope,
    )
    reference = LlamaForCausalLM(config).eval()
    reference.load_state_dict(_in_their_names(model), strict=False)
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 61, (1, length)))
    inv_freq, factor = remaps.remapped(model.inv_freq.numpy(), remap, length, train_length)
    with torch.no_grad():
        native = model(ids)
        with model.rotated_by(torch.from_numpy(inv_freq), factor):
            changed = model(ids)
        # Angles reach 1024 radians: fp32 rounding of transformers' frequencies moves them by up to
        # 1e-4.
        torch.testing.assert_close(changed, reference(ids).logits, rtol=2e-3, atol=2e-3)
        assert (changed - native).abs().max() > 0.1
        assert torch.equal(model(ids), native)


def _in_their_names(model: Llama) -> dict[str, torch.Tensor]:
    names = {}
    for name, weight in model.state_dict().items():
        if "qkv_proj" in name:
            parts = zip("qkv", weight.chunk(3), strict=True)
            names |= {
                f"model.{name}".replace("qkv_proj", f"{part}_proj"): rows for part, rows in parts
            }
        else:
            names[name if name.startswith("lm_head") else f"model.{name}"] = weight
    return names


# --- the evaluation ---


@pytest.fixture(scope="module")
def evaluated() -> tuple[list[passes.Score], dict[str, np.ndarray]]:
    torch.manual_seed(0)
    omega = geometric(1e4, 16)
    model = Llama(
        SIZES.model_copy(update={"initializer_range": 0.2}), torch.from_numpy(omega)
    ).eval()
    tokens = np.random.default_rng(0).integers(0, 61, 600).astype(np.uint16)
    settings = EvaluationSettings(lengths=[32, 64, 128], chunks=2, remaps=list(TYPES))
    return passes.perplexities(model, tokens, settings, 64, "fp32")


def test_the_configuration_names_the_remaps_that_there_are() -> None:
    assert tuple(TYPES) == remaps.METHODS
    for remap in NAMES:
        assert EvaluationSettings(lengths=[64], remaps=[remap]).remaps == [remap]
        assert (remap in remaps.METHODS) != bool(re.match(remaps.PATTERN, remap))


def test_every_remap_has_a_row_per_protocol_and_length(evaluated: tuple) -> None:
    scores, arrays = evaluated
    rows = [(score.remap, score.protocol, score.length) for score in scores]
    protocols = ("first_chunks", "full")
    assert rows == [
        (remap, protocol, length)
        for remap in TYPES
        for protocol in protocols
        for length in (32, 64, 128)
    ]
    names = ("nll", "tokens", "edges")
    assert set(arrays) == {
        f"{remap}/{length}/{name}" for remap in TYPES for length in (32, 64, 128) for name in names
    }
    header = passes.HEADER.split(",")
    assert [
        next(csv.DictReader([",".join(header), score.csv()]))["remap"] for score in scores[::6]
    ] == list(TYPES)


def test_remaps_differ_beyond_the_training_length_alone(evaluated: tuple) -> None:
    scores, arrays = evaluated
    nll = {(score.remap, score.protocol, score.length): score.nll for score in scores}
    for protocol in ("first_chunks", "full"):
        for length in (32, 64):
            assert len({nll[remap, protocol, length] for remap in TYPES}) == 1
        assert len({nll[remap, protocol, 128] for remap in TYPES}) == len(TYPES)
    for remap in TYPES:
        table = arrays[f"{remap}/128/nll"]
        assert table.sum() / (4 * 128) == pytest.approx(nll[remap, "full", 128], rel=1e-12)


def test_all_remaps_score_the_same_targets(evaluated: tuple) -> None:
    scores, arrays = evaluated
    assert {score.tokens for score in scores if score.protocol == "full"} == {512}
    for length in (32, 64, 128):
        assert len({arrays[f"{remap}/{length}/tokens"].tobytes() for remap in TYPES}) == 1


def test_settings_may_leave_out_the_trained_model() -> None:
    torch.manual_seed(0)
    model = Llama(SIZES, torch.from_numpy(geometric(1e4, 16))).eval()
    settings = EvaluationSettings(lengths=[64, 128], protocols=["full"], remaps=["pi"])
    tokens = np.random.default_rng(0).integers(0, 61, 300).astype(np.uint16)
    scores, _ = passes.perplexities(model, tokens, settings, 64, "fp32")
    assert [(score.remap, score.length) for score in scores] == [("pi", 64), ("pi", 128)]
