"""The sentence of the retrieval probe, and training rows that have it between their text.

A training row that has the sentence has it several times, with the same value each time, so that a
model can learn to look back for the value. All is drawn with Random.random(), which gives the same
numbers in every Python version. The probe is described in docs/protocol.md, section 6.
"""

import hashlib
from collections.abc import Sequence
from random import Random

import numpy as np
from numpy.typing import NDArray

from rope_spectra.data.cache import Tokens
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Record

MENTIONS = 8  # of the sentence in a training row: one names the value, the others ask for it


class Sentence(Record):
    """Token ids of a sentence: what is around the value, and the values, of one token each."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    values: tuple[int, ...]

    @property
    def sha256(self) -> str:
        """Tells one sentence from another."""
        # A part of the identity of finished runs: the text that is hashed must stay as it is.
        return hashlib.sha256(repr(self.model_dump()).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.before) + 1 + len(self.after)

    def naming(self, value: int) -> Tokens:
        """The whole sentence."""
        return np.array([*self.before, value, *self.after], dtype=np.uint16)


def mentions(sentence: Sentence, row_length: int) -> int:
    """Number of times that a training row has the sentence: at most MENTIONS, in half of the row.

    UserError where fewer than two fit.
    """
    fitting = min(MENTIONS, row_length // (2 * len(sentence)))
    if fitting < 2:
        raise UserError(
            f"training: seq_len {row_length} is too short for retrieval_share, it needs"
            f" {4 * len(sentence)} tokens; raise it or set retrieval_share to 0"
        )
    return fitting


def with_sentences(
    rows: Tokens, numbers: NDArray[np.int64], sentence: Sentence, share: float
) -> Tokens:
    """Training rows [n, T], a share of them with the sentence between pieces of their text.

    numbers [n] are the places of the rows in the data. They alone decide which rows have the
    sentence and where, so that all runs on the same data see the same rows. The text makes room at
    the end of its row.
    """
    count = mentions(sentence, rows.shape[1])
    changed = np.array(rows)
    for row, number in zip(changed, numbers.tolist(), strict=True):
        if has_sentence(number, share):
            row[:] = _interleaved(row, sentence, Random(f"probe/row/{number}"), count)
    return changed


def has_sentence(number: int, share: float) -> bool:
    """True for the rows of the share: of the first n rows floor(n * share) are, evenly spread."""
    return int((number + 1) * share) > int(number * share)


def _interleaved(row: Tokens, sentence: Sentence, random: Random, count: int) -> Tokens:
    naming = sentence.naming(sentence.values[draw_below(random, len(sentence.values))])
    room = len(row) - count * len(naming)
    places = sorted(draw_below(random, room + 1) for _ in range(count))
    first, *others = np.split(row[:room], places)
    pieces = [first]
    for text in others:
        pieces += [naming, text]
    return np.concatenate(pieces)


def draw_distinct(random: Random, values: Sequence[int], count: int) -> list[int]:
    """`count` different ones of `values`, in random order."""
    pool = list(values)
    return [pool.pop(draw_below(random, len(pool))) for _ in range(count)]


def draw_below(random: Random, end: int) -> int:
    """A whole number from 0 to `end` - 1."""
    return int(random.random() * end)
