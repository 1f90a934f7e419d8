"""run.json: its keys are those that finished runs have, and it belongs to one config.json."""

from pathlib import Path

import pytest

from rope_spectra.artifacts import seal
from rope_spectra.runtime.errors import UserError
from rope_spectra.training.record import DataFacts, check_run, read_run
from support.by_hand import SETTINGS

FACTS = {
    "identity": "0123",
    "settings": SETTINGS,
    "data": {"sha256": "4567", "tokens": 25_600},
    "inv_freq": [1.0, 0.1, 0.01, 0.001],
    "parameters": 3_648,
    "steps": 400,
    "tokens": 25_600,
    "micro_batch_size": 2,
    "processes": 1,
    "resumed_at_steps": [35],
    "device": {"type": "cpu", "name": "x86_64", "threads": 1, "mkl_cbwr": None, "compiled": False},
    "versions": {"python": "3.11.7"},
    "seconds": {"total": 3.5, "training": 1.25},
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    seal.write(tmp_path / "config.json", SETTINGS)
    (tmp_path / "train.csv").write_text("step\n")
    with seal.publishing(tmp_path / "run.json", FACTS, tmp_path / "train.csv") as (log,):
        log.write_text("step\n")
    return tmp_path


def test_a_record_that_is_read_and_written_again_is_the_same(run: Path) -> None:
    record = read_run(run)
    assert record.content() == FACTS | {"files": record.files}
    assert seal.dumps(record.content(), indent=2) + "\n" == (run / "run.json").read_text()


def test_the_sentence_of_the_probe_is_a_fact_only_where_there_is_one() -> None:
    facts = DataFacts(sha256="4567", tokens=1)
    assert facts.content() == {"sha256": "4567", "tokens": 1}
    assert facts.model_copy(update={"sentence": "89"}).content()["sentence"] == "89"


def test_a_run_of_other_settings_is_refused_with_the_difference(run: Path) -> None:
    training = SETTINGS["training"] | {"learning_rate": 2e-3}
    seal.write(run / "config.json", SETTINGS | {"training": training})
    with pytest.raises(UserError, match=r"training\.learning_rate \(0\.001 .* 0\.002\).*delete it"):
        read_run(run)


def test_a_file_that_is_not_the_one_of_the_training_is_refused(run: Path) -> None:
    check_run(run, read_run(run), "train.csv")
    (run / "train.csv").write_text("step\n0\n")
    with pytest.raises(UserError, match=r"train\.csv: .*sha256"):
        check_run(run, read_run(run), "train.csv")
