"""Time stamps that follow the content of finished results, set before Snakemake plans.

A clone, a copy or a pull gives files their times in any order. Snakemake would take a result that
is older than its settings for outdated, although its record says that it was made from these very
settings and data. And it would train again what was published without its weights.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from rope_spectra.artifacts import layout, seal
from rope_spectra.config import frozen, parts
from rope_spectra.config.frozen import RunSettings
from rope_spectra.config.sections import Config
from rope_spectra.data.base import Probe
from rope_spectra.evaluation.record import EvaluationRecord, evaluated
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Settings
from rope_spectra.search.basis import basis, read_candidates
from rope_spectra.training.record import DataFacts, RunRecord

Place: TypeAlias = dict[str, str | int]  # the wildcards of a run


def settle(config: Config) -> list[Path]:
    """Makes finished runs and evaluations newer than what they were made from.

    Only where their times say something else than their records, which are read only then. Returns
    the records of the results that have a new time.
    """
    settled = []
    for experiment in config.experiments:
        if layout.fill(layout.CANDIDATES, experiment=experiment).exists():
            with suppress(UserError, OSError):
                _settle_candidates(config, experiment)
        for spectrum, seed in frozen.runs(config, experiment) + frozen.repeats(config, experiment):
            place = {"experiment": experiment, "spectrum": spectrum, "seed": seed}
            if layout.fill(layout.RUN, **place).exists():
                with suppress(UserError, OSError):
                    settled += _settle_run(config, place)
    return settled


def _settle_run(config: Config, place: Place) -> list[Path]:
    """Settles a run, then its evaluation; UserError where a record is missing or damaged."""
    experiment, spectrum = str(place["experiment"]), str(place["spectrum"])
    dataset = config.experiments[experiment].dataset

    def at(pattern: str, **more: str) -> Path:
        return layout.fill(pattern, **place, dataset=dataset, **more)

    job = "{experiment}/{spectrum}/seed{seed}".format(**place)
    settings = at(layout.RUN_CONFIG)
    run, scores = at(layout.RUN), at(layout.EVAL_RECORD)
    # Snakemake counts the file with the time that a job took among its outputs.
    trained = (
        at(layout.MODEL),
        at(layout.TRAIN_LOG),
        run,
        Path(layout.benchmark(f"train/{job}")),
    )
    evaluation = (
        at(layout.EVAL),
        at(layout.EVAL_NLL),
        scores,
        Path(layout.benchmark(f"evaluate/{job}")),
    )
    settled = []
    manifest = at(layout.MANIFEST, split="train")
    probe = config.training_of(experiment).probe
    # Without a probe it does not matter.
    sentence = at(layout.PROBES[probe or "sentence"])
    if _is_older(trained, (settings, manifest, sentence)):
        record = seal.load_record(run, RunRecord)
        seed = layout.seed_of(str(place["seed"]))
        if record.settings != _run_settings(config, experiment, spectrum, seed):
            return []
        if not _is_of(record.data, manifest, sentence, probe):
            return []
        _touch(*trained)
        settled.append(run)
    manifest = at(layout.MANIFEST, split="validation")
    probe = config.evaluation_of(experiment).probe
    sentence = at(layout.PROBES[probe or "sentence"])
    frozen_way = at(layout.EVALUATION_CONFIG)
    if _is_older(evaluation, (settings, run, frozen_way, manifest, sentence)):
        scored = seal.load_record(scores, EvaluationRecord)
        is_same_run = scored.run == evaluated(seal.load_record(run, RunRecord))
        is_same_way = scored.settings == frozen.evaluation_settings(config, experiment)
        if is_same_run and is_same_way and _is_of(scored.data, manifest, sentence, probe):
            _touch(*evaluation)
            settled.append(scores)
    return settled


def _run_settings(config: Config, experiment: str, spectrum: str, seed: int) -> RunSettings:
    """The settings of a run; those of a candidate have the spectrum that was proposed."""
    settings = frozen.run_settings(config, experiment, spectrum, seed)
    if spectrum not in frozen.proposed(config, experiment):
        return settings
    return RunSettings.model_validate(read_candidates(experiment).fill(settings.content()))


def _settle_candidates(config: Config, part: str) -> None:
    """Makes the candidates of a part of a search newer than what they follow from.

    And then what was frozen from them. Raises UserError where a file is missing or damaged.
    """
    step = parts.step(config, part)
    candidates = layout.fill(layout.CANDIDATES, experiment=part)
    inputs = [layout.fill(layout.SEARCH_STEP, experiment=part)]
    inputs += map(Path, parts.step_inputs(config, part))
    if _is_older([candidates], inputs):
        if read_candidates(part).basis != basis(step):
            return
        _touch(candidates)
    expected: dict[Path, Settings] = {
        layout.fill(layout.EXPERIMENT, experiment=part): frozen.design(config, part)
    }
    for spectrum, seed in frozen.runs(config, part):
        if spectrum in frozen.proposed(config, part):
            path = layout.fill(layout.RUN_CONFIG, experiment=part, spectrum=spectrum, seed=seed)
            expected[path] = frozen.run_settings(config, part, spectrum, seed)
    for path, settings in expected.items():
        if path.exists() and _is_older([path], [candidates]):
            filled = read_candidates(part).fill(settings.content())
            if seal.read(path) == filled:
                _touch(path)


def _is_older(outputs: Iterable[Path], inputs: Iterable[Path]) -> bool:
    """True if some input is newer than some output, of those that are there."""
    made = [path.stat().st_mtime_ns for path in outputs if path.exists()]
    read = [path.stat().st_mtime_ns for path in inputs if path.exists()]
    return bool(made) and bool(read) and max(read) > min(made)


def _is_of(facts: DataFacts, manifest: Path, sentence: Path, probe: Probe | None) -> bool:
    """True unless the tokens, or what the probe asks with, are there and others than these."""
    # Not at the top: these import numpy, and the Snakefile is read anew for every job.
    from rope_spectra.data.cache import read_manifest
    from rope_spectra.data.episodes import read_probe

    if manifest.exists() and read_manifest(manifest).sha256 != facts.sha256:
        return False
    if facts.sentence is None or not sentence.exists():
        return True
    found = read_probe(sentence, probe)
    return found is not None and found.sha256 == facts.sentence


def _touch(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            os.utime(path)
