"""The retrieval probe: the trials that are asked, and their scores."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.analysis import statistics
from rope_spectra.evaluation import perplexity, probe
from rope_spectra.model.config import ModelConfig
from rope_spectra.model.llama import Llama
from rope_spectra.runtime.errors import UserError
from support.probed import KEY, TEXT

GOLDEN_CANDIDATES = [[1028, 1000, 1023], [1007, 1004, 1018], [1019, 1018, 1016]]
GOLDEN_IDS = [
    [0, 1, 2, 900, 901, 1028, 902, 3, 4, 900, 901],
    [7, 900, 901, 1007, 902, 8, 9, 10, 11, 900, 901],
    [15, 900, 901, 1019, 902, 16, 17, 18, 19, 900, 901],
]


@given(length=st.integers(8, 300), count=st.integers(1, 40), distractors=st.integers(1, 31))
def test_a_trial_is_a_passage_of_the_text_with_the_sentence_and_the_question(
    length: int, count: int, distractors: int
) -> None:
    made = probe.trials(KEY, TEXT, length, count, distractors)
    assert made.ids.shape == (count, length - 1)
    assert made.candidates.shape == (count, 1 + distractors)
    for ids, candidates in zip(made.ids.tolist(), made.candidates.tolist(), strict=True):
        assert len(set(candidates)) == 1 + distractors
        assert set(candidates) <= set(KEY.values)
        place = ids.index(900)
        assert ids[place : place + 4] == [900, 901, candidates[0], 902]
        assert ids[-2:] == [900, 901]
        passage = np.array(ids[:place] + ids[place + 4 : -2], np.uint16)
        assert any(
            np.array_equal(TEXT[start : start + len(passage)], passage)
            for start in range(len(TEXT) - len(passage) + 1)
        )


def test_trials_have_different_passages_and_ask_the_same_at_every_length() -> None:
    short = probe.trials(KEY, TEXT, 64, 50, 9)
    long = probe.trials(KEY, TEXT, 1024, 50, 9)
    assert len(np.unique(long.ids, axis=0)) == 50
    np.testing.assert_array_equal(short.candidates, long.candidates)
    places = [
        np.argmax(made.ids == 900, axis=1) / (made.ids.shape[1] - 6) for made in (short, long)
    ]
    np.testing.assert_allclose(*places, atol=2 / 58)
    assert places[1].min() < 0.1
    assert places[1].max() > 0.9


def test_trials_are_the_same_on_every_machine() -> None:
    made = probe.trials(KEY, np.arange(20, dtype=np.uint16), 12, 3, 2)
    assert made.candidates.tolist() == GOLDEN_CANDIDATES
    assert made.ids.tolist() == GOLDEN_IDS


@given(st.permutations(KEY.values))
def test_a_model_that_does_not_look_back_is_right_by_chance_whatever_it_prefers(
    preference: list[int],
) -> None:
    liking = {value: rank for rank, value in enumerate(preference)}
    candidates = probe.trials(KEY, TEXT, 16, 2000, 9).candidates
    nll = np.vectorize(liking.get)(candidates).astype(np.float32)
    right = int(np.count_nonzero(nll[:, 0] < nll[:, 1:].min(axis=1)))
    low, high = statistics.wilson95(right, 2000)
    # All preferences get the same trials, so some of the many lie outside of a 95 % interval.
    assert low - 0.015 < 0.1 < high + 0.015


@pytest.mark.parametrize(
    ("length", "count", "message"),
    [
        (7, 1, "^evaluation: length 7 is too short for retrieval, it needs 8 tokens; raise it$"),
        (4990, 100, "^evaluation: .*100 trials.*5000 tokens.*passages of 4983; lower trials$"),
    ],
)
def test_what_cannot_be_asked_is_one_line(length: int, count: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        probe.trials(KEY, TEXT, length, count, 9)


def test_candidates_are_scored_as_the_next_token_of_their_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    sizes = ModelConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        head_dim=8,
        intermediate_size=24,
        vocab_size=1032,
        initializer_range=0.5,
    )
    model = Llama(sizes, torch.tensor([1.0, 0.3, 0.1, 0.01])).eval()
    made = probe.trials(KEY, TEXT, 40, 7, 9)
    monkeypatch.setattr(perplexity, "TRUNK_TOKENS", 100)  # two trials at once and one left over
    nll = perplexity.candidate_nll(model, *made)
    for ids, candidates, scores in zip(made.ids, made.candidates, nll, strict=True):
        with torch.no_grad():
            logits = model(torch.from_numpy(ids.astype(np.int64))[None])[0, -1]
        expected = -logits.log_softmax(-1)[candidates]
        np.testing.assert_allclose(scores, expected.numpy(), rtol=1e-5)
