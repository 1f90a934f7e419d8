"""The retrieval probe (docs/protocol.md section 6): does a model use what stands far back? Pure.

A sentence names a value, filler follows, then comes the same sentence up to the value. The model
scores what may stand there: the true value, and others that the sentence could have named as well.
Whatever a model prefers by itself, one that does not look back is right in one of so many trials.
"""

from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rope_spectra.data.cache import Tokens
from rope_spectra.data.sentence import Sentence, draw_below, draw_distinct
from rope_spectra.runtime.errors import UserError


class Trials(NamedTuple):
    """Texts to be read, and candidates for the token that follows, the true value first."""

    ids: Tokens  # [trials, length - 1]
    candidates: NDArray[np.int64]  # [trials, n]


def trials(sentence: Sentence, text: Tokens, length: int, count: int, distractors: int) -> Trials:
    """`count` trials of `length` tokens: the sentence within a passage of the text, and at its end.

    `length` includes the value at the end. Each trial has a passage that begins elsewhere; its
    candidates and the place of the sentence, as a part of the passage, are the same at all lengths.
    UserError if `length` is too short for both sentences or the text for so many passages.
    """
    # The question at the end is the sentence up to the value; the value itself is scored, not read.
    room = length - len(sentence.before) - 1 - len(sentence)
    if room < 1:
        raise UserError(
            f"evaluation: length {length} is too short for retrieval, it needs {2 * len(sentence)}"
            " tokens; raise it"
        )
    if len(text) - room < count - 1:
        raise UserError(
            f"evaluation: retrieval has {count} trials, a text of {len(text)} tokens has too few"
            f" passages of {room}; lower trials"
        )
    question = np.array(sentence.before, dtype=np.uint16)
    all_ids, all_candidates = [], []
    for trial, start in enumerate(np.linspace(0, len(text) - room, count).astype(int).tolist()):
        passage = text[start : start + room]
        # Each trial has a random stream of its own, so that it draws the same at all lengths.
        random = Random(f"probe/{trial}")
        candidates = draw_distinct(random, sentence.values, 1 + distractors)
        place = draw_below(random, room + 1)
        naming = sentence.naming(candidates[0])
        all_ids.append(np.concatenate([passage[:place], naming, passage[place:], question]))
        all_candidates.append(candidates)
    return Trials(np.stack(all_ids), np.array(all_candidates, dtype=np.int64))
