"""Finished evaluations by content: kept in the store, and adopted instead of made again."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from rope_spectra.artifacts import files, kept, layout, seal
from rope_spectra.evaluation.record import (
    EVAL,
    EVAL_NLL,
    EVAL_RECORD,
    EvaluatedRun,
    EvaluationFacts,
    EvaluationRecord,
    evaluated,
)
from rope_spectra.runtime.cli import log
from rope_spectra.runtime.errors import UserError
from rope_spectra.training.record import read_run

_KIND = "evaluations"


def evaluate_once(
    store: kept.Store,
    facts: EvaluationFacts,
    has_bytes: bool,
    folder: Path,
    evaluate: Callable[[], None],
) -> None:
    """Adopts an evaluation if the store has it, else makes and keeps it; two at once make it once.

    has_bytes: it also holds the size of the text, for bits per byte. `folder` is that of the run.
    """
    paths = _files(folder / EVAL_RECORD)

    def adopt(entry: Path) -> None:
        _adopt(entry, folder, facts.run)
        log.info("adopted: the same weights were evaluated on the same text before")

    store.make_once(
        _KIND,
        key(facts, has_bytes, folder),
        paths,
        adopt=adopt,
        make=evaluate,
        what=f"the evaluation of {folder}",
        is_forced=kept.is_forced("evaluate", *paths.values()),
    )


def key(facts: EvaluationFacts, has_bytes: bool, folder: Path) -> str:
    """The key of an evaluation in the store: SHA-256 over its inputs, without names.

    A repeat measures the noise floor, so its evaluation is another one.
    """
    content = facts.content()
    run = content["run"]
    matter = {
        "run": [run["identity"], run["model"], layout.repeat_of(folder)],
        "settings": content["settings"],
        "data": content["data"],
        "bytes": has_bytes,
    }
    return hashlib.sha256(json.dumps(matter, sort_keys=True).encode()).hexdigest()


def _files(record: Path) -> dict[str, Path]:
    return {name: record.with_name(name) for name in (EVAL, EVAL_NLL, EVAL_RECORD)}


def _key_of(record: Path) -> str:
    facts = seal.load_record(record, EvaluationRecord)
    return key(facts, _has_bytes(record.with_name(EVAL_NLL)), record.parent)


def _has_bytes(arrays: Path) -> bool:
    try:
        with zipfile.ZipFile(arrays) as file:
            return "bytes.npy" in file.namelist()
    except (OSError, zipfile.BadZipFile):
        raise UserError(f"{arrays}: not the arrays of an evaluation; delete it") from None


def _restore(entry: Path, record: Path) -> None:
    """Puts a kept evaluation back next to its run."""
    folder = record.parent
    _adopt(entry, folder, evaluated(read_run(folder)))


EVALUATIONS = kept.Kind(_KIND, layout.EVAL_RECORD, files=_files, key=_key_of, restore=_restore)


def _adopt(entry: Path, folder: Path, run: EvaluatedRun) -> None:
    """Publishes a kept evaluation in `folder` as that of the run there.

    Raises UserError where the entry is damaged or an evaluation of other weights.
    """
    found = seal.load_record(entry / EVAL_RECORD, EvaluationRecord)
    evaluation = found.model_copy(update={"run": run})
    has_bytes = _has_bytes(entry / EVAL_NLL)
    keys = {key(facts, has_bytes, folder) for facts in (found, evaluation)}
    if keys != {entry.name}:
        raise UserError(f"{entry / EVAL_RECORD}: is of another evaluation; delete {entry}")
    seal.check(entry / EVAL_RECORD, evaluation.files, entry / EVAL, entry / EVAL_NLL)
    with files.atomic_all(*_files(folder / EVAL_RECORD).values()) as (scores, arrays, record):
        shutil.copyfile(entry / EVAL, scores)
        shutil.copyfile(entry / EVAL_NLL, arrays)
        record.write_text(seal.text(evaluation.content()))
