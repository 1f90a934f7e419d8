"""The use of pairs and distant text: known answers, and models worked out by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.config.sections import UsageSettings
from rope_spectra.evaluation import perplexity, usage
from rope_spectra.model.config import ModelConfig
from rope_spectra.model.llama import Llama
from support import tiny_model

TRAINED, LONGEST = 16, 64
TEXT = tiny_model.tokens(3 * LONGEST + 1)
SETTINGS = UsageSettings(length=LONGEST, tokens=2 * LONGEST)


def lively(definition: dict) -> Llama:
    """A model whose attention depends on distance, which small initial weights would not."""
    model = tiny_model.llama(definition, seed=0).eval()
    with torch.no_grad():
        for layer in model.layers:
            layer.self_attn.qkv_proj.weight.mul_(20)
            layer.self_attn.o_proj.weight.mul_(20)
    return model


def measured(model: Llama, settings: UsageSettings = SETTINGS) -> usage.Arrays:
    return usage.measure(model, TEXT, settings, TRAINED, "fp32")


@pytest.fixture(scope="module")
def arrays() -> usage.Arrays:
    return measured(lively({"family": "geometric", "theta": 100.0}))


def test_the_trained_model_has_the_losses_of_protocol_full(arrays: usage.Arrays) -> None:
    model = lively({"family": "geometric", "theta": 100.0})
    text = TEXT[: 2 * LONGEST + 1]
    at_train = perplexity.full(model, text, TRAINED, LONGEST, TRAINED)
    at_longest = perplexity.full(model, text, LONGEST, LONGEST, TRAINED)
    np.testing.assert_allclose(arrays["trained/in_length"], at_train.nll.sum(1) / LONGEST)
    beyond = perplexity.bin_edges(LONGEST, TRAINED)[:-1] >= TRAINED
    expected = at_longest.nll[:, beyond].sum(1) / (LONGEST - TRAINED)
    np.testing.assert_allclose(arrays["trained/beyond"], expected)


def test_measuring_twice_gives_equal_bits_and_leaves_the_model_as_it_was(
    arrays: usage.Arrays,
) -> None:
    model = lively({"family": "geometric", "theta": 100.0})
    before = model.inv_freq.clone()
    again = measured(model)
    assert list(again) == list(arrays)
    for name, table in arrays.items():
        np.testing.assert_array_equal(again[name], table, err_msg=name)
    assert torch.equal(model.inv_freq, before)
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("part", ["in_length", "beyond"])
def test_stilling_all_pairs_is_a_model_without_positions(arrays: usage.Arrays, part: str) -> None:
    nope = measured(lively({"family": "values", "inv_freq": [0.0] * 8}))
    np.testing.assert_array_equal(arrays[f"slower/{part}"][0], nope[f"trained/{part}"])
    assert np.abs(nope[f"trained/{part}"] - arrays[f"trained/{part}"]).min() > 1e-3


@pytest.mark.parametrize("part", ["in_length", "beyond"])
def test_the_slowest_pair_and_all_slower_ones_are_that_pair(
    arrays: usage.Arrays, part: str
) -> None:
    np.testing.assert_array_equal(arrays[f"slower/{part}"][-1], arrays[f"stilled/{part}"][-1])


def test_pairs_that_do_not_rotate_cost_exactly_nothing() -> None:
    frequencies = [1.0, 0.0, 0.3, 0.0, 0.1, 0.05, 0.0, 0.0]
    arrays = measured(lively({"family": "values", "inv_freq": frequencies}))
    for part in ("in_length", "beyond"):
        for kind in ("stilled", "slower"):
            is_free = (arrays[f"{kind}/{part}"] == arrays[f"trained/{part}"]).all(axis=1)
            np.testing.assert_array_equal(is_free, np.array(frequencies) == 0.0)


def test_a_pair_whose_queries_and_keys_are_zero_costs_exactly_nothing() -> None:
    model = lively({"family": "geometric", "theta": 100.0})
    pair, pairs, heads = 2, 8, 2
    with torch.no_grad():
        for layer in model.layers:
            rows = layer.self_attn.qkv_proj.weight.view(3, heads, 2 * pairs, -1)
            rows[:2, :, [pair, pair + pairs]] = 0.0
    arrays = measured(model)
    for part in ("in_length", "beyond"):
        is_free = (arrays[f"stilled/{part}"] == arrays[f"trained/{part}"]).all(axis=1)
        assert np.flatnonzero(is_free).tolist() == [pair]
    for name in ("norm/q", "norm/k"):
        assert (arrays[name][..., pair] == 0).all()
        assert (np.delete(arrays[name], pair, axis=-1) > 0).all()


def test_one_layer_one_head_one_pair_by_hand() -> None:
    """Two tokens with embeddings (1, 0) and (0, 1); both have the same query and key.

    The value is (sqrt 2, 0) for the first token, 0 for the second. There is no MLP.
    """
    sizes = ModelConfig(
        hidden_size=2,
        num_hidden_layers=1,
        num_attention_heads=1,
        head_dim=2,
        intermediate_size=2,
        vocab_size=2,
        rms_norm_eps=1e-12,
    )
    omega = 0.7
    model = Llama(sizes, torch.tensor([omega])).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        model.embed_tokens.weight.copy_(torch.eye(2))
        attention = model.layers[0].self_attn
        # q = (n1 + n2, 0), k = (n1 + n2, 0), v = (n1, 0), where n is the embedding / its rms.
        attention.qkv_proj.weight.copy_(
            torch.tensor([[1.0, 1], [0, 0], [1, 1], [0, 0], [1, 0], [0, 0]])
        )
        attention.o_proj.weight.copy_(torch.eye(2))
        for norm in (model.norm, model.layers[0].input_layernorm):
            norm.weight.fill_(1.0)
        model.layers[0].post_attention_layernorm.weight.fill_(1.0)
    text = np.array([0, 1, 1, 0], dtype=np.uint16)
    arrays = usage.measure(model, text, UsageSettings(length=3, tokens=3), 2, "fp32")

    root = math.sqrt(2.0)  # n is (root, 0) or (0, root), so q = k = (root, 0) for both tokens
    np.testing.assert_allclose(arrays["norm/q"], [[[root]]], rtol=1e-6)
    np.testing.assert_allclose(arrays["norm/k"], [[[root]]], rtol=1e-6)

    def weights(position: int, frequency: float) -> np.ndarray:
        """Attention from one position to those up to it: the score is 2 cos(w d) / sqrt(2)."""
        distances = position - np.arange(position + 1)
        raised = np.exp(root * np.cos(frequency * distances))
        return raised / raised.sum()

    def loss(read: list[int], target: int, frequency: float) -> float:
        mixed = weights(len(read) - 1, frequency) @ [root * (token == 0) for token in read]
        hidden = np.eye(2)[read[-1]] + [mixed, 0.0]
        logits = hidden / np.sqrt(np.square(hidden).mean())
        return float(np.log(np.exp(logits).sum()) - logits[target])

    def in_length(frequency: float) -> float:
        first = loss([0], 1, frequency) + loss([0, 1], 1, frequency)
        return (first + loss([1], 0, frequency)) / 3

    np.testing.assert_allclose(arrays["trained/in_length"], [in_length(omega)], rtol=1e-5)
    np.testing.assert_allclose(arrays["stilled/in_length"], [[in_length(0.0)]], rtol=1e-5)
    for name, frequency in (("trained", omega), ("stilled", 0.0), ("slower", 0.0)):
        expected = loss([0, 1, 1], 0, frequency)
        np.testing.assert_allclose(arrays[f"{name}/beyond"].ravel(), [expected], rtol=1e-5)
    assert arrays["stilled/beyond"].item() != arrays["trained/beyond"].item()

    far = weights(2, omega)
    near = weights(1, omega)
    mass = np.array([1.0 + near[1] + far[2], near[0] + far[1], far[0]]) / 3
    np.testing.assert_allclose(arrays["attention/3"], [mass], rtol=1e-6)
    assert arrays["attention/3/edges"].tolist() == [0, 1, 2, 3]


def test_attention_adds_up_to_one_in_every_layer(arrays: usage.Arrays) -> None:
    for length in (TRAINED, LONGEST):
        mass = arrays[f"attention/{length}"]
        assert mass.shape == (2, len(arrays[f"attention/{length}/edges"]) - 1)
        np.testing.assert_allclose(mass.sum(axis=1), 1.0, rtol=1e-6)


@given(
    heads=st.integers(1, 3),
    length=st.integers(1, 70),
    trained=st.integers(1, 70),
    scores=st.integers(1, 400),
    seed=st.integers(0, 9),
)
def test_bins_hold_every_distance_once_whatever_the_chunks(
    heads: int, length: int, trained: int, scores: int, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    q, k = torch.randn(2, heads, length, 4, generator=random) * 3
    edges = perplexity.bin_edges(length, trained)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usage, "SCORES", scores)
        found = usage.attention_by_distance(q, k, edges)
    logits = (q @ k.mT / 2).masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf)
    mass = logits.softmax(-1).double().sum(0).numpy()
    by_distance = [np.trace(mass, offset=-distance) for distance in range(length)]
    expected = [sum(by_distance[a:b]) for a, b in pairwise(edges)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert found.sum() == pytest.approx(heads * length, rel=1e-5)


def test_without_a_length_beyond_that_of_training_nothing_is_beyond() -> None:
    model = lively({"family": "geometric", "theta": 100.0})
    arrays = usage.measure(model, TEXT, UsageSettings(length=TRAINED, tokens=1), TRAINED, "fp32")
    assert {name.partition("/")[0] for name in arrays} == {
        *("trained", "stilled", "slower", "norm", "attention")
    }
    assert not any(name.endswith("beyond") for name in arrays)
    assert arrays["stilled/in_length"].shape == (8, 1)


def test_the_text_is_whole_blocks_at_least_one_and_no_more_than_there_are() -> None:
    model = lively({"family": "geometric", "theta": 100.0})
    for tokens, blocks in ((1, 1), (2 * LONGEST + 5, 2), (10**9, 3)):
        settings = UsageSettings(length=LONGEST, tokens=tokens)
        assert measured(model, settings)["trained/beyond"].shape == (blocks,)


def test_a_layer_is_named_by_its_place() -> None:
    """Queries and keys of the second layer are doubled: so are its norms, and no others."""
    plain = lively({"family": "geometric", "theta": 100.0})
    scaled = lively({"family": "geometric", "theta": 100.0})
    with torch.no_grad():
        scaled.layers[1].self_attn.qkv_proj.weight[:64] *= 2
    edges = perplexity.bin_edges(TRAINED, TRAINED)
    norms = [usage.observe(each, TEXT, TRAINED, edges)["norm/k"] for each in (plain, scaled)]
    ratio = norms[1] / norms[0]
    np.testing.assert_allclose(ratio, np.array([1, 2])[:, None, None] * np.ones_like(ratio))


def test_attention_of_a_long_text_is_not_held_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    softmax = torch.Tensor.softmax

    def seen(scores: torch.Tensor, dim: int) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, scores.numel())
        return softmax(scores, dim=dim)

    monkeypatch.setattr(torch.Tensor, "softmax", seen)
    monkeypatch.setattr(usage, "SCORES", 2**16)
    q, k = torch.zeros(2, 2, 2048, 4)
    usage.attention_by_distance(q, k, perplexity.bin_edges(2048, 64))
    assert 0 < largest <= 2**16


def test_under_autocast_the_answers_stay_known() -> None:
    """In bf16, as on a GPU: what costs nothing costs exactly nothing, and masses add up to 1."""
    model = lively({"family": "values", "inv_freq": [1.0, 0.5, 0.2, 0.1, 0.05, 0.0, 0.0, 0.0]})
    arrays = usage.measure(model, TEXT, SETTINGS, TRAINED, "bf16")
    exact = usage.measure(model, TEXT, SETTINGS, TRAINED, "fp32")
    is_free = (arrays["stilled/beyond"] == arrays["trained/beyond"]).all(axis=1)
    assert is_free.tolist() == [False] * 5 + [True] * 3
    np.testing.assert_allclose(arrays[f"attention/{LONGEST}"].sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(arrays["norm/k"], exact["norm/k"], rtol=0.05)
    assert not np.array_equal(arrays["norm/k"], exact["norm/k"])
