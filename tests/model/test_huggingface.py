"""An exported model computes in transformers alone what it computes here."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra import export
from rope_spectra.evaluation import perplexity
from rope_spectra.model import huggingface
from rope_spectra.model.config import ModelConfig
from rope_spectra.model.llama import Llama
from rope_spectra.rope.frequencies import snap
from rope_spectra.runtime.errors import UserError
from support.exports import SPECTRA, VOCAB, model_of, read_elsewhere
from support.read_export import NEW_TOKENS

TRAIN_LENGTH = 32
LENGTHS = (TRAIN_LENGTH, 8 * TRAIN_LENGTH)


@torch.inference_mode()
def logits_of(model: Llama, tokens: np.ndarray) -> torch.Tensor:
    return model(torch.from_numpy(tokens.astype(np.int64))[None])[0]


@torch.inference_mode()
def greedy(model: Llama, prompt: list[int]) -> list[int]:
    """The likeliest continuation, without a cache: the whole text anew for each token."""
    ids = list(prompt)
    for _ in range(NEW_TOKENS):
        ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    return np.random.default_rng(7).integers(0, VOCAB, 4 * LENGTHS[-1]).astype(np.uint16)


@pytest.fixture(scope="module")
def answers(tokens: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All spectra exported for twice the training length, and read at up to eight times."""
    folder = tmp_path_factory.mktemp("exports")
    # The continuation of the prompt crosses the length that the export is for.
    prompt = tokens[: 2 * TRAIN_LENGTH - NEW_TOKENS // 2].tolist()
    requests = {}
    for name in SPECTRA:
        (folder / name).mkdir()
        export.write(folder / name, model_of(name), 2 * TRAIN_LENGTH, None, "identity")
        requests[name] = {
            "folder": str(folder / name),
            "tokens": tokens.tolist(),
            "lengths": LENGTHS,
            "prompt": prompt,
        }
    found = read_elsewhere(requests, folder)
    return {name: {**answer, **requests[name]} for name, answer in found.items()}


@pytest.mark.parametrize("name", SPECTRA)
def test_transformers_has_the_trained_frequencies_bit_for_bit(answers, name: str) -> None:
    standstill = float(np.float32(1e-30))
    expected = [float(omega) or standstill for omega in model_of(name).inv_freq]
    for when in ("loaded", "after"):
        assert answers[name][when] == [omega.hex() for omega in expected]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", SPECTRA)
def test_logits_are_ours_at_once_and_eight_times_the_training_length(
    answers, tokens, name: str, length: int
) -> None:
    assert answers[name]["dtype"] == "torch.float32"
    ours = logits_of(model_of(name), tokens[:length])
    theirs = torch.load(answers[name]["logits"][str(length)], weights_only=True)
    assert (ours - theirs).abs().max() <= 1e-5 * ours.abs().max()


@pytest.mark.parametrize("name", SPECTRA)
def test_greedy_text_with_a_cache_is_ours_without_one(answers, name: str) -> None:
    text = greedy(model_of(name), answers[name]["prompt"])
    assert answers[name]["greedy"] == text


@pytest.mark.parametrize("name", SPECTRA)
def test_perplexity_through_transformers_is_ours(answers, tokens, name: str) -> None:
    for length in LENGTHS:
        ours = math.exp(perplexity.first_chunks(model_of(name), tokens, length, 4).nll)
        assert answers[name]["ppl"][str(length)] == pytest.approx(ours, rel=1e-6)


def test_another_spectrum_would_show(answers, tokens) -> None:
    """The comparison is no formality: the angles of another spectrum give other logits."""
    model = model_of("geometric")
    model.inv_freq = model_of("slow_start").inv_freq
    for length in LENGTHS:
        wrong = logits_of(model, tokens[:length])
        theirs = torch.load(answers["geometric"]["logits"][str(length)], weights_only=True)
        assert (wrong - theirs).abs().max() > 1e-2 * wrong.abs().max()


@given(st.lists(st.just(0.0) | st.floats(1e-35, 1e6), min_size=1, max_size=64))
def test_any_snapped_spectrum_survives_json_bit_for_bit(omega: list[float]) -> None:
    snapped = snap(np.array(omega))
    rope = json.loads(json.dumps(huggingface.longrope(snapped, 64), allow_nan=False))
    for key in ("short_factor", "long_factor"):
        back = 1.0 / (np.array(rope[key], np.float32) * np.float32(1.0))
        slow = snapped < np.float32(1e-30)
        assert [x.hex() for x in back[~slow].tolist()] == [x.hex() for x in snapped[~slow].tolist()]
        assert (back[slow] == np.float32(1e-30)).all()


def test_no_pair_that_is_replaced_by_a_standstill_could_be_told_from_one() -> None:
    """Over a million tokens such a pair turns by less than fp32 can add to a rotated number."""
    angle = torch.tensor(1e6) * torch.tensor(1e-30)
    x = torch.tensor(1e-3)
    y = torch.tensor(1e3)
    assert angle.cos() == 1
    assert x * angle.cos() - y * angle.sin() == x


def test_a_model_that_transformers_cannot_load_is_refused() -> None:
    sizes = ModelConfig(
        hidden_size=25,
        num_hidden_layers=1,
        num_attention_heads=3,
        head_dim=8,
        intermediate_size=8,
        vocab_size=8,
    )
    with pytest.raises(
        UserError, match=r"hidden_size 25 is not a multiple of num_attention_heads 3.*; train a"
    ):
        huggingface.model_config(sizes, np.ones(4, np.float32), 64, {})
