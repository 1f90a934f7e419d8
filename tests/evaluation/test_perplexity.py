"""Scoring: equal text at every length, float64 sums, chunks of the head that change nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rope_spectra.evaluation import perplexity
from rope_spectra.model.config import ModelConfig
from rope_spectra.model.llama import Llama

VOCAB = 61
TOKENS = np.random.default_rng(0).integers(0, VOCAB, 700).astype(np.uint16)


@pytest.fixture(scope="module")
def model() -> Llama:
    torch.manual_seed(0)
    sizes = ModelConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        head_dim=8,
        intermediate_size=24,
        vocab_size=VOCAB,
        initializer_range=0.5,
    )
    return Llama(sizes, torch.tensor([1.0, 0.3, 0.1, 0.01])).eval()


def brute_force(model: Llama, length: int, longest: int) -> dict[int, float]:
    """NLL of each target position, predicted alone from exactly the tokens that its piece shows."""
    result = {}
    with torch.no_grad():
        for block in range((len(TOKENS) - 1) // longest):
            for inside in range(longest):
                target = 1 + block * longest + inside
                context = inside % length + 1
                ids = torch.from_numpy(TOKENS[target - context : target].astype(np.int64))[None]
                result[target] = -model(ids)[0, -1].log_softmax(-1)[int(TOKENS[target])].item()
    return result


@pytest.mark.parametrize("length", [64, 32, 24])
def test_full_scores_every_target_of_every_block_from_its_piece(model: Llama, length: int) -> None:
    table = perplexity.full(model, TOKENS, length, longest=64, train_length=16)
    expected = brute_force(model, length, 64)
    assert table.nll.shape[0] == 10
    assert table.tokens.sum() * 10 == len(expected) == 640
    assert table.nll.sum() == pytest.approx(sum(expected.values()), rel=1e-6)
    edges = perplexity.bin_edges(length, 16)
    by_bin = np.zeros_like(table.nll)
    for target, nll in expected.items():
        block, inside = divmod(target - 1, 64)
        by_bin[block, np.searchsorted(edges, inside % length, side="right") - 1] += nll
    np.testing.assert_allclose(table.nll, by_bin, rtol=1e-5)


def test_every_length_scores_the_same_number_of_tokens(model: Llama) -> None:
    counts = {
        length: perplexity.full(model, TOKENS, length, 64, 16).tokens.sum()
        for length in (8, 24, 32, 64)
    }
    assert set(counts.values()) == {64}


def test_in_length_positions_do_not_depend_on_what_follows(model: Llama) -> None:
    """The first 16 positions are the same predictions in a piece of 64 and in a piece of 16."""
    long = perplexity.full(model, TOKENS, 64, 64, 16)
    short = perplexity.full(model, TOKENS, 16, 64, 16)
    at = perplexity.bin_edges(64, 16).tolist().index(16)
    pieces = perplexity.token_nll(
        model,
        torch.from_numpy(TOKENS[:16].astype(np.int64))[None],
        torch.from_numpy(TOKENS[1:17].astype(np.int64))[None],
    )
    assert long.nll[0, :at].sum() == pytest.approx(pieces.double().sum().item(), rel=1e-6)
    assert short.nll[0].sum() > long.nll[0, :at].sum()


def test_chunks_of_the_head_change_nothing_but_rounding(model: Llama) -> None:
    ids, targets = (
        torch.from_numpy(TOKENS[start : start + 600].astype(np.int64)).view(2, 300)
        for start in (0, 1)
    )
    whole = perplexity.token_nll(model, ids, targets, head_rows=600)
    for rows in (1, 7, 128):
        torch.testing.assert_close(
            perplexity.token_nll(model, ids, targets, head_rows=rows), whole, rtol=1e-5, atol=1e-6
        )


@given(length=st.integers(1, 5000), train_length=st.integers(2, 5000))
def test_bins_cover_every_position_once(length: int, train_length: int) -> None:
    edges = perplexity.bin_edges(length, train_length)
    assert edges[0] == 0
    assert edges[-1] == length
    assert np.all(np.diff(edges) > 0)
    assert train_length >= length or train_length in edges


@given(n_tokens=st.integers(2, 10_000), longest=st.integers(1, 512))
@settings(max_examples=200)
def test_blocks_never_read_past_the_tokens(n_tokens: int, longest: int) -> None:
    starts = perplexity.block_starts(n_tokens, longest)
    assert len(starts) == (n_tokens - 1) // longest
    assert all(start >= 1 and start + longest <= n_tokens for start in starts)


def test_first_chunks_uses_the_chunks_there_are(model: Llama) -> None:
    score = perplexity.first_chunks(model, TOKENS, 100, chunks=10)
    assert (score.chunks, score.tokens) == (7, 7 * 99)
