"""The record of a finished evaluation: eval.json, which certifies eval.csv and eval.npz.

It names the inputs of the evaluation: the run, the settings, the text. Each is compared with what
there is now, so that a refusal can name the difference.
"""

from pathlib import Path

from rope_spectra.artifacts import layout, provenance, seal
from rope_spectra.config.frozen import RunSettings
from rope_spectra.config.sections import EvaluationSettings
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Record
from rope_spectra.training.record import (
    MODEL,
    RUN,
    TRAIN_LOG,
    DataFacts,
    RunRecord,
    check_run,
    read_run,
)

EVAL = Path(layout.EVAL).name
EVAL_NLL = Path(layout.EVAL_NLL).name
EVAL_RECORD = Path(layout.EVAL_RECORD).name


class EvaluatedRun(Record):
    """The run as it was when it was evaluated; `model` is the SHA-256 of its weights file."""

    identity: str
    settings: RunSettings
    data: DataFacts
    model: str


class EvaluationFacts(Record):
    """The inputs of an evaluation; `data` is the validation text."""

    run: EvaluatedRun
    settings: EvaluationSettings
    data: DataFacts


class EvaluationRecord(EvaluationFacts):
    """The content of eval.json; `files` maps the name of each certified file to its SHA-256."""

    files: dict[str, str]


def evaluated(run: RunRecord) -> EvaluatedRun:
    """The facts of a run that its evaluation depends on."""
    return EvaluatedRun(
        identity=run.identity, settings=run.settings, data=run.data, model=run.files[MODEL]
    )


def read_evaluation(folder: Path, settings: EvaluationSettings) -> EvaluationRecord:
    """The record of the evaluation of the run in `folder`.

    Raises UserError unless it, eval.csv, eval.npz and train.csv are whole, of this run as it is now
    and of these settings.
    """
    run = read_run(folder)
    path = folder / EVAL_RECORD
    evaluation = seal.load_record(path, EvaluationRecord)
    found = evaluation.run.content()
    expected = evaluated(run).content()
    # Settings first: another setting changes the weights too, and it is the one a user can act on.
    for part in ("settings", "data", "model"):
        difference = provenance.first_difference(found[part], expected[part], part)
        if difference:
            raise UserError(
                f"{path}: was made from another {difference} than {folder / RUN};"
                " delete it and run again"
            )
    difference = provenance.first_difference(evaluation.settings.content(), settings.content())
    if difference:
        raise UserError(f"{path}: was evaluated with another {difference}; delete it and run again")
    check_run(folder, run, TRAIN_LOG)
    seal.check(path, evaluation.files, folder / EVAL, folder / EVAL_NLL)
    return evaluation
