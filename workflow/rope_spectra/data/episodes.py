"""The tasks of the retrieval probe: statements that a text holds, and questions about them.

A task is a way to state things in words and marks, and to ask for one of them. All is in tokens and
drawn with Random.random(), which gives the same numbers in every Python version. The tasks are
described in docs/protocol.md, section 6:

    key       # moon lunch.  ...  # moon
    keys      # moon lunch.  ...  # Lily father.  ...  # Grace well.  ...  # Lily
    item      * moon lunch father Grace.  ...  * 3
    variable  @ moon lunch.  ...  @ Lily moon.  ...  ? Lily
    pairs     % moon lunch Lily father Grace well.  ...  % Lily

The answers here are lunch, father, father, lunch and father.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeAlias

from rope_spectra.artifacts import seal
from rope_spectra.data.base import Probe, Task
from rope_spectra.data.sentence import Sentence, draw_below, draw_distinct
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Record

Piece: TypeAlias = tuple[int, ...]

NAMED_KEYS = 4
ITEMS = 4
CHAINS = 2
PAIRS = 6

_ORDINALS = tuple(str(place) for place in range(1, ITEMS + 1))
# All that stands around the words. Each is encoded by itself, so that the same tokens stand around
# every word; a byte-level tokenizer has one token for each of them.
PIECES = ("#", "*", "@", "?", "%", ".", *_ORDINALS)


class Words(Record):
    """Token ids of the words that statements are made of, and of what stands around them.

    words: whole words of the text of one token each, the most frequent first. pieces: the tokens of
    each of PIECES.
    """

    words: tuple[int, ...]
    pieces: dict[str, Piece]

    @property
    def sha256(self) -> str:
        """Tells one set of words from another."""
        # A part of the identity of finished runs: the text that is hashed must stay as it is.
        return hashlib.sha256(json.dumps(self.content(), sort_keys=True).encode()).hexdigest()


def read_probe(path: Path | None, probe: Probe | None) -> Sentence | Words | None:
    """The sentence or the words of the retrieval probe, from their sealed record; None without it.

    UserError if the record is wanted and missing or damaged.
    """
    if probe is None:
        return None
    command = "sentence" if probe == "sentence" else "probe_words"
    if path is None:
        raise UserError(
            "--sentence: is missing, but these settings have the retrieval probe;"
            f" give the file that rope_spectra.{command} wrote"
        )
    if probe == "sentence":
        return seal.load_record(path, Sentence)
    return seal.load_record(path, Words)


class Question(NamedTuple):
    """A question about one of the statements: its tokens up to the answer, and the answer."""

    asked: int
    tokens: Piece
    answer: int


class Draft(NamedTuple):
    """Statements in the order of the text, and every question that can be asked about them."""

    statements: list[Piece]
    questions: list[Question]


class Episode(NamedTuple):
    """Statements in the order of the text, and one question about them.

    asked: index of the statement that holds the answer, whose distance counts. question: tokens up
    to the answer. candidates: tokens that may answer it, the true one first.
    """

    statements: list[Piece]
    asked: int
    question: Piece
    candidates: list[int]


def episode(task: Task, words: Words, random: Random, distractors: int) -> Episode:
    """An episode of a task, with `distractors` wrong candidates.

    What answers the other questions about its statements comes first among the wrong candidates;
    the rest are words that it does not hold. UserError where there are too few words.
    """
    draft = drafted(task, words, random)
    asked, question, answer = draft.questions[draw_below(random, len(draft.questions))]
    rivals = [other.answer for other in draft.questions if other.answer != answer]
    held = {token for statement in draft.statements for token in statement}
    others = [word for word in words.words if word not in held]
    missing = distractors - len(rivals)
    if missing > len(others):
        raise _too_few(task, words, len(words.words) + missing - len(others))
    candidates = [answer, *draw_distinct(random, rivals, min(distractors, len(rivals)))]
    candidates += draw_distinct(random, others, max(missing, 0))
    return Episode(draft.statements, asked, question, candidates)


def drafted(task: Task, words: Words, random: Random) -> Draft:
    """New statements of a task, and all questions about them; UserError with too few words."""
    count, write = _TASKS[task]
    if len(words.words) < count:
        raise _too_few(task, words, count)
    return write(words.pieces, draw_distinct(random, words.words, count))


def _too_few(task: Task, words: Words, needed: int) -> UserError:
    return UserError(
        f"retrieval: task {task} needs {needed} words, the text has {len(words.words)} frequent"
        " ones of one token; lower distractors, leave the task out, or choose a tokenizer with more"
        " whole words"
    )


def _keys(pieces: dict[str, Piece], drawn: list[int]) -> Draft:
    """Each statement gives a key a value; a question names a key."""
    draft = Draft([], [])
    for place, (key, value) in enumerate(_in_twos(drawn)):
        question = (*pieces["#"], key)
        draft.statements.append((*question, value, *pieces["."]))
        draft.questions.append(Question(place, question, value))
    return draft


def _items(pieces: dict[str, Piece], drawn: list[int]) -> Draft:
    """The statement is a list without numbers; a question names a place in it."""
    questions = [
        Question(0, (*pieces["*"], *pieces[ordinal]), item)
        for ordinal, item in zip(_ORDINALS, drawn, strict=True)
    ]
    return Draft([(*pieces["*"], *drawn, *pieces["."])], questions)


def _variables(pieces: dict[str, Piece], drawn: list[int]) -> Draft:
    """Statements give values to variables, later ones hand each value on to a second variable.

    A question names a second variable.
    """
    chains = list(zip(drawn[::3], drawn[1::3], drawn[2::3], strict=True))
    draft = Draft([], [])
    for first, _, value in chains:
        draft.statements.append((*pieces["@"], first, value, *pieces["."]))
    # By token id, an order that says nothing of the order of the values.
    for first, second, value in sorted(chains, key=lambda chain: chain[1]):
        draft.statements.append((*pieces["@"], second, first, *pieces["."]))
        asked = chains.index((first, second, value))
        draft.questions.append(Question(asked, (*pieces["?"], second), value))
    return draft


def _pairs(pieces: dict[str, Piece], drawn: list[int]) -> Draft:
    """The statement is a row of pairs; a question names the first of a pair."""
    questions = [Question(0, (*pieces["%"], first), second) for first, second in _in_twos(drawn)]
    return Draft([(*pieces["%"], *drawn, *pieces["."])], questions)


def _in_twos(drawn: list[int]) -> list[tuple[int, int]]:
    return list(zip(drawn[::2], drawn[1::2], strict=True))


_Writer: TypeAlias = Callable[[dict[str, Piece], list[int]], Draft]

# Of each task the number of words that its statements hold, and its writer.
_TASKS: dict[Task, tuple[int, _Writer]] = {
    "key": (2, _keys),
    "keys": (2 * NAMED_KEYS, _keys),
    "item": (ITEMS, _items),
    "variable": (3 * CHAINS, _variables),
    "pairs": (2 * PAIRS, _pairs),
}
