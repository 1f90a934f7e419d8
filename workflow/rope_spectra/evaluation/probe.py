"""The retrieval probe (evaluation.md section 6): does a model use what stands far back? Pure.

A sentence names a value, filler follows, then comes the same sentence up to the value. The model scores what may stand there: the
true value, and others that the sentence could have named as well. Whatever a model prefers by itself, one that does not look back
is right in one of so many trials. All is drawn with Random.random(), which gives the same numbers in every Python version.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rope_spectra.runtime.errors import UserError

Tokens = NDArray[np.uint16]

MENTIONS = 8  # of the sentence in a training row: one names the value, the others ask for it


@dataclass(frozen=True)
class Sentence:
    """Token ids of a sentence: what stands before and after the value, and the values that it can name, of one token each."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    values: tuple[int, ...]

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Sentence":
        """From the record that rope_spectra.sentence writes."""
        return cls(*(tuple(content[key]) for key in ("before", "after", "values")))

    @property
    def sha256(self) -> str:
        """What tells one sentence from another."""
        return hashlib.sha256(repr(asdict(self)).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.before) + 1 + len(self.after)

    def naming(self, value: int) -> Tokens:
        """The whole sentence."""
        return np.array([*self.before, value, *self.after], dtype=np.uint16)


class Trials(NamedTuple):
    """ids [trials, length - 1] to be read; candidates [trials, n] for the token that follows, the true value first."""

    ids: Tokens
    candidates: NDArray[np.int64]


def trials(sentence: Sentence, text: Tokens, length: int, count: int, distractors: int) -> Trials:
    """`count` trials of `length` tokens, the value included: the sentence within a passage of the text, and again at its end.

    Each trial has a passage that begins elsewhere; its candidates and the place of the sentence, as a part of the passage, are
    the same at all lengths. UserError if `length` is too short for both sentences or the text for so many passages.
    """
    room = length - len(sentence.before) - 1 - len(sentence)
    if room < 1:
        raise UserError(
            f"evaluation: length {length} is too short for retrieval, it needs {2 * len(sentence)} tokens; raise it"
        )
    if len(text) - room < count - 1:
        raise UserError(
            f"evaluation: retrieval has {count} trials, a text of {len(text)} tokens has too few passages of {room}; lower trials"
        )
    starts = np.linspace(0, len(text) - room, count).astype(int).tolist()
    passages = (text[start : start + room] for start in starts)
    made = [
        _trial(sentence, passage, Random(f"probe/{trial}"), 1 + distractors)
        for trial, passage in enumerate(passages)
    ]
    ids, candidates = zip(*made, strict=True)
    return Trials(np.stack(ids), np.array(candidates, dtype=np.int64))


def _trial(
    sentence: Sentence, passage: Tokens, random: Random, candidates: int
) -> tuple[Tokens, list[int]]:
    drawn = _sample(random, sentence.values, candidates)
    place = _below(random, len(passage) + 1)
    question = np.array(sentence.before, dtype=np.uint16)
    return np.concatenate(
        [passage[:place], sentence.naming(drawn[0]), passage[place:], question]
    ), drawn


def mentions(sentence: Sentence, row_length: int) -> int:
    """How often a training row has the sentence: MENTIONS times, fewer where it would take more than half of the row.

    UserError where that leaves no two.
    """
    fitting = min(MENTIONS, row_length // (2 * len(sentence)))
    if fitting < 2:
        raise UserError(
            f"training: seq_len {row_length} is too short for retrieval_share, it needs {4 * len(sentence)} tokens; raise it or"
            " set retrieval_share to 0"
        )
    return fitting


def with_sentences(
    rows: Tokens, numbers: NDArray[np.int64], sentence: Sentence, share: float
) -> Tokens:
    """Training rows [n, T] of which that share has the sentence, with the same value each time, between pieces of its text.

    numbers [n] are the places of the rows in the data. They alone decide which rows have the sentence, and how: all runs on the
    same data see the same rows. The text makes room at the end of its row.
    """
    count, changed = mentions(sentence, rows.shape[1]), np.array(rows)
    for row, number in zip(changed, numbers.tolist(), strict=True):
        if has_sentence(number, share):
            row[:] = _interleaved(row, sentence, Random(f"probe/row/{number}"), count)
    return changed


def has_sentence(number: int, share: float) -> bool:
    """Whether row `number` is one of the share: of the first n rows floor(n * share) are, evenly spread."""
    return int((number + 1) * share) > int(number * share)


def _interleaved(row: Tokens, sentence: Sentence, random: Random, count: int) -> Tokens:
    naming = sentence.naming(sentence.values[_below(random, len(sentence.values))])
    room = len(row) - count * len(naming)
    first, *others = np.split(row[:room], sorted(_below(random, room + 1) for _ in range(count)))
    return np.concatenate([first, *(part for text in others for part in (naming, text))])


def _sample(random: Random, values: Sequence[int], count: int) -> list[int]:
    """`count` different values in random order."""
    pool = list(values)
    return [pool.pop(_below(random, len(pool))) for _ in range(count)]


def _below(random: Random, end: int) -> int:
    return int(random.random() * end)
