"""Training rows that have the retrieval probe between their text: its sentence, or its tasks.

A row with a task has the statements of an episode and then questions about them with their answers,
so that a model can learn to look back. The tasks are described in docs/protocol.md, section 6.
"""

from collections.abc import Mapping
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rope_spectra.config.sections import TrainingRecipe
from rope_spectra.config.shares import TaskShares
from rope_spectra.data.base import Task
from rope_spectra.data.cache import Tokens
from rope_spectra.data.episodes import Draft, Piece, Words, drafted
from rope_spectra.data.sentence import (
    Sentence,
    draw_below,
    draw_distinct,
    mentions,
    with_sentences,
)
from rope_spectra.runtime.errors import UserError

# The command reads and checks a run before it imports torch, which takes seconds.
if TYPE_CHECKING:
    from rope_spectra.training.batches import RowChange

# Of a row, at most: one for every so many tokens, so that longer rows are no poorer in questions,
# up to a number at which they would be little but repetition.
TOKENS_PER_QUESTION = 16
QUESTIONS = 32

# Steps of this size around a circle fall on it as evenly as any.
_GOLDEN = (5**0.5 - 1) / 2


def change(asked: Sentence | Words | None, recipe: TrainingRecipe) -> "RowChange | None":
    """Puts what the probe asks with into the recipe's share of the rows; None without a probe."""
    share = recipe.retrieval_share
    if isinstance(asked, Words) and isinstance(share, TaskShares):
        return partial(with_episodes, words=asked, shares=share.by_task)
    if isinstance(asked, Sentence) and isinstance(share, float):
        return partial(with_sentences, sentence=asked, share=share)
    return None


def check(asked: Sentence | Words | None, recipe: TrainingRecipe) -> None:
    """Raises UserError where the rows are too short for the probe, or the text has few words."""
    if isinstance(asked, Sentence):
        mentions(asked, recipe.seq_len)
    if isinstance(asked, Words) and isinstance(recipe.retrieval_share, TaskShares):
        for task in recipe.retrieval_share.by_task:
            count_questions(task, drafted(task, asked, Random(0)), asked, recipe.seq_len)


def with_episodes(
    rows: Tokens, numbers: NDArray[np.int64], words: Words, shares: Mapping[Task, float]
) -> Tokens:
    """Training rows [n, T], a share of them with each task.

    numbers [n] are the places of the rows in the data. They alone decide which rows have a task,
    and all that it says, so that all runs on the same data see the same rows. The text makes room
    at the end of its row.
    """
    changed = np.array(rows)
    for row, number in zip(changed, numbers.tolist(), strict=True):
        task = task_of(number, shares)
        if task is not None:
            row[:] = _interleaved(row, task, words, Random(f"probe/{task}/row/{number}"))
    return changed


def task_of(number: int, shares: Mapping[Task, float]) -> Task | None:
    """The task of a row, None for a row of text alone; each task's rows are evenly spread."""
    place = (number + 1) * _GOLDEN % 1
    end = 0.0
    for task, share in shares.items():
        end += share
        if place < end:
            return task
    return None


def _interleaved(row: Tokens, task: Task, words: Words, random: Random) -> Tokens:
    draft = drafted(task, words, random)
    pieces = list(draft.statements)
    order: list[int] = []
    for _ in range(count_questions(task, draft, words, len(row))):
        # Each question once, in any order, before one is asked again.
        order = order or draw_distinct(random, range(len(draft.questions)), len(draft.questions))
        pieces.append(_answered(draft, order.pop(), words))
    room = len(row) - sum(map(len, pieces))
    places = sorted(draw_below(random, room + 1) for _ in pieces)
    first, *others = np.split(row[:room], places)
    parts = [first]
    for piece, text in zip(pieces, others, strict=True):
        parts += [np.array(piece, dtype=np.uint16), text]
    return np.concatenate(parts)


def _answered(draft: Draft, place: int, words: Words) -> Piece:
    question = draft.questions[place]
    return (*question.tokens, question.answer, *words.pieces["."])


def count_questions(task: Task, draft: Draft, words: Words, row_length: int) -> int:
    """Questions of a row with this draft, as many as it may have in half of the row with all else.

    UserError where not one fits.
    """
    stated = sum(map(len, draft.statements))
    asked = len(_answered(draft, 0, words))
    most = min(QUESTIONS, row_length // TOKENS_PER_QUESTION)
    fitting = min(most, (row_length // 2 - stated) // asked)
    if fitting < 1:
        raise UserError(
            f"training: seq_len {row_length} is too short for task {task} of retrieval_share, it"
            f" needs {2 * (stated + asked)} tokens; raise it or leave the task out"
        )
    return fitting
