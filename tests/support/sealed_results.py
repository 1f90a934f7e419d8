"""The records that train, evaluate and aggregate leave, for results that a test has made up."""

from pathlib import Path

from rope_spectra.analysis import lineage
from rope_spectra.artifacts import files, layout, seal
from rope_spectra.config import frozen
from rope_spectra.config.design import Design
from rope_spectra.config.frozen import RunSettings
from rope_spectra.config.load import load
from rope_spectra.config.sections import EvaluationSettings
from rope_spectra.evaluation.record import (
    EVAL,
    EVAL_NLL,
    EVAL_RECORD,
    EvaluationRecord,
    evaluated,
)
from rope_spectra.training.record import CONFIG, MODEL, RUN, TRAIN_LOG, DataFacts, RunRecord
from support import small_experiment as small


def hashes(*paths: Path) -> dict[str, str]:
    return {path.name: files.sha256(path) for path in paths}


def seal_results(design: Design) -> None:
    """Seal what lies in results/ of the working directory.

    That is every run's train.csv, eval.csv and eval.npz, and the two tables of the experiment.
    """
    experiment = design.experiment
    asked = EvaluationSettings(
        lengths=design.lengths, protocols=design.protocols, chunks=2, remaps=design.remaps
    )
    seal.write(layout.fill(layout.EVALUATION_CONFIG, experiment=experiment), asked.content())
    for spectrum in design.spectra:
        for seed in design.seeds:
            run = layout.fill(layout.RUN, experiment=experiment, spectrum=spectrum.name, seed=seed)
            record = _seal_run(run.parent, _settings(design, spectrum.name, seed))
            evaluation = EvaluationRecord(
                run=evaluated(record),
                settings=asked,
                data=DataFacts(sha256="validation", tokens=1),
                files=hashes(run.parent / EVAL, run.parent / EVAL_NLL),
            )
            seal.write(run.parent / EVAL_RECORD, evaluation.content())
    evaluations = lineage.read_evaluations(design, design.runs)
    tables = [
        layout.fill(path, experiment=experiment)
        for path in (layout.RUNS, layout.EXPERIMENT_SUMMARY)
    ]
    made_from = lineage.made_from(design, None, evaluations) | {"files": hashes(*tables)}
    seal.write(layout.fill(layout.TABLES, experiment=experiment), made_from)


def _settings(design: Design, name: str, seed: int) -> RunSettings:
    """Those of the small experiment with what the design says."""
    settings = frozen.run_settings(load(small.EXPERIMENT), "small", "geo", seed)
    content = settings.content()
    spectrum = next(each for each in design.spectra if each.name == name)
    training = content["training"] | {"seq_len": design.train_length}
    changed = {"spectrum": spectrum.content(), "training": training}
    return RunSettings.model_validate(content | {"experiment": design.experiment} | changed)


def _seal_run(folder: Path, settings: RunSettings) -> RunRecord:
    seal.write(folder / CONFIG, settings.content())
    weights = f"weights of {settings.spectrum.name} {settings.seed}"
    record = RunRecord(
        identity=f"{settings.spectrum.name} {settings.seed}",
        settings=settings,
        data=DataFacts(sha256="train", tokens=1),
        inv_freq=[],
        parameters=0,
        steps=0,
        tokens=0,
        micro_batch_size=1,
        processes=1,
        resumed_at_steps=[],
        device={},
        versions={},
        seconds={},
        files=hashes(folder / TRAIN_LOG) | {MODEL: weights},
    )
    seal.write(folder / RUN, record.content())
    return record
