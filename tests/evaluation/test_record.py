"""eval.json as a typed record."""

import json
from pathlib import Path

import pytest

from rope_spectra.artifacts import seal
from rope_spectra.config.sections import EvaluationSettings
from rope_spectra.evaluation.record import read_evaluation
from rope_spectra.runtime.errors import UserError

RUN = "results/quick/geo_500k/seed1"


@pytest.fixture(scope="module")
def settings(finished: Path) -> EvaluationSettings:
    return seal.load_settings(finished / "results/quick/evaluation.json", EvaluationSettings)


def test_the_record_holds_what_is_in_the_file(finished: Path, settings: EvaluationSettings) -> None:
    """Key for key: records of earlier versions stay as they are when they are read and compared."""
    content = json.loads((finished / RUN / "eval.json").read_text())
    del content["seal"]
    record = read_evaluation(finished / RUN, settings)
    assert record.model_dump(mode="json") == content
    assert set(content) == {"run", "settings", "data", "files"}
    assert set(content["run"]) == {"identity", "settings", "data", "model"}


def test_an_evaluation_with_other_settings_is_refused_with_the_difference(
    finished: Path, settings: EvaluationSettings
) -> None:
    other = settings.model_copy(update={"chunks": settings.chunks + 1})
    with pytest.raises(
        UserError, match=r"eval\.json: was evaluated with another chunks .*; delete"
    ):
        read_evaluation(finished / RUN, other)
