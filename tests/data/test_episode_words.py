"""The words that the tasks of the retrieval probe are made of."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from rope_spectra.data import episode_words, tokenizers
from rope_spectra.data.episodes import PIECES, Words
from rope_spectra.runtime.errors import UserError

LEARNED = (
    "every morning they walked along with their river under tall green trees brother Robert found"
    " apples near small wooden bridges while birds sang bright songs above quiet water"
)


@pytest.fixture(scope="module")
def encoder() -> Tokenizer:
    return tokenizers.train_bpe([LEARNED] * 9, 700)


def chosen(encoder: Tokenizer, text: str) -> tuple[Words, list[str]]:
    ids = np.array(encoder.encode(text).ids, np.uint16)
    return episode_words.choose(encoder, ids, tokenizers.vocab_size(encoder))


def test_words_are_whole_and_frequent_and_pieces_are_as_the_tokenizer_has_them(
    encoder: Tokenizer,
) -> None:
    # "rivers" and "riverside" make " river" the beginning of longer words, "greens" does once.
    text = f" {LEARNED} riverside rivers greens" + " morning" * 3 + " green" * 20
    words, texts = chosen(encoder, text)
    assert texts[0] == "green"
    assert texts[1] == "morning"
    assert "river" not in texts
    assert {"walked", "brother", "trees"} <= set(texts)
    for token, word in zip(words.words, texts, strict=True):
        assert encoder.encode(f" {word}").ids == [token]
    assert {text: encoder.decode(list(ids)) for text, ids in words.pieces.items()} == {
        text: text for text in PIECES
    }


def test_counting_in_blocks_is_counting(
    encoder: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f" {LEARNED} riverside rivers" + " green" * 20
    whole = chosen(encoder, text)
    monkeypatch.setattr(episode_words, "BLOCK", 3)
    assert chosen(encoder, text) == whole


def test_too_few_words_are_one_line_with_a_remedy(encoder: Tokenizer) -> None:
    message = r"^retrieval: the text has 2 frequent whole words .* need 20; choose a tokenizer"
    with pytest.raises(UserError, match=message):
        chosen(encoder, " river morning")


def test_the_real_tokenizer_has_words_and_one_token_a_piece(real_data: Path) -> None:
    encoder = tokenizers.load_tokenizer(real_data / "neox" / "tokenizer.json")
    text = (real_data / "tinystories/train.txt").read_text()[:300_000]
    words, texts = chosen(encoder, text)
    assert len(texts) == episode_words.MOST
    assert {"they", "said"} <= set(texts)
    assert {len(piece) for piece in words.pieces.values()} == {1}
