"""What a run and its evaluation leave, refused unless whole and made from one another.

config.json (frozen settings) -> run.json, which vouches for model.safetensors and train.csv -> eval.json, for eval.csv and
eval.npz. Each names what it was made from, so that a difference can be named.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rope_spectra.artifacts import layout, provenance, seal
from rope_spectra.runtime.errors import UserError

if TYPE_CHECKING:
    from rope_spectra.data.cache import Manifest
    from rope_spectra.data.sentence import Sentence

RUN_SETTINGS = ("recipe", "experiment", "seed", "spectrum", "model", "training")
EVALUATION_SETTINGS = ("lengths", "protocols", "chunks", "remaps")
CONFIG, RUN, MODEL, TRAIN_LOG, EVAL, EVAL_NLL, EVAL_RECORD = (
    Path(path).name
    for path in (
        layout.RUN_CONFIG,
        layout.RUN,
        layout.MODEL,
        layout.TRAIN_LOG,
        layout.EVAL,
        layout.EVAL_NLL,
        layout.EVAL_RECORD,
    )
)


def read_run(folder: Path) -> dict[str, Any]:
    """run.json, refused if it is damaged or not the run that config.json describes."""
    settings = seal.read_settings(folder / CONFIG, RUN_SETTINGS)
    run = seal.read(folder / RUN, "identity", "settings", "data", "files")
    if difference := provenance.first_difference(run["settings"], settings):
        raise UserError(
            f"{folder}/run.json: was trained with another {difference}; delete it and run again"
        )
    return run


def read_evaluation_settings(path: Path) -> dict[str, Any]:
    """Frozen settings of an evaluation; UserError if they are damaged or not such settings."""
    return seal.read_settings(path, EVALUATION_SETTINGS, ["retrieval"])


def check_run(folder: Path, run: dict[str, Any], *names: str) -> None:
    """Refuse those of a run's files that are not, byte for byte, what its training wrote."""
    seal.check(folder / RUN, run, *(folder / name for name in names))


def evaluation_facts(
    run: dict[str, Any], settings: dict[str, Any], data: dict[str, Any]
) -> dict[str, Any]:
    """What an evaluation was made from: the training run, the settings of the evaluation, its text (data_facts)."""
    return {
        "run": {"identity": run["identity"], **_made_from(run)},
        "settings": settings,
        "data": data,
    }


def data_facts(manifest: "Manifest", sentence: "Sentence | None") -> dict[str, Any]:
    """The data of a training or an evaluation: its tokens, and the sentence of the retrieval probe where that is in use."""
    tokens = {"sha256": manifest.sha256, "tokens": manifest.tokens}
    return tokens if sentence is None else tokens | {"sentence": sentence.sha256}


def read_evaluation(folder: Path, expected: dict[str, Any]) -> dict[str, Any]:
    """eval.json, refused unless it, eval.csv, eval.npz and train.csv are whole, of this run and of the settings expected."""
    path, run = folder / EVAL_RECORD, read_run(folder)
    evaluation = seal.read(path, "run", "settings", "data", "files")
    for part, made_from in _made_from(run).items():
        if difference := provenance.first_difference(evaluation["run"][part], made_from, part):
            raise UserError(
                f"{path}: was made from another {difference} than {folder}/run.json; delete it and run again"
            )
    if difference := provenance.first_difference(evaluation["settings"], expected):
        raise UserError(f"{path}: was evaluated with another {difference}; delete it and run again")
    check_run(folder, run, TRAIN_LOG)
    seal.check(path, evaluation, folder / EVAL, folder / EVAL_NLL)
    return evaluation


def _made_from(run: dict[str, Any]) -> dict[str, Any]:
    return {"settings": run["settings"], "data": run["data"], "model": run["files"][MODEL]}
