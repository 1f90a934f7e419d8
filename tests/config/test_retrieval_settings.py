"""The retrieval probe in config.yaml and in frozen settings."""

import pytest

from rope_spectra.config import frozen
from rope_spectra.config.frozen import RunSettings
from rope_spectra.config.load import load
from rope_spectra.config.shares import TaskShares
from rope_spectra.data.base import TASKS
from rope_spectra.runtime.errors import UserError
from support.configs import REMOVED, SHIPPED, edited

# All but the experiment on data that are tokens, which have no words to ask for.
OFF = edited("experiments/tokens", REMOVED)
PROBED = edited("evaluation/tiny/retrieval", {}, OFF)
TRAINED_IN = edited("training/tiny/retrieval_share", 0.5, PROBED)


def test_without_the_probe_frozen_settings_are_what_they_were_before_there_was_one() -> None:
    off = load(OFF)
    on = load(TRAINED_IN)
    without = frozen.run_settings(off, "demo", "geo", 42).content()
    assert "retrieval_share" not in without["training"]
    assert "retrieval" not in frozen.evaluation_settings(off, "demo").content()
    assert "retrieval" not in frozen.design(off, "demo").content()
    with_share = frozen.run_settings(on, "demo", "geo", 42).content()
    assert with_share["training"]["retrieval_share"] == 0.5
    # An evaluation with the probe needs no other training.
    assert frozen.run_settings(load(PROBED), "demo", "geo", 42).content() == without
    for settings in (frozen.evaluation_settings(on, "demo"), frozen.design(on, "demo")):
        assert settings.content()["retrieval"] == {"trials": 200, "distractors": 9}


@pytest.mark.parametrize("sentence", ["Key.", "{value} it is", " {value}", "{value} and {value}"])
def test_a_sentence_without_a_place_for_the_value_is_refused(sentence: str) -> None:
    message = r"^datasets\.toy\.retrieval_sentence: .* \{value\} once, after at least one word$"
    with pytest.raises(UserError, match=message):
        load(edited("datasets/toy/retrieval_sentence", sentence))


def test_tokens_without_a_tokenizer_cannot_be_probed() -> None:
    with pytest.raises(UserError) as error:
        load(edited("training/tiny/retrieval_share", 0.5, edited("evaluation/tiny/retrieval", {})))
    mistake = "needs a tokenizer, which datasets.raw has not; leave it out"
    assert str(error.value).splitlines() == [
        f"training.tiny.retrieval_share: {mistake}",
        f"evaluation.tiny.retrieval: {mistake}",
    ]


def test_tasks_are_frozen_where_they_are_asked() -> None:
    asked = load(
        edited("evaluation/tiny/retrieval", {"tasks": ["key", "pairs"], "trials": 10}, OFF)
    )
    settings = frozen.evaluation_settings(asked, "demo")
    assert settings.probe == "tasks"
    content = settings.content()["retrieval"]
    assert content == {"tasks": ["key", "pairs"], "trials": 10, "distractors": 9}
    assert frozen.design(asked, "demo").probed_tasks == ["key", "pairs"]
    assert frozen.evaluation_settings(load(PROBED), "demo").probe == "sentence"


def test_a_text_without_a_passage_for_each_trial_is_refused_before_anything_runs() -> None:
    library = load(OFF)
    longest = library.evaluation_of("demo").lengths[-1]
    tokens = library.dataset_of("demo").budget("validation")
    assert tokens
    trials = tokens // longest + 1
    tasks = {"tasks": ["key"], "trials": max(trials, 10)}
    key = f"datasets.{library.experiments['demo'].dataset}.validation_tokens"
    with pytest.raises(UserError, match=rf"{key}: {tokens} is too small; .*retrieval.trials x the"):
        load(edited("evaluation/tiny/retrieval", tasks, OFF))


def test_the_library_has_the_probe_at_both_sizes() -> None:
    library = load(SHIPPED)
    for name in ("retrieval", "retrieval_small"):
        assert library.training_of(name).retrieval_share > 0
        assert library.evaluation_of(name).retrieval
        assert len(library.experiments[name].seeds) >= 6
        assert library.experiments[name].selection
    assert library.training_of("demo").retrieval_share == 0
    assert library.evaluation_of("unified_search").retrieval is None


def test_shares_of_tasks_are_frozen_without_those_that_are_off() -> None:
    shares = {"pairs": 0.1, "key": 0.25, "item": 0}
    config = load(edited("training/tiny/retrieval_share", shares, OFF))
    content = frozen.run_settings(config, "demo", "geo", 42).content()
    assert content["training"]["retrieval_share"] == {"key": 0.25, "pairs": 0.1}
    assert config.training_of("demo").probe == "tasks"
    assert RunSettings(**content).training == config.training_of("demo").recipe


def test_the_sections_of_shares_are_the_tasks() -> None:
    assert tuple(TaskShares.model_fields) == TASKS


@pytest.mark.parametrize("share", [1, 1.0, 0, 0.25])
def test_a_number_stays_a_number(share: float) -> None:
    config = load(edited("training/tiny/retrieval_share", share, OFF))
    assert config.training_of("demo").retrieval_share == share
    assert config.training_of("demo").probe == ("sentence" if share else None)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"key": 0.7, "keys": 0.4}, ": the shares add up to 1.1; lower them to 1 at most"),
        ({"key": 0}, ": no task has a share; give one of them a share, or leave the key out"),
        ({"key": 1.5}, ".key: 1.5 is too large; the most is 1"),
        ({"key": 0.1, "kyes": 0.1}, ": unknown key 'kyes'; did you mean 'keys'?"),
        ("half", ": "),
        ([0.5], ": "),
    ],
)
def test_bad_shares_are_one_line(shares: object, message: str) -> None:
    with pytest.raises(UserError) as error:
        load(edited("training/tiny/retrieval_share", shares, OFF))
    assert str(error.value).startswith(f"training.tiny.retrieval_share{message}")
    assert len(str(error.value).splitlines()) == 1
