"""Chooses the words that the tasks of the retrieval probe are made of, and puts their marks into
tokens.

They are the most frequent words of the text at hand of four letters or more that are one token. A
token that goes on into a longer word is no word: " car" stands for "carried" as well, and where a
tokenizer has no token for that, mostly so.
"""

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from rope_spectra.data.cache import Tokens
from rope_spectra.data.episodes import PIECES, Words
from rope_spectra.data.sentence_words import BLOCK, count_tokens, frequent_words
from rope_spectra.runtime.errors import UserError

MOST = 64
# Enough for every task with nine wrong candidates.
FEWEST = 20
# Part of a token's places at which a letter follows.
_MOST_CONTINUED = 0.1


def choose(tokenizer: Tokenizer, tokens: Tokens, vocab_size: int) -> tuple[Words, list[str]]:
    """The words of a text as tokens and as text, the most frequent first.

    UserError if there are fewer than FEWEST.
    """
    counts = count_tokens(tokens, vocab_size)
    continued = _count_continued(tokens, _starts_with_letter(tokenizer, vocab_size))
    whole = {
        token: word
        for token, word in frequent_words(tokenizer, counts)
        if continued[token] <= _MOST_CONTINUED * counts[token]
    }
    words = dict(list(whole.items())[:MOST])
    if len(words) < FEWEST:
        raise UserError(
            f"retrieval: the text has {len(words)} frequent whole words of one token, its tasks"
            f" need {FEWEST}; choose a tokenizer with more whole words, or use more text"
        )
    pieces = {text: tuple(tokenizer.encode(text, add_special_tokens=False).ids) for text in PIECES}
    return Words(words=tuple(words), pieces=pieces), list(words.values())


def _starts_with_letter(tokenizer: Tokenizer, vocab_size: int) -> NDArray[np.bool_]:
    """True for the tokens that go on with a word [vocab_size]; half a character counts as one."""
    texts = (tokenizer.decode([token], skip_special_tokens=False) for token in range(vocab_size))
    return np.array([text[:1].isalpha() or text[:1] == "\ufffd" for text in texts])


def _count_continued(tokens: Tokens, is_letter: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The number of times that a letter follows each token in the text [vocab]."""
    counts = np.zeros(len(is_letter), np.int64)
    for start in range(0, len(tokens) - 1, BLOCK):
        block = tokens[start : start + BLOCK + 1]
        counts += np.bincount(block[:-1][is_letter[block[1:]]], minlength=len(is_letter))
    return counts
