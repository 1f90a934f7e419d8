"""Time stamps that follow the content of finished results, set before Snakemake plans.

A clone, a copy or a pull gives files their times in any order. Snakemake would take a result that
is older than its settings for outdated, although its record says that it was made from these very
settings and data. And it would train again what was published without its weights.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from rope_spectra.artifacts import layout, seal
from rope_spectra.config import frozen
from rope_spectra.config.sections import Config
from rope_spectra.evaluation.record import EvaluationRecord, evaluated
from rope_spectra.runtime.errors import UserError
from rope_spectra.training.record import DataFacts, RunRecord


def settle(config: Config) -> list[Path]:
    """Makes finished runs and evaluations newer than what they were made from.

    Only where their times say something else than their records, which are read only then. Returns
    the records of the results that have a new time.
    """
    settled = []
    for experiment in config.experiments:
        for spectrum, seed in frozen.runs(config, experiment) + frozen.repeats(config, experiment):
            folder = layout.fill(
                layout.RUN, experiment=experiment, spectrum=spectrum, seed=seed
            ).parent
            if folder.is_dir():
                with suppress(UserError, OSError):
                    settled += _settle_run(config, experiment, spectrum, folder)
    return settled


def _settle_run(config: Config, experiment: str, spectrum: str, folder: Path) -> list[Path]:
    """Settles a run, then its evaluation; UserError where a record is missing or damaged."""
    seed = layout.seed_of(folder.name.removeprefix("seed"))
    dataset = config.experiments[experiment].dataset
    sentence = layout.fill(layout.SENTENCE, dataset=dataset)
    settings = folder / Path(layout.RUN_CONFIG).name
    evaluation = layout.fill(layout.EVALUATION_CONFIG, experiment=experiment)
    weights, train_log, run, *scores = (
        folder / Path(pattern).name
        for pattern in (
            layout.MODEL,
            layout.TRAIN_LOG,
            layout.RUN,
            layout.EVAL,
            layout.EVAL_NLL,
            layout.EVAL_RECORD,
        )
    )
    trained_on = layout.fill(layout.MANIFEST, dataset=dataset, split="train")
    evaluated_on = layout.fill(layout.MANIFEST, dataset=dataset, split="validation")
    # Snakemake counts the file with the time that a job took among its outputs.
    job = f"{experiment}/{spectrum}/{folder.name}"
    trained = (weights, train_log, run, Path(layout.benchmark(f"train/{job}")))
    record_of_scores = scores[-1]
    scores.append(Path(layout.benchmark(f"evaluate/{job}")))
    settled = []
    if _is_older(trained, (settings, trained_on, sentence)):
        record = seal.load_record(run, RunRecord)
        if record.settings != frozen.run_settings(config, experiment, spectrum, seed):
            return []
        if not _is_of(record.data, trained_on, sentence):
            return []
        _touch(*trained)
        settled.append(run)
    if _is_older(scores, (settings, run, evaluation, evaluated_on, sentence)):
        scored = seal.load_record(record_of_scores, EvaluationRecord)
        is_same_run = scored.run == evaluated(seal.load_record(run, RunRecord))
        is_same_way = scored.settings == frozen.evaluation_settings(config, experiment)
        if is_same_run and is_same_way and _is_of(scored.data, evaluated_on, sentence):
            _touch(*scores)
            settled.append(record_of_scores)
    return settled


def _is_older(outputs: Iterable[Path], inputs: Iterable[Path]) -> bool:
    """True if some input is newer than some output, of those that are there."""
    made = [path.stat().st_mtime_ns for path in outputs if path.exists()]
    read = [path.stat().st_mtime_ns for path in inputs if path.exists()]
    return bool(made) and bool(read) and max(read) > min(made)


def _is_of(facts: DataFacts, manifest: Path, sentence: Path) -> bool:
    """True unless the tokens, or the sentence of the probe, are there and others than these."""
    # Not at the top: these import numpy, and the Snakefile is read anew for every job.
    from rope_spectra.data.cache import read_manifest
    from rope_spectra.data.sentence import read_sentence

    if manifest.exists() and read_manifest(manifest).sha256 != facts.sha256:
        return False
    if facts.sentence is None or not sentence.exists():
        return True
    found = read_sentence(sentence, wanted=True)
    return found is not None and found.sha256 == facts.sentence


def _touch(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            os.utime(path)
