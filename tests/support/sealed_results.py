"""The records that train, evaluate and aggregate leave, for an experiment whose results a test has made up."""

from pathlib import Path
from typing import Any

from rope_spectra.artifacts import files, layout, lineage, records, seal


def hashes(*paths: Path) -> dict[str, str]:
    return {path.name: files.sha256(path) for path in paths}


def seal_results(definition: dict[str, Any]) -> None:
    """Seal what lies in results/ of the working directory: every run's train.csv, eval.csv and eval.npz, and the two tables."""
    experiment = definition["experiment"]
    evaluation = {key: definition.get(key, ["none"]) for key in records.EVALUATION_SETTINGS}
    seal.write(layout.fill(layout.EVALUATION_CONFIG, experiment=experiment), evaluation)
    runs = [
        (spectrum["name"], seed)
        for spectrum in definition["spectra"]
        for seed in definition["seeds"]
    ]
    for spectrum, (name, seed) in zip(
        (part for part in definition["spectra"] for _ in definition["seeds"]), runs, strict=True
    ):
        folder = layout.fill(layout.RUN, experiment=experiment, spectrum=name, seed=seed).parent
        training = {"seq_len": definition["train_length"]}
        settings = {
            "recipe": 1,
            "experiment": experiment,
            "seed": seed,
            "spectrum": spectrum,
            "model": {},
            "training": training,
        }
        seal.write(folder / records.CONFIG, settings)
        run = {
            "identity": f"{name} {seed}",
            "settings": settings,
            "data": {"sha256": "train", "tokens": 1},
        }
        run["files"] = hashes(folder / records.TRAIN_LOG) | {
            records.MODEL: f"weights of {name} {seed}"
        }
        seal.write(folder / records.RUN, run)
        facts = records.evaluation_facts(run, evaluation, {"sha256": "validation", "tokens": 1})
        seal.write(
            folder / records.EVAL_RECORD,
            facts | {"files": hashes(folder / records.EVAL, folder / records.EVAL_NLL)},
        )
    tables = [
        layout.fill(path, experiment=experiment)
        for path in (layout.RUNS, layout.EXPERIMENT_SUMMARY)
    ]
    made_from = {
        "definition": definition,
        "evaluations": lineage.evaluations(definition, runs),
        "files": hashes(*tables),
    }
    seal.write(layout.fill(layout.TABLES, experiment=experiment), made_from)
