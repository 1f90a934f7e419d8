"""Training rows that have the tasks of the retrieval probe between their text."""

from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.config.sections import TrainingRecipe
from rope_spectra.config.shares import TaskShares
from rope_spectra.data.base import TASKS, Task
from rope_spectra.data.episodes import Words, drafted
from rope_spectra.runtime.errors import UserError
from rope_spectra.training import batches, rows
from support.probed import KEY, TEXT, WORDS

tasks = st.sampled_from(TASKS)
ALL = dict.fromkeys(TASKS, 0.15)


def recipe(share: float | TaskShares, seq_len: int = 128) -> TrainingRecipe:
    return TrainingRecipe(seq_len=seq_len, batch_size=8, learning_rate=0.001, retrieval_share=share)


@given(shares=st.lists(st.floats(0, 1 / len(TASKS)), min_size=5, max_size=5))
def test_every_task_has_its_share_of_the_first_rows(shares: list[float]) -> None:
    by_task = dict(zip(TASKS, shares, strict=True))
    drawn = [rows.task_of(number, by_task) for number in range(2000)]
    for task, share in by_task.items():
        for n in (200, 2000):
            assert drawn[:n].count(task) == pytest.approx(n * share, abs=6)


def test_the_tasks_of_the_rows_never_change() -> None:
    """They are a part of what finished runs have read."""
    drawn = [rows.task_of(number, ALL) for number in range(12)]
    assert drawn == [
        *("pairs", "keys", None, "variable", "key", "pairs"),
        *("item", None, "variable", "keys", None, "item"),
    ]


@given(task=tasks, seq_len=st.integers(64, 256), start=st.integers(0, 10_000))
def test_a_row_states_and_then_asks_between_its_own_text(
    task: Task, seq_len: int, start: int
) -> None:
    table = TEXT[: 8 * seq_len].reshape(8, seq_len)
    before = table.copy()
    numbers = np.arange(start, start + 8)
    changed = rows.with_episodes(table, numbers, WORDS, {task: 1.0})
    np.testing.assert_array_equal(table, before)
    for old, new, number in zip(table, changed, numbers.tolist(), strict=True):
        # The text has no token from 900 on, the probe has no other.
        said, text = new[new >= 900].tolist(), new[new < 900]
        np.testing.assert_array_equal(text, old[: len(text)])
        assert len(said) <= seq_len // 2
        draft = drafted(task, WORDS, Random(f"probe/{task}/row/{number}"))
        stated = [token for statement in draft.statements for token in statement]
        assert said[: len(stated)] == stated
        rest = said[len(stated) :]
        answered = {(*asked.tokens, asked.answer, *WORDS.pieces["."]) for asked in draft.questions}
        size = len(next(iter(answered)))
        asked = [tuple(rest[place : place + size]) for place in range(0, len(rest), size)]
        assert 1 <= len(asked) == rows.count_questions(task, draft, WORDS, seq_len) <= seq_len // 16
        assert set(asked) <= answered
        # None is asked again before all have been asked.
        assert len(set(asked)) == min(len(asked), len(draft.questions))


def test_rows_without_a_task_are_text_alone() -> None:
    table = TEXT[:4992].reshape(-1, 128)
    numbers = np.arange(len(table))
    changed = rows.with_episodes(table, numbers, WORDS, ALL)
    for old, new, number in zip(table, changed, numbers.tolist(), strict=True):
        assert (old == new).all() == (rows.task_of(number, ALL) is None)


def test_a_row_is_the_same_in_whatever_batch_it_comes() -> None:
    table = TEXT[:4992].reshape(-1, 96)
    change = rows.change(WORDS, recipe(TaskShares(**ALL), 96))

    def read(start: int, share: slice) -> torch.Tensor:
        return torch.cat(list(batches.batches(table, 4, 3, start, share, change)))

    whole = read(0, slice(None))
    assert torch.equal(whole[20:], read(5, slice(None)))
    for part in (slice(0, 2), slice(2, 4)):
        assert torch.equal(whole.view(-1, 4, 96)[:, part].reshape(-1, 96), read(0, part))
    plain = torch.cat(list(batches.batches(table, 4, 3, 0, slice(None))))
    assert 0.6 < (whole != plain).any(dim=1).float().mean() < 0.9


def test_a_number_puts_the_sentence_in_and_nothing_leaves_rows_alone() -> None:
    table = TEXT[:1280].reshape(-1, 128)
    change = rows.change(KEY, recipe(1.0))
    assert change is not None
    assert (change(table, np.arange(len(table))) == 900).any(axis=1).all()
    assert rows.change(None, recipe(0.0)) is None


@pytest.mark.parametrize("task", TASKS)
def test_a_row_too_short_for_a_task_is_one_line(task: Task) -> None:
    message = rf"^training: seq_len 8 is too short for task {task} .* \d+ tokens; raise"
    with pytest.raises(UserError, match=message) as error:
        rows.check(WORDS, recipe(TaskShares(**{task: 0.5}), 8))
    needed = int(str(error.value).split("needs ")[1].split()[0])
    assert needed <= 96
    rows.check(WORDS, recipe(TaskShares(**{task: 0.5}), needed))


def test_a_text_with_too_few_words_is_one_line() -> None:
    few = Words(words=WORDS.words[:10], pieces=WORDS.pieces)
    with pytest.raises(UserError, match=r"^retrieval: task pairs needs 12 words, the text has 10"):
        rows.check(few, recipe(TaskShares(pairs=0.5)))
    rows.check(few, recipe(TaskShares(key=0.5, keys=0.5)))
