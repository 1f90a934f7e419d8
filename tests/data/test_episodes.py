"""The tasks of the retrieval probe: what they state and ask, and what answers."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.data import episodes
from rope_spectra.data.base import TASKS, Task
from rope_spectra.data.episodes import Draft, Episode, Words
from rope_spectra.runtime.errors import UserError
from support.probed import WORDS

tasks = st.sampled_from(TASKS)
streams = st.integers(0, 10_000)
MARK = WORDS.pieces


def made(task: Task, stream: int, distractors: int = 9) -> Episode:
    return episodes.episode(task, WORDS, Random(f"test/{stream}"), distractors)


def answer_by_hand(task: Task, statements: list[tuple[int, ...]], question: tuple[int, ...]) -> int:
    """The answer as the docstring of the module defines it, found by reading the statements."""
    *_, named = question
    if task == "item":
        places = {MARK[text][0]: int(text) for text in "1234"}
        return statements[0][places[named]]
    if task == "pairs":
        return statements[0][statements[0].index(named) + 1]
    by_name = {statement[1]: statement[2] for statement in statements}
    return by_name[by_name[named]] if task == "variable" else by_name[named]


@given(task=tasks, stream=streams)
def test_every_question_is_answered_by_the_statements_alone(task: Task, stream: int) -> None:
    draft: Draft = episodes.drafted(task, WORDS, Random(f"test/{stream}"))
    assert len({question.answer for question in draft.questions}) == len(draft.questions)
    for asked, question, answer in draft.questions:
        assert answer == answer_by_hand(task, draft.statements, question)
        assert answer in draft.statements[asked]
        elsewhere = [held for place, held in enumerate(draft.statements) if place != asked]
        assert all(answer not in statement for statement in elsewhere)
    words = [token for held in draft.statements for token in held if token in WORDS.words]
    twice = {"variable": episodes.CHAINS}.get(task, 0)
    assert len(words) - len(set(words)) == twice


@given(task=tasks, stream=streams, distractors=st.integers(1, 31))
def test_candidates_are_different_words_and_the_true_one_is_first(
    task: Task, stream: int, distractors: int
) -> None:
    drawn = made(task, stream, distractors)
    true, *wrong = drawn.candidates
    assert len(set(drawn.candidates)) == len(drawn.candidates) == 1 + distractors
    assert set(drawn.candidates) <= set(WORDS.words)
    assert true == answer_by_hand(task, drawn.statements, drawn.question)
    draft = episodes.drafted(task, WORDS, Random(f"test/{stream}"))
    assert draft.statements == drawn.statements
    rivals = {question.answer for question in draft.questions} - {true}
    held = {token for statement in drawn.statements for token in statement}
    # All other answers compete, as far as there is place; of the other words none is in the text.
    assert len(set(wrong) & rivals) == min(distractors, len(rivals))
    assert not (set(wrong) - rivals) & held


@given(task=tasks, stream=streams)
def test_an_episode_takes_forty_tokens_at_most(task: Task, stream: int) -> None:
    drawn = made(task, stream)
    assert sum(map(len, drawn.statements)) + len(drawn.question) + 1 <= 40
    assert drawn == made(task, stream)


@pytest.mark.parametrize("task", TASKS)
def test_which_question_is_asked_and_which_word_is_true_varies(task: Task) -> None:
    drawn = [made(task, stream) for stream in range(400)]
    draft = episodes.drafted(task, WORDS, Random("test/0"))
    assert {episode.asked for episode in drawn} == {question.asked for question in draft.questions}
    assert {episode.candidates[0] for episode in drawn} == set(WORDS.words)


def test_the_second_variables_come_in_any_order() -> None:
    orders = set()
    for stream in range(50):
        statements = made("variable", stream).statements
        orders.add(statements[2][2] == statements[0][1])
    assert orders == {True, False}


@pytest.mark.parametrize("task", TASKS)
def test_too_few_words_are_one_line(task: Task) -> None:
    few = Words(words=WORDS.words[:3], pieces=MARK)
    message = rf"^retrieval: task {task} needs \d+ words, the text has 3 .*; lower distractors"
    with pytest.raises(UserError, match=message):
        episodes.episode(task, few, Random(0), 9)


def test_the_number_of_words_that_a_message_asks_for_is_enough() -> None:
    few = Words(words=WORDS.words[:20], pieces=MARK)
    with pytest.raises(UserError, match="needs 38 words"):
        episodes.episode("pairs", few, Random(0), 31)
    enough = Words(words=WORDS.words[:38], pieces=MARK)
    assert len(episodes.episode("pairs", enough, Random(0), 31).candidates) == 32


def test_the_identity_of_words_never_changes() -> None:
    """It is a part of the identity of runs."""
    assert WORDS.sha256 == "3a41d31c085562bd9635087d6b837841df739167e368f89ad1c44bca209381bc"
