"""The lineage of an experiment's tables: the files behind them are whole and belong together.

tables.json certifies runs.csv and summary.csv. It holds the design of the experiment and the
evaluations that they were made from.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from pydantic import ConfigDict, Field

from rope_spectra.artifacts import layout, provenance, seal
from rope_spectra.config.design import Design
from rope_spectra.config.sections import EvaluationSettings
from rope_spectra.evaluation.record import EvaluationRecord, read_evaluation
from rope_spectra.rope.families import NamedSpectrum
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Record
from rope_spectra.training.record import DataFacts


class TabulatedRun(Record):
    """One run in tables.json; `model` is the SHA-256 of the weights that were evaluated."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    identity: str
    model: str
    trained_on: DataFacts = Field(alias="trained on")
    evaluated_on: DataFacts = Field(alias="evaluated on")
    files: dict[str, str]


# By `<spectrum>/seed<seed>`.
Evaluations: TypeAlias = Mapping[str, TabulatedRun]


class TablesRecord(Record):
    """The content of tables.json; `files` maps the name of each certified file to its SHA-256."""

    definition: Design
    evaluations: dict[str, TabulatedRun]
    files: dict[str, str]


def record_of(table: Path) -> Path:
    """The record that certifies a table: tables.json in its folder."""
    return table.with_name(Path(layout.TABLES).name)


def read_evaluations(
    design: Design, runs: Iterable[tuple[str, int | str]]
) -> dict[str, TabulatedRun]:
    """The evaluations of these runs, by `<spectrum>/seed<seed>`.

    Raises UserError, with the difference, for a file that is damaged or of another run, spectrum or
    evaluation than the design asks for, and for runs that were trained or evaluated on different
    text.
    """
    settings = seal.load_settings(
        layout.fill(layout.EVALUATION_CONFIG, experiment=design.experiment), EvaluationSettings
    )
    spectra = {spectrum.name: spectrum for spectrum in design.spectra}
    found = {}
    for spectrum, seed in runs:
        run = layout.fill(layout.RUN, experiment=design.experiment, spectrum=spectrum, seed=seed)
        evaluation = read_evaluation(run.parent, settings)
        _refuse_other_training(run.parent, evaluation, spectra[spectrum], design.train_length)
        found[f"{spectrum}/{run.parent.name}"] = TabulatedRun(
            identity=evaluation.run.identity,
            model=evaluation.run.model,
            trained_on=evaluation.run.data,
            evaluated_on=evaluation.data,
            files=evaluation.files,
        )
    _refuse_other_text(design.experiment, found)
    return found


def check(design: Design) -> None:
    """Raises UserError unless runs.csv and summary.csv are whole and up to date.

    They are out of date if the design or an evaluation has changed since they were made.
    """
    path = layout.fill(layout.TABLES, experiment=design.experiment)
    record = seal.load_record(path, TablesRecord)
    _refuse_other_design(path, record, design)
    # These runs and no others: tables of a part of the runs (--partial) are up to date too.
    runs = [_run_of(name) for name in record.evaluations]
    difference = provenance.first_difference(
        _content(record.evaluations), _content(read_evaluations(design, runs))
    )
    if difference:
        raise UserError(
            f"{path}: was made from another {difference}; delete it to have it made again"
        )
    for pattern in (layout.RUNS, layout.EXPERIMENT_SUMMARY):
        table = layout.fill(pattern, experiment=design.experiment)
        seal.check(path, record.files, table)


def check_table(table: Path, experiment: str | None = None) -> None:
    """Raises UserError unless a table is what its record certifies, and of the experiment meant."""
    path = record_of(table)
    record = seal.load_record(path, TablesRecord)
    seal.check(path, record.files, table)
    found = record.definition.experiment
    if experiment and found != experiment:
        raise UserError(
            f"{table}: is of the experiment {found}, not of {experiment};"
            " give the runs.csv of that one"
        )


def check_table_of(design: Design, table: Path) -> None:
    """Raises UserError unless a table is what its record certifies, and of this very design."""
    check_table(table, design.experiment)
    path = record_of(table)
    _refuse_other_design(path, seal.load_record(path, TablesRecord), design)


def made_from(design: Design, evaluations: Evaluations) -> dict[str, object]:
    """The content of tables.json but for the hashes of the tables."""
    return {"definition": design.content(), "evaluations": _content(evaluations)}


def _content(evaluations: Evaluations) -> dict[str, object]:
    return {name: run.content() for name, run in evaluations.items()}


def _run_of(name: str) -> tuple[str, str]:
    spectrum, seed = name.split("/seed")
    return spectrum, seed


def _refuse_other_design(path: Path, record: TablesRecord, design: Design) -> None:
    difference = provenance.first_difference(record.definition.content(), design.content())
    if difference:
        raise UserError(
            f"{path}: was made with another {difference}; delete it to have it made again"
        )


def _refuse_other_training(
    folder: Path, evaluation: EvaluationRecord, spectrum: NamedSpectrum, train_length: int
) -> None:
    settings = evaluation.run.settings
    # Of the training, the design knows its length alone.
    found = {
        "spectrum": settings.spectrum.content(),
        "training": {"seq_len": settings.training.seq_len},
    }
    asked = {"spectrum": spectrum.content(), "training": {"seq_len": train_length}}
    difference = provenance.first_difference(found, asked)
    if difference:
        raise UserError(f"{folder}: was trained with another {difference}; delete it and run again")


def _refuse_other_text(experiment: str, runs: Evaluations) -> None:
    first, *others = runs
    for name in others:
        for part in ("trained on", "evaluated on"):
            difference = provenance.first_difference(
                runs[name].content()[part], runs[first].content()[part]
            )
            if difference:
                raise UserError(
                    f"results/{experiment}/{name}: was {part} other text than {first}:"
                    f" {difference}; delete it and run again"
                )
