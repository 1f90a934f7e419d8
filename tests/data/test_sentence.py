"""The sentence of the retrieval probe: its words and tokens, and training rows that have it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from rope_spectra.data import sentence, sentence_words, tokenizers
from rope_spectra.runtime.errors import UserError
from rope_spectra.training import batches
from support.probed import KEY, TEXT


def test_the_identity_of_a_sentence_never_changes() -> None:
    """It is a part of the identity of finished runs."""
    assert KEY.sha256 == "0742cfc2ee1412f280d0dc475a42af57309ae2fe7b49918e8e63fa231dee2f70"


# --- training rows ---


@given(share=st.floats(0, 1), n=st.integers(1, 500))
def test_of_the_first_rows_that_share_has_the_sentence(share: float, n: int) -> None:
    assert sum(sentence.has_sentence(number, share) for number in range(n)) == int(n * share)


@given(seq_len=st.integers(16, 128), share=st.floats(0.1, 1), start=st.integers(0, 1000))
def test_rows_have_the_sentence_between_their_own_text(
    seq_len: int, share: float, start: int
) -> None:
    rows = TEXT[: 16 * seq_len].reshape(16, seq_len)
    numbers = np.arange(start, start + 16)
    before = rows.copy()
    changed = sentence.with_sentences(rows, numbers, KEY, share)
    np.testing.assert_array_equal(rows, before)
    count = sentence.mentions(KEY, seq_len)
    assert count == min(sentence.MENTIONS, seq_len // 8)
    for old, new, number in zip(rows, changed, numbers.tolist(), strict=True):
        if not sentence.has_sentence(number, share):
            np.testing.assert_array_equal(new, old)
            continue
        places = np.flatnonzero(new == 900)
        assert len(places) == count
        named = {tuple(new[place : place + 4].tolist()) for place in places}
        assert len(named) == 1
        assert next(iter(named)) in {(900, 901, value, 902) for value in KEY.values}
        text = np.delete(new, (places[:, None] + np.arange(4)).ravel())
        np.testing.assert_array_equal(text, old[: len(text)])


def test_a_row_is_the_same_in_whatever_batch_it_comes() -> None:
    table = TEXT[:4992].reshape(-1, 64)

    def change(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        return sentence.with_sentences(rows, numbers, KEY, 0.5)

    whole = torch.cat(list(batches.batches(table, 6, 3, 0, slice(None), change)))
    resumed = torch.cat(list(batches.batches(table, 6, 3, 5, slice(None), change)))
    halves = [
        torch.cat(list(batches.batches(table, 6, 3, 0, part, change)))
        for part in (slice(0, 3), slice(3, 6))
    ]
    assert torch.equal(whole[30:], resumed)
    assert torch.equal(whole.view(-1, 6, 64)[:, :3].reshape(-1, 64), halves[0])
    assert torch.equal(whole.view(-1, 6, 64)[:, 3:].reshape(-1, 64), halves[1])
    plain = torch.cat(list(batches.batches(table, 6, 3, 0, slice(None))))
    changed = (whole != plain).any(dim=1)
    assert changed.sum() == len(table) // 2


def test_a_row_too_short_for_two_sentences_is_one_line() -> None:
    message = r"^training: seq_len 15 is too short for retrieval_share, .* 16 tokens; raise it or"
    with pytest.raises(UserError, match=message):
        sentence.mentions(KEY, 15)


# --- words and tokens ---


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    text = (
        "every morning they walked along the river under tall green trees with their brother Robert"
    )
    return tokenizers.train_bpe([text] * 9, 600)


def counts_of(encoder: Tokenizer, text: str) -> np.ndarray:
    ids = np.array(encoder.encode(text).ids, np.uint16)
    return sentence_words.count_tokens(ids, tokenizers.vocab_size(encoder))


def test_values_are_frequent_words_of_one_token_with_the_same_tokens_around(
    words: Tokenizer,
) -> None:
    text = (
        " they river river river morning walked along under green trees with their brother"
        " Robert every tall"
    )
    made, named = sentence_words.in_tokens("Key: {value}.", words, counts_of(words, text))
    assert named[0] == "river"
    rare = {"every", "tall"}  # each is one token or not, as the tokenizer has learned it
    assert set(named) - rare == set(text.split()) - rare
    for value, word in zip(made.values, named, strict=True):
        assert words.encode(f"Key: {word}.").ids == made.naming(value).tolist()


def test_too_few_words_are_one_line_with_a_remedy(words: Tokenizer) -> None:
    message = r"^retrieval_sentence: 'Key: \{value\}\.' takes 2 frequent words .* 10 are .*; begin"
    with pytest.raises(UserError, match=message):
        sentence_words.in_tokens("Key: {value}.", words, counts_of(words, " river morning"))
    # Without a space each word is several tokens.
    with pytest.raises(UserError, match="takes 0 frequent words"):
        sentence_words.in_tokens(
            "Key:{value}", words, counts_of(words, " river morning with trees")
        )


def test_counting_in_blocks_is_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_words, "BLOCK", 7)
    counts = sentence_words.count_tokens(TEXT, 800)
    np.testing.assert_array_equal(counts, np.bincount(TEXT, minlength=800))


def test_the_real_tokenizer_has_words_enough(real_data: Path) -> None:
    encoder = tokenizers.load_tokenizer(real_data / "neox" / "tokenizer.json")
    text = (real_data / "tinystories/train.txt").read_text()[:300_000]
    _, named = sentence_words.in_tokens("Key: {value}.", encoder, counts_of(encoder, text))
    assert len(named) == sentence_words.VALUES
    assert {"Once", "They"} & set(named)
