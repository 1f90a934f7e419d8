"""Model, training and evaluation equal an independent implementation of docs/protocol.md.

It is in tests/support/reference.py.
"""

import numpy as np
import pytest
import torch

from rope_spectra.evaluation import perplexity
from rope_spectra.model.config import ModelConfig
from rope_spectra.model.llama import Llama
from rope_spectra.training.batches import learning_rate, row_order
from rope_spectra.training.trainer import Trainer
from support import reference
from support.tiny_model import GEOMETRIC, config, llama, tokens

ANCHORED = {"family": "anchored_poly", "theta": 500_000.0, "p": 3.9, "omf": 0.3}
OMEGA = {
    "geometric": reference.geometric(16, 500_000.0),
    "anchored_poly": reference.anchored_poly(16, 500_000.0, 3.9, 0.3),
}


def reference_arguments(family: str) -> dict:
    return {"hidden": 32, "layers": 2, "heads": 2, "ffn": 48, "vocab": 61, "omega": OMEGA[family]}


def test_initial_weights_are_the_studys_for_a_seed() -> None:
    torch.manual_seed(42)
    expected = reference.Reference(**reference_arguments("geometric"))
    ours = llama(GEOMETRIC, 42)
    for theirs, mine in zip(expected.parameters(), ours.parameters(), strict=True):
        assert torch.equal(theirs, mine)


def test_the_random_stream_is_used_up_alike() -> None:
    """The next draw shows that construction has drawn nothing more and nothing less."""
    torch.manual_seed(42)
    reference.Reference(**reference_arguments("geometric"))
    expected = torch.rand(1)
    llama(GEOMETRIC, 42)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    "definition", [GEOMETRIC, ANCHORED], ids=lambda definition: definition["family"]
)
@pytest.mark.parametrize("micro_batch_size", ["auto", 2])
def test_training_follows_the_reference_loop(definition: dict, micro_batch_size: int | str) -> None:
    text = tokens(64 * 8 * 60 + 17)
    expected_model, expected = reference.train(
        reference_arguments(definition["family"]),
        text,
        seed=7,
        seq_len=64,
        batch=8,
        peak=3e-3,
        accumulate=4 if micro_batch_size == 2 else 1,
    )
    trainer = Trainer(
        llama(definition, 7), config(micro_batch_size=micro_batch_size), torch.device("cpu")
    )
    rows = [row for _, row in trainer.run(text, seed=7, log_every=1)]
    ours = [row.loss for row in rows]
    assert len(ours) == 60
    # fp32 rounding grows along the trajectory: the first losses agree to 1e-6 of themselves, the
    # last to 1e-4.
    np.testing.assert_allclose(ours[:5], expected[:5], rtol=2e-6)
    np.testing.assert_allclose(ours, expected, rtol=1e-4)
    assert ours[-1] < 0.6 * ours[0]
    held_out = tokens(64 * 4 * 10, seed=1)
    for length in (64, 256):
        score = perplexity.first_chunks(trainer.model.eval(), held_out, length, chunks=10)
        assert np.exp(score.nll) == pytest.approx(
            reference.first_chunks(expected_model, held_out, length), rel=1e-3
        )


def test_first_chunks_equals_the_reference_on_the_same_weights() -> None:
    held_out = tokens(2000)
    torch.manual_seed(3)
    expected = reference.Reference(**reference_arguments("anchored_poly"))
    score = perplexity.first_chunks(llama(ANCHORED, 3), held_out, 128, chunks=10)
    assert np.exp(score.nll) == pytest.approx(
        reference.first_chunks(expected, held_out, 128), rel=1e-6
    )
    assert (score.chunks, score.tokens) == (10, 1270)


def test_logits_equal_transformers_llama() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    ours = llama(GEOMETRIC, 0)
    theirs = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            head_dim=16,
            intermediate_size=48,
            vocab_size=61,
            rms_norm_eps=1e-6,
            tie_word_embeddings=True,
            max_position_embeddings=512,
            attn_implementation="eager",
            rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        )
    )
    theirs.load_state_dict(in_transformers_names(ours.state_dict()), strict=False)
    ids = torch.from_numpy(tokens(1024).astype(np.int64)).view(2, 512)
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=1e-4, atol=2e-6)


def in_transformers_names(weights: dict) -> dict:
    result = {}
    for name, weight in weights.items():
        if "qkv_proj" in name:
            for part, rows in zip("qkv", weight.chunk(3), strict=True):
                result["model." + name.replace("qkv_proj", f"{part}_proj")] = rows
        else:
            result[name if name.startswith("lm_head") else f"model.{name}"] = weight
    return result


def test_parameter_counts_are_the_published_ones() -> None:
    small = {"hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8}
    large = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    published = [(small, 2048, 50_928_128), (large, 4096, 454_214_656)]
    for sizes, intermediate_size, parameters in published:
        config = ModelConfig(
            **sizes, head_dim=64, intermediate_size=intermediate_size, vocab_size=50304
        )
        with torch.device("meta"):
            model = Llama(config, torch.zeros(32))
        assert sum(weight.numel() for weight in model.parameters()) == parameters
        assert config.num_parameters == parameters


def test_schedule_starts_at_zero_peaks_after_warmup_and_ends_near_zero() -> None:
    rates = [learning_rate(step, 762, 6e-4, 0.02) for step in range(762)]
    assert rates[0] == 0.0
    assert rates[15] == 6e-4 == max(rates)
    assert rates[14] == pytest.approx(6e-4 * 14 / 15)
    assert 0 < rates[-1] < 1e-8


def test_batch_order_is_the_studys_and_its_generator_variant() -> None:
    torch.manual_seed(123)
    assert row_order(123, 24_414).tolist() == torch.randperm(24_414).tolist()


def test_the_published_sizes_give_the_published_steps() -> None:
    rows = config(tokens=50_000_000, seq_len=2048).rows(50_000_000)
    assert (rows, rows // 32) == (24_414, 762)
    assert config(tokens=500_000_000, seq_len=2048).rows(472_770_254) == 230_844
