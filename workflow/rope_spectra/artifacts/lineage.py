"""Whether the files behind an experiment's tables belong together, and whether its tables are those of the files.

tables.json vouches for runs.csv, summary.csv and summary.md; it holds the definition of the experiment and the evaluations that
they were made from.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rope_spectra.artifacts import layout, provenance, records, seal
from rope_spectra.config.definition import Definition
from rope_spectra.runtime.errors import UserError


def record_of(table: Path) -> Path:
    """The record that vouches for a table: tables.json in its folder."""
    return table.with_name(Path(layout.TABLES).name)


def evaluations(definition: Definition, runs: Iterable[tuple[str, int | str]]) -> dict[str, Any]:
    """What each evaluation consists of, by `<spectrum>/seed<seed>`.

    Raises UserError, with the difference, for a file that is damaged or of another run, spectrum or evaluation than the
    definition asks for, and for runs that were trained or evaluated on different text.
    """
    experiment = definition["experiment"]
    settings = records.read_evaluation_settings(
        layout.fill(layout.EVALUATION_CONFIG, experiment=experiment)
    )
    spectra = {spectrum["name"]: spectrum for spectrum in definition["spectra"]}
    found: dict[str, Any] = {}
    for spectrum, seed in runs:
        folder = layout.fill(layout.RUN, experiment=experiment, spectrum=spectrum, seed=seed).parent
        evaluation = records.read_evaluation(folder, settings)
        _refuse_other(
            folder, evaluation["run"]["settings"], spectra[spectrum], definition["train_length"]
        )
        found[f"{spectrum}/{folder.name}"] = {
            **{key: evaluation["run"][key] for key in ("identity", "model")},
            "trained on": evaluation["run"]["data"],
            "evaluated on": evaluation["data"],
            "files": evaluation["files"],
        }
    _refuse_other_text(experiment, found)
    return found


def check(definition: Definition) -> None:
    """Refuse tables that are damaged, of another definition, or made from other evaluations than there are now."""
    record = layout.fill(layout.TABLES, experiment=definition["experiment"])
    made_from = seal.read(record, "definition", "evaluations", "files")
    if difference := provenance.first_difference(made_from["definition"], definition):
        raise UserError(
            f"{record}: was made with another {difference}; delete it to have it made again"
        )
    runs = [run.split("/seed") for run in made_from["evaluations"]]
    if difference := provenance.first_difference(
        made_from["evaluations"], evaluations(definition, runs)
    ):
        raise UserError(
            f"{record}: was made from another {difference}; delete it to have it made again"
        )
    patterns = (layout.RUNS, layout.EXPERIMENT_SUMMARY)
    seal.check(
        record,
        made_from,
        *(layout.fill(path, experiment=definition["experiment"]) for path in patterns),
    )


def check_table(table: Path, experiment: str | None = None) -> None:
    """Refuse a table that is not, byte for byte, what its record vouches for, or of another experiment than is meant."""
    record = record_of(table)
    made_from = seal.read(record, "definition", "files")
    seal.check(record, made_from, table)
    if experiment and (found := made_from["definition"]["experiment"]) != experiment:
        raise UserError(
            f"{table}: is of the experiment {found}, not of {experiment}; give the runs.csv of that one"
        )


def _refuse_other(
    folder: Path, settings: dict[str, Any], spectrum: dict[str, Any], train_length: int
) -> None:
    asked = {"spectrum": spectrum, "training": settings["training"] | {"seq_len": train_length}}
    if difference := provenance.first_difference({key: settings[key] for key in asked}, asked):
        raise UserError(f"{folder}: was trained with another {difference}; delete it and run again")


def _refuse_other_text(experiment: str, found: dict[str, Any]) -> None:
    (first, expected), *others = found.items()
    for name, evaluation in others:
        for part in ("trained on", "evaluated on"):
            if difference := provenance.first_difference(evaluation[part], expected[part]):
                raise UserError(
                    f"results/{experiment}/{name}: was {part} other text than {first}: {difference}; delete it and run again"
                )
