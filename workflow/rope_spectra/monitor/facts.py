"""The experiments that results/ holds or should hold: their parts, and what is known of each."""

import contextlib
import csv
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from rope_spectra.artifacts import layout
from rope_spectra.config.sections import Config
from rope_spectra.data.base import DocumentSection
from rope_spectra.monitor import gpu_use
from rope_spectra.monitor.gpu_use import Gpu
from rope_spectra.monitor.state import Facts, Job, Part, part, snakemake_runs
from rope_spectra.runtime.settings import Record


class Experiment(Record):
    """An experiment and its parts: data, runs, tables and figures."""

    name: str
    description: str
    parts: list[Part]


class Status(Record):
    """One look at a results folder."""

    time: float
    host: str
    results: str
    note: str | None
    experiments: list[Experiment]
    snakemake: bool
    gpus: list[Gpu]
    gpu_meaning: str


def look(results: Path, config: Config | None, note: str | None = None) -> Status:
    """The state of everything that the configuration asks for and of what else is there."""
    host = socket.gethostname()
    found = layout.found_runs(results)
    names = [*(config.run if config else []), *(experiment for experiment, _, _ in found)]
    experiments = []
    for name in dict.fromkeys(names):
        if config and name in config.experiments:
            experiments.append(_configured(results, name, config))
        else:
            runs = [run for run in found if run[0] == name]
            experiments.append(_unknown(results, name, runs))
    gpus = gpu_use.query()
    parts = [part for experiment in experiments for part in experiment.parts]
    return Status(
        time=time.time(),
        host=host,
        results=str(results),
        note=note,
        experiments=experiments,
        snakemake=snakemake_runs(results),
        gpus=gpus,
        gpu_meaning=gpu_use.meaning(gpus, parts, host),
    )


def _configured(results: Path, name: str, config: Config) -> Experiment:
    """All parts of an experiment of the configuration."""
    experiment = config.experiments[name]
    is_tokens = not isinstance(config.dataset_of(name), DocumentSection)
    parts = list(_data_parts(results, experiment.dataset, is_tokens))
    for seed in experiment.seeds:
        parts += [_run_part(results, name, spectrum, seed) for spectrum in experiment.spectra]
    parts.append(_report_part(results, name))
    description = f"{experiment.model} on {experiment.dataset}"
    return Experiment(name=name, description=description, parts=parts)


def _unknown(results: Path, name: str, found: list[tuple[str, str, str]]) -> Experiment:
    """An experiment that the configuration does not have: its runs that have a folder."""
    parts = [_run_part(results, *run) for run in found]
    parts.append(_report_part(results, name))
    return Experiment(name=name, description="not in the configuration", parts=parts)


def _data_parts(results: Path, dataset: str, is_tokens: bool) -> Iterator[Part]:
    """From text to token caches; a dataset that comes as tokens has no tokenizer and no shards."""

    def job(rule: str, log: str, *outputs: str, **wildcards: str) -> Job:
        return _job(results, f"{rule}/{log}", outputs, dataset=dataset, **wildcards)

    if not is_tokens:
        yield part("tokenizer", "data", [job("tokenizer", dataset, layout.TOKENIZER)], {})
    for split, rule in zip(layout.SPLITS, ("tokenize_train", "tokenize_val"), strict=True):
        outputs = (layout.TOKENS, layout.MANIFEST)
        jobs = [job("memmap_cache", f"{dataset}/{split}", *outputs, split=split)]
        if not is_tokens:
            jobs.insert(0, job(rule, dataset, layout.SHARDS, split=split))
        yield part(f"{split} tokens", "data", jobs, _cache_facts(results, dataset, split))


def _run_part(results: Path, experiment: str, spectrum: str, seed: int | str) -> Part:
    """A run: its training, then its evaluation."""

    def job(rule: str, *outputs: str) -> Job:
        log = f"{rule}/{experiment}/{spectrum}/seed{seed}"
        return _job(results, log, outputs, experiment=experiment, spectrum=spectrum, seed=seed)

    training = job("train", layout.RUN, layout.TRAIN_LOG)
    evaluation = job("evaluate", layout.EVAL, layout.EVAL_NLL)
    score = _score(evaluation.outputs[0])
    return part(f"{spectrum} seed{seed}", "run", [training, evaluation], score)


def _report_part(results: Path, experiment: str) -> Part:
    """The tables and figures of an experiment."""

    def job(rule: str, *outputs: str) -> Job:
        return _job(results, f"{rule}/{experiment}", outputs, experiment=experiment)

    jobs = [
        job("aggregate", layout.RUNS, layout.EXPERIMENT_SUMMARY),
        job("page", layout.EXPERIMENT_SUMMARY_MD),
        job("figures", *layout.figure_files(experiment)),
    ]
    page = layout.within(results, layout.EXPERIMENT_SUMMARY_MD.format(experiment=experiment))
    return part("tables and figures", "report", jobs, {"page": str(page)})


def _job(results: Path, name: str, outputs: tuple[str, ...], **wildcards: str | int) -> Job:
    """The job whose log has that name, below the folder of its rule."""
    rule = name.partition("/")[0]
    paths = [layout.within(results, output.format(**wildcards)) for output in outputs]
    return Job(rule, layout.within(results, layout.log(name)), tuple(paths))


def _cache_facts(results: Path, dataset: str, split: str) -> Facts:
    """Tokens of a split once they are counted, and the bytes on disk of its cache and shards."""
    cache, manifest, shards = (
        layout.within(results, path.format(dataset=dataset, split=split))
        for path in (layout.TOKENS, layout.MANIFEST, layout.SHARDS)
    )
    # With those that are not finished yet and have a longer name.
    files = [*cache.parent.glob(f"{cache.name}*"), *shards.parent.glob(f"{shards.name}*/*")]
    facts: Facts = {"bytes_on_disk": 0}
    for file in files:
        with contextlib.suppress(FileNotFoundError):  # renamed or removed since it was listed
            facts["bytes_on_disk"] += file.stat().st_size
    with contextlib.suppress(OSError, ValueError, KeyError):
        facts["tokens"] = json.loads(manifest.read_bytes())["tokens"]
    return facts


def _score(eval_csv: Path) -> Facts:
    """The perplexity at the longest length, in protocol `full` where it was evaluated."""

    def rank(row: dict[str, str]) -> tuple[int, bool, bool]:
        return int(row["length"]), row["protocol"] == "full", row["remap"] == "none"

    # Without a dataframe, which would take longer to import than all the rest to run.
    try:
        best = max(csv.DictReader(eval_csv.read_text().splitlines()), key=rank)
        length = int(best["length"])
        return {"ppl": float(best["ppl"]), "length": length, "protocol": best["protocol"]}
    except (OSError, ValueError, KeyError, TypeError):  # missing, or not whole
        return {}
