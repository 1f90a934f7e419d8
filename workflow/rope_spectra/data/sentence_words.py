"""Chooses the words that the sentence of the retrieval probe can name, and puts it into tokens.

They are words of the text at hand that are one token within the sentence: the most frequent ones of
four letters or more.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from rope_spectra.data.base import PLACE
from rope_spectra.data.cache import Tokens
from rope_spectra.data.sentence import Sentence
from rope_spectra.runtime.errors import UserError

VALUES = 32
FEWEST = 10
_LETTERS = 4
BLOCK = 1 << 22


# The tokens of a sentence before and after the value.
Around: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]


def count_tokens(tokens: Tokens, vocab_size: int) -> NDArray[np.int64]:
    """The number of times that each token is in the text [vocab_size]."""
    counts = np.zeros(vocab_size, np.int64)
    # Block by block: bincount makes a copy in which each token takes eight bytes instead of two.
    for start in range(0, len(tokens), BLOCK):
        counts += np.bincount(tokens[start : start + BLOCK], minlength=vocab_size)
    return counts


def in_tokens(
    text: str, tokenizer: Tokenizer, counts: NDArray[np.int64]
) -> tuple[Sentence, list[str]]:
    """The sentence in tokens, and its values as words; the most frequent first.

    `text` has PLACE where the value stands; counts [vocab] are those of the tokens in the text. All
    values have the same tokens around them. Raises UserError if there are fewer than FEWEST.
    """
    found: defaultdict[Around, dict[int, str]] = defaultdict(dict)
    for token, word in frequent_words(tokenizer, counts):
        ids = tokenizer.encode(text.replace(PLACE, word), add_special_tokens=False).ids
        around = _around(token, ids)
        if around is None:
            continue
        found[around][token] = word
        if len(found[around]) == VALUES:
            break
    # A word can merge with its neighbors, so that other tokens stand around it than around most.
    before, after = max(found, key=lambda around: len(found[around]), default=((), ()))
    words = found[before, after]
    if len(words) < FEWEST:
        raise UserError(
            f"retrieval_sentence: {text!r} takes {len(words)} frequent words of the text as one"
            f" token, {FEWEST} are needed; begin it with a word, put a space before {PLACE}, or"
            " choose a tokenizer with more whole words"
        )
    return Sentence(before=before, after=after, values=tuple(words)), list(words.values())


def frequent_words(tokenizer: Tokenizer, counts: NDArray[np.int64]) -> Iterator[tuple[int, str]]:
    """Yields the tokens that are a space and a word, with the word; the most frequent first."""
    by_frequency = np.argsort(-counts, kind="stable")
    for token in by_frequency[: np.count_nonzero(counts)].tolist():
        text = tokenizer.decode([token], skip_special_tokens=False)
        word = text[1:]
        if text.startswith(" ") and word.isalpha() and len(word) >= _LETTERS:
            yield token, word


def _around(value: int, ids: list[int]) -> Around | None:
    """The tokens around the value; None unless it is there once, with something before it."""
    if ids.count(value) != 1 or ids[0] == value:
        return None
    place = ids.index(value)
    return tuple(ids[:place]), tuple(ids[place + 1 :])
