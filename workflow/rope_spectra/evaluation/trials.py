"""Trials of the tasks of the retrieval probe, second version (docs/protocol.md section 6). Pure.

A trial is a passage of the text with the statements of a task (data/episodes.py) in it, and a
question about one of them at its end. All trials of one model seed, length and task have a random
stream of their own, so that they are independent of all others; the spectrum has no part in it, so
that the models of one seed are asked the same.
"""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rope_spectra.config.sections import Retrieval
from rope_spectra.data.base import Task
from rope_spectra.data.cache import Tokens
from rope_spectra.data.episodes import Episode, Piece, Words, episode
from rope_spectra.data.sentence import draw_below, draw_distinct
from rope_spectra.runtime.errors import UserError


class Trials(NamedTuple):
    """Texts to be read, the same texts without statements, candidates for the token that follows.

    distance is the number of tokens between the end of the statement that is asked for and the
    answer.
    """

    ids: Tokens  # [trials, length - 1]
    control: Tokens  # [trials, length - 1]
    candidates: NDArray[np.int64]  # [trials, n], the true one first
    distance: NDArray[np.int64]  # [trials]


def trials(
    task: Task, words: Words, text: Tokens, length: int, count: int, distractors: int, seed: int
) -> Trials:
    """`count` trials of `length` tokens, the answer included, for the models of one seed.

    Trial i has the i-th of `count` equal parts of the text for itself, at every length, for every
    task and seed. Distances are spread evenly on a log scale: each of `count` equal intervals of
    their logarithm holds one. The control has more of the passage in place of the statements;
    nothing in it can tell the true candidate from the others. UserError where the text or `length`
    is too short or the words are too few.
    """
    check_text(len(text), length, count)
    width = len(text) // count
    stream = f"probe/{seed}/{length}/{task}"
    # Which part of the text has which distance is another draw for each seed.
    intervals = draw_distinct(Random(stream), range(count), count)
    ids, control, candidates, distances = [], [], [], []
    for trial, interval in enumerate(intervals):
        random = Random(f"{stream}/{trial}")
        drawn = episode(task, words, random, distractors)
        share = (interval + random.random()) / count
        distance = _distance(drawn, length, share, task)
        passage = text[trial * width : trial * width + length - 1 - len(drawn.question)]
        ids.append(_with_statements(passage, drawn, distance, random))
        control.append(np.concatenate([passage, _tokens([drawn.question])]))
        candidates.append(drawn.candidates)
        distances.append(distance)
    return Trials(np.stack(ids), np.stack(control), np.array(candidates), np.array(distances))


def check(probe: Retrieval, words: Words, text: Tokens, lengths: Sequence[int], seed: int) -> None:
    """Raises UserError where a text, its words or a length cannot serve the tasks of the probe."""
    check_text(len(text), max(lengths), probe.trials)
    for task in probe.tasks or ():
        trials(task, words, text, min(lengths), 1, probe.distractors, seed)


def check_text(tokens: int, length: int, count: int) -> None:
    """Raises UserError where a text of so many tokens has no passage of `length` for each trial."""
    if tokens < count * length:
        raise UserError(
            f"evaluation: retrieval has {count} trials of {length} tokens, which need"
            f" {count * length} tokens of the validation split; it has {tokens}. Lower trials or"
            " lengths, or raise validation_tokens"
        )


def _distance(drawn: Episode, length: int, share: float, task: Task) -> int:
    """The distance at a `share` (0..1) of the way from the shortest to the longest, on a log scale.

    Both are such that all other statements fit in after the one that is asked for, or before it.
    """
    sizes = [len(statement) for statement in drawn.statements]
    shortest = len(drawn.question) + sum(sizes) - sizes[drawn.asked]
    longest = length - 1 - sum(sizes)
    if longest < shortest:
        raise UserError(
            f"evaluation: length {length} is too short for task {task} of retrieval, it needs"
            f" {shortest + sum(sizes) + 1} tokens; raise it or leave the task out"
        )
    return min(int(shortest * ((longest + 1) / shortest) ** share), longest)


def _with_statements(passage: Tokens, drawn: Episode, distance: int, random: Random) -> Tokens:
    """The statements between pieces of the passage, and the question; as long as the control."""
    before = drawn.statements[: drawn.asked]
    behind = drawn.statements[drawn.asked + 1 :]
    filler = passage[: len(passage) - sum(map(len, drawn.statements))]
    rest = distance - len(drawn.question) - sum(map(len, behind))
    head, tail = np.split(filler, [len(filler) - rest])
    return np.concatenate(
        [
            *_interleaved(head, before, random),
            _tokens([drawn.statements[drawn.asked]]),
            *_interleaved(tail, behind, random),
            _tokens([drawn.question]),
        ]
    )


def _interleaved(filler: Tokens, statements: list[Piece], random: Random) -> list[Tokens]:
    """The statements at random places between pieces of the filler, in their order."""
    places = sorted(draw_below(random, len(filler) + 1) for _ in statements)
    first, *others = np.split(filler, places)
    pieces = [first]
    for statement, piece in zip(statements, others, strict=True):
        pieces += [_tokens([statement]), piece]
    return pieces


def _tokens(pieces: list[Piece]) -> Tokens:
    return np.array([token for piece in pieces for token in piece], dtype=np.uint16)
