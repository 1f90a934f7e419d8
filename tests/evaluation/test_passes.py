"""The tasks of the retrieval probe, asked of models whose answers are known."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

from rope_spectra.config.sections import EvaluationSettings, Retrieval
from rope_spectra.data.base import TASKS
from rope_spectra.evaluation import passes, trials
from rope_spectra.runtime.errors import UserError
from support.probed import WORDS

VOCABULARY = 1100
TRAIN_LENGTH = 64
COUNT = 20
TEXT = np.random.default_rng(0).integers(0, 800, COUNT * 256).astype(np.uint16)
MARK = {ids[0]: text for text, ids in WORDS.pieces.items()}


def looked_up(ids: list[int]) -> int | None:
    """What answers the question at the end of a text, found by reading its statements."""
    *before, mark, named = ids
    asked = MARK[mark]
    statements = []
    for place, token in enumerate(before):
        if MARK.get(token) == ("@" if asked == "?" else asked):
            end = place + [MARK.get(other) for other in before[place:]].index(".")
            statements.append(before[place + 1 : end])
    if asked == "*" and statements:
        return statements[0][int(MARK[named]) - 1]
    if asked == "%" and named in (statements or [[]])[0]:
        return statements[0][statements[0].index(named) + 1]
    known = {words[0]: words[1] for words in statements if len(words) == 2}
    answer = known.get(named)
    return known.get(answer) if asked == "?" else answer


class Copier:
    """A model that likes the lowest of all tokens best, but for what it can look up."""

    inv_freq = torch.tensor([1.0, 0.1])

    def __init__(self) -> None:
        self.read: list[int] = []  # lengths of the texts that it was given

    @contextmanager
    def rotated_by(self, *_: object) -> Iterator[None]:
        yield

    def hidden(self, ids: Tensor) -> Tensor:
        self.read += [ids.shape[1]] * len(ids)
        logits = -torch.arange(VOCABULARY).repeat(len(ids), 1, 1).float() / VOCABULARY
        for row, text in zip(logits, ids.tolist(), strict=True):
            answer = looked_up(text)
            if answer is not None:
                row[0, answer] = 10.0
        return logits

    def lm_head(self, hidden: Tensor) -> Tensor:
        return hidden


def settings(**keys: object) -> EvaluationSettings:
    probe = Retrieval(trials=COUNT, tasks=list(TASKS))
    return EvaluationSettings(**{"lengths": [64, 256], "retrieval": probe} | keys)


@pytest.fixture(scope="module")
def asked() -> passes.Arrays:
    return passes.tasks(Copier(), TEXT, WORDS, 42, settings(), TRAIN_LENGTH, "fp32")


def right(nll: np.ndarray) -> np.ndarray:
    return nll[:, 0] < nll[:, 1:].min(axis=1)


@pytest.mark.parametrize("task", TASKS)
def test_a_model_that_copies_is_always_right(asked: passes.Arrays, task: str) -> None:
    for length in (64, 256):
        assert asked[f"none/{length}/retrieval/{task}"].shape == (COUNT, 10)
        assert right(asked[f"none/{length}/retrieval/{task}"]).all()


def test_without_the_statements_it_is_at_chance() -> None:
    text = np.resize(TEXT, 400 * 64)
    few = settings(lengths=[64], retrieval=Retrieval(trials=400, tasks=list(TASKS)))
    found = passes.tasks(Copier(), text, WORDS, 42, few, TRAIN_LENGTH, "fp32")
    for task in TASKS:
        share = right(found[f"none/64/retrieval/{task}/control"]).mean()
        assert abs(share - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 400)


@pytest.mark.parametrize("task", ["key", "item", "pairs"])
def test_truncated_it_is_right_where_the_statement_is_left(asked: passes.Arrays, task: str) -> None:
    """Statements of one piece: at least its first token is needed to read it."""
    size = {"key": 4, "item": 6, "pairs": 14}[task]
    whole = asked[f"none/256/retrieval/{task}"]
    truncated = asked[f"none/256/retrieval/{task}/truncated"]
    inside = asked[f"none/256/retrieval/{task}/distance"] + size <= TRAIN_LENGTH - 1
    assert 0 < inside.sum() < COUNT
    np.testing.assert_array_equal(truncated[inside], whole[inside])
    assert not right(truncated[~inside]).all()


def test_truncated_reads_one_token_less_than_the_training_length() -> None:
    model = Copier()
    passes.tasks(model, TEXT, WORDS, 42, settings(), TRAIN_LENGTH, "fp32")
    of_all = COUNT * len(TASKS)
    assert model.read == [63] * (2 * of_all) + [255] * (2 * of_all) + [63] * of_all


def test_remaps_share_what_they_do_not_change_and_the_trials() -> None:
    model = Copier()
    remaps = settings(remaps=["none", "pi", "pi@2"])
    found = passes.tasks(model, TEXT, WORDS, 42, remaps, TRAIN_LENGTH, "fp32")
    of_all = COUNT * len(TASKS)
    # pi leaves the texts of the training length as they are, pi@2 does not.
    assert model.read.count(255) == 3 * 2 * of_all
    assert model.read.count(63) == (2 * 2 + 2) * of_all
    assert f"pi/{TRAIN_LENGTH}/retrieval/key/truncated" not in found
    for task in TASKS:
        np.testing.assert_array_equal(
            found[f"pi@2/256/retrieval/{task}/distance"],
            found[f"none/256/retrieval/{task}/distance"],
        )


def test_without_tasks_nothing_is_asked() -> None:
    first = settings(retrieval=Retrieval(trials=COUNT))
    assert passes.tasks(Copier(), TEXT, WORDS, 42, first, TRAIN_LENGTH, "fp32") == {}


def test_what_cannot_be_asked_is_refused_before_a_model_is_read() -> None:
    asked = settings().retrieval
    assert asked
    with pytest.raises(UserError, match=r"^evaluation: retrieval has 20 trials of 256 tokens"):
        trials.check(asked, WORDS, TEXT[1:], [64, 256], 42)
    many = asked.model_copy(update={"distractors": 31})
    with pytest.raises(UserError, match=r"^retrieval: task key needs 33 words"):
        trials.check(many, WORDS.model_copy(update={"words": WORDS.words[:32]}), TEXT, [64], 42)
    trials.check(asked, WORDS, TEXT, [64, 256], 42)
