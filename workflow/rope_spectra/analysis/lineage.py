"""The lineage of an experiment's tables: the files behind them are whole and belong together.

tables.json certifies runs.csv and summary.csv. It holds the design of the experiment and the
evaluations that they were made from.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ConfigDict, Field

from rope_spectra.analysis.declaration import Standing
from rope_spectra.artifacts import layout, provenance, seal
from rope_spectra.config.design import Design
from rope_spectra.config.sections import EvaluationSettings
from rope_spectra.evaluation.record import read_evaluation
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


class TablesRecord(Record):
    """The content of tables.json.

    `declaration` is how its claims stood, None in tables that are older than declarations.
    `evaluations` are by `<spectrum>/seed<seed>`; `files` maps the name of each certified file to
    its SHA-256.
    """

    definition: Design
    declaration: Standing | None = None
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
        trained = evaluation.run.settings
        subject = f"{run.parent}: was trained with another"
        _refuse(subject, trained.spectrum.content(), spectra[spectrum].content(), "spectrum")
        # Of the training, the design knows its length alone.
        lengths = {"seq_len": trained.training.seq_len}, {"seq_len": design.train_length}
        _refuse(subject, *lengths, "training")
        found[f"{spectrum}/{run.parent.name}"] = TabulatedRun(
            identity=evaluation.run.identity,
            model=evaluation.run.model,
            trained_on=evaluation.run.data,
            evaluated_on=evaluation.data,
            files=evaluation.files,
        )
    first, *others = found
    for name in others:
        for part in ("trained on", "evaluated on"):
            subject = f"results/{design.experiment}/{name}: was {part} other text than {first}:"
            _refuse(subject, found[name].content()[part], found[first].content()[part])
    return found


def check(design: Design) -> None:
    """Raises UserError unless runs.csv and summary.csv are whole and up to date.

    They are out of date if the design or an evaluation has changed since they were made.
    """
    record = check_table_of(design, layout.fill(layout.RUNS, experiment=design.experiment))
    check_table(layout.fill(layout.EXPERIMENT_SUMMARY, experiment=design.experiment))
    # These runs and no others: tables of a part of the runs (--partial) are up to date too.
    names = [name.partition("/seed") for name in record.evaluations]
    runs = [(spectrum, seed) for spectrum, _, seed in names]
    found = _content(record.evaluations)
    path = layout.fill(layout.TABLES, experiment=design.experiment)
    _refuse(f"{path}: was made from another", found, _content(read_evaluations(design, runs)))


def check_table(table: Path) -> TablesRecord:
    """The record of a table; UserError unless the table is what the record certifies."""
    path = record_of(table)
    record = seal.load_record(path, TablesRecord)
    seal.check(path, record.files, table)
    return record


def check_table_of(design: Design, table: Path) -> TablesRecord:
    """The record of a table; UserError unless the table is whole and of this very design."""
    record = check_table(table)
    subject = f"{record_of(table)}: was made with another"
    _refuse(subject, record.definition.content(), design.content())
    return record


def made_from(
    design: Design, standing: Standing | None, evaluations: Mapping[str, TabulatedRun]
) -> dict[str, object]:
    """The content of tables.json but for the hashes of the tables."""
    return {
        "definition": design.content(),
        "declaration": standing.content() if standing else None,
        "evaluations": _content(evaluations),
    }


def _content(evaluations: Mapping[str, TabulatedRun]) -> dict[str, object]:
    return {name: run.content() for name, run in evaluations.items()}


def _refuse(
    subject: str, found: Mapping[str, object], expected: Mapping[str, object], name: str = ""
) -> None:
    """Raises UserError, with the first difference, unless the two are equal."""
    difference = provenance.first_difference(found, expected, name)
    if difference:
        raise UserError(f"{subject} {difference}; delete it and run again")
