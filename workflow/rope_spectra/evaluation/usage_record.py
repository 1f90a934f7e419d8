"""The record of what a trained model uses: usage.json, which certifies usage.npz."""

from pathlib import Path

from rope_spectra.artifacts import layout, provenance, seal
from rope_spectra.config.sections import UsageSettings
from rope_spectra.evaluation.record import (
    EVAL_RECORD,
    EvaluatedRun,
    EvaluationRecord,
    evaluated,
)
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Record
from rope_spectra.training.record import DataFacts, read_run

USAGE = Path(layout.USAGE).name
USAGE_RECORD = Path(layout.USAGE_RECORD).name


class UsageFacts(Record):
    """The inputs of the measurement; `data` is the validation text."""

    run: EvaluatedRun
    settings: UsageSettings
    data: DataFacts


class UsageRecord(UsageFacts):
    """The content of usage.json; `files` maps the name of each certified file to its SHA-256."""

    files: dict[str, str]


def check_usage(folder: Path, settings: UsageSettings) -> Path:
    """The usage.npz of the run in `folder`.

    Raises UserError unless it is whole, of this run as it is now, of these settings, and of the
    text that the run was evaluated on.
    """
    path = folder / USAGE_RECORD
    record = seal.load_record(path, UsageRecord)
    evaluation = seal.load_record(folder / EVAL_RECORD, EvaluationRecord)
    expected = {
        "run": evaluated(read_run(folder)).content(),
        "settings": settings.content(),
        "data": {"sha256": evaluation.data.sha256, "tokens": evaluation.data.tokens},
    }
    found = {name: value for name, value in record.content().items() if name in expected}
    difference = provenance.first_difference(found, expected)
    if difference:
        raise UserError(f"{path}: was made from another {difference}; delete it and run again")
    seal.check(path, record.files, folder / USAGE)
    return folder / USAGE
