"""The retrieval probe in config.yaml and in frozen settings."""

import pytest

from rope_spectra.config import frozen
from rope_spectra.config.load import load
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


def test_the_library_has_the_probe_at_both_sizes() -> None:
    library = load(SHIPPED)
    for name in ("retrieval", "retrieval_small"):
        assert library.training_of(name).retrieval_share > 0
        assert library.evaluation_of(name).retrieval
        assert len(library.experiments[name].seeds) >= 6
        assert library.experiments[name].selection
    assert library.training_of("demo").retrieval_share == 0
    assert library.evaluation_of("unified_search").retrieval is None
