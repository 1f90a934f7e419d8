"""Trials of the tasks: what stands where, how far back, and that nothing is shared between them."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from rope_spectra.data.base import TASKS, Task
from rope_spectra.data.episodes import Words
from rope_spectra.evaluation import trials as module
from rope_spectra.evaluation.trials import Trials
from rope_spectra.runtime.errors import UserError
from support.probed import WORDS

# No token twice, so that each says where in the text it stands; words and marks are above 60,000.
TEXT = np.arange(60_000, dtype=np.uint16)
APART = Words(
    words=tuple(word + 60_000 for word in WORDS.words),
    pieces={text: tuple(token + 60_000 for token in ids) for text, ids in WORDS.pieces.items()},
)
MARKS = {text: ids[0] for text, ids in APART.pieces.items()}
GOLDEN_CANDIDATES = [[61002, 61024, 61036, 61037], [61002, 61013, 61032, 61024]]
GOLDEN_DISTANCES = [17, 23]
# Four statements, a piece of the second half of the text, and the question.
GOLDEN_IDS = [60900, 61000, 61032, 60905, 60900, 61006, 61013, 60905, 60900, 61017, 61024, 60905]
GOLDEN_IDS += [60900, 61004, 61002, 60905, *range(30000, 30021), 60900, 61004]
tasks = st.sampled_from(TASKS)


def made(task: Task, length: int = 256, count: int = 50, seed: int = 42, **how: int) -> Trials:
    return module.trials(task, APART, TEXT, length, count, how.get("distractors", 9), seed)


def filler(ids: NDArray[np.uint16]) -> list[int]:
    return [token for token in ids.tolist() if token < 60_000]


@given(
    task=tasks,
    length=st.integers(80, 1200),
    count=st.integers(1, 50),
    distractors=st.integers(1, 25),
    seed=st.integers(0, 2**63 - 1),
)
@settings(max_examples=60)
def test_a_trial_is_a_passage_of_its_own_part_of_the_text_with_statements_and_a_question(
    task: Task, length: int, count: int, distractors: int, seed: int
) -> None:
    drawn = made(task, length, count, seed, distractors=distractors)
    assert drawn.ids.shape == drawn.control.shape == (count, length - 1)
    assert drawn.candidates.shape == (count, 1 + distractors)
    assert drawn.ids.dtype == drawn.control.dtype == np.uint16
    width = len(TEXT) // count
    for trial, (ids, control) in enumerate(zip(drawn.ids, drawn.control, strict=True)):
        start = trial * width
        for text in (filler(ids), filler(control)):
            assert text == list(range(start, start + len(text)))
            assert len(text) <= width


@pytest.mark.parametrize("task", TASKS)
def test_the_distance_is_from_the_end_of_the_statement_with_the_answer(task: Task) -> None:
    drawn = made(task, length=300)
    for ids, answer, distance in zip(
        drawn.ids, drawn.candidates[:, 0], drawn.distance, strict=True
    ):
        (place,) = np.flatnonzero(ids == answer)
        end = place + ids[place:].tolist().index(MARKS["."]) + 1
        assert len(ids) - end == distance


@pytest.mark.parametrize("task", TASKS)
def test_the_control_has_no_statement_and_not_the_answer(task: Task) -> None:
    drawn = made(task, length=300)
    for ids, control, candidates in zip(*drawn[:3], strict=True):
        assert not set(candidates.tolist()) & set(control.tolist())
        question = [token for token in control.tolist() if token >= 60_000]
        assert len(question) == 2
        assert control.tolist()[-2:] == ids.tolist()[-2:] == question
        assert candidates[0] in ids


@pytest.mark.parametrize("task", TASKS)
def test_distances_are_spread_evenly_on_a_log_scale(task: Task) -> None:
    count = 200
    length = 300
    drawn = made(task, length=length, count=count)
    # Whole numbers are coarse at the start of a log scale.
    shortest, longest = drawn.distance.min(), drawn.distance.max() + 1
    shares = np.log(drawn.distance + 0.5, dtype=float) - np.log(shortest)
    shares /= np.log(longest) - np.log(shortest)
    far = drawn.distance >= 32
    ranks = np.sort(shares[far])
    uniform = stats.kstest(ranks, stats.uniform(ranks[0], ranks[-1] - ranks[0]).cdf)
    assert uniform.statistic < 0.03
    assert longest > 0.8 * length
    assert shortest < 30


def test_distances_lie_in_equal_intervals_of_the_logarithm() -> None:
    """Of key, whose distances go from that of the question alone, 2 tokens, to all of the room."""
    drawn = made("key", length=1000, count=60)
    share = np.log(np.sort(drawn.distance) / 2) / np.log((1000 - 1 - 4 + 1) / 2)
    expected = (np.arange(60) + 0.5) / 60
    far = np.sort(drawn.distance) > 60
    np.testing.assert_allclose(share[far], expected[far], atol=0.6 / 60)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_trials_of_other_seeds_lengths_and_tasks_share_no_draw(seed: int) -> None:
    """Equal draws would give equal candidates or equal orders of the distances."""
    same = made("key", seed=seed)
    np.testing.assert_array_equal(same.ids, made("key", seed=seed).ids)
    all_trials = [same, made("key", seed=seed + 1), made("key", length=512, seed=seed)]
    all_trials += [made("pairs", seed=seed), made("item", seed=seed)]
    for one, other in combinations(all_trials, 2):
        equal = (one.candidates == other.candidates).mean()
        assert equal < 0.1  # 1 of 40 by chance
        order = stats.spearmanr(one.distance, other.distance).statistic
        assert abs(order) < 0.6


def test_trials_are_the_same_on_every_machine() -> None:
    drawn = made("keys", length=40, count=2, seed=7, distractors=3)
    assert drawn.candidates.tolist() == GOLDEN_CANDIDATES
    assert drawn.distance.tolist() == GOLDEN_DISTANCES
    assert drawn.ids[1].tolist() == GOLDEN_IDS


@pytest.mark.parametrize(
    ("text", "length", "distractors", "message"),
    [
        (4999, 500, 9, "^evaluation: .*10 trials of 500 .* need 5000 .*has 4999.*raise validation"),
        (5000, 28, 9, "^evaluation: length 28 .*task keys.*needs 31 tokens; raise it or leave"),
        (5000, 500, 36, "^retrieval: task keys needs 41 words.*lower distractors"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    text: int, length: int, distractors: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        module.trials("keys", APART, TEXT[:text], length, 10, distractors, 42)
