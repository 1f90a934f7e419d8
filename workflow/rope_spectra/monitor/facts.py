"""The experiments that results/ holds or should hold: their parts, and what is known of each."""

import contextlib
import csv
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from rope_spectra.artifacts import layout
from rope_spectra.artifacts.kept import Store
from rope_spectra.config import experiment as config_experiment
from rope_spectra.config import frozen
from rope_spectra.config.search import SearchPart
from rope_spectra.config.sections import Config
from rope_spectra.data.base import DocumentSection
from rope_spectra.monitor import gpu_use
from rope_spectra.monitor.gpu_use import Gpu
from rope_spectra.monitor.state import Facts, Job, Part, part, snakemake_runs
from rope_spectra.runtime.foreign import read_end
from rope_spectra.runtime.settings import Printable, Record

_LARGEST = 1_000_000  # bytes of a manifest or of eval.csv


class Experiment(Record):
    """An experiment and its parts: data, runs, tables and figures."""

    name: Printable
    description: Printable
    parts: list[Part]


class Status(Record):
    """One look at a results folder; leftover_bytes are those of kept results without experiment."""

    time: float
    host: Printable
    results: Printable
    note: Printable | None
    experiments: list[Experiment]
    snakemake: bool
    gpus: list[Gpu]
    gpu_meaning: str
    leftover_bytes: int = 0


class _Manifest(Record):
    """The manifest of a token cache, as far as it is shown."""

    tokens: Annotated[int, Field(ge=0, le=2**63)]


# The log of each rule's job, without the rule, and what the job writes.
_RUN = "{experiment}/{spectrum}/seed{seed}"
_JOBS = {
    "tokenizer": ("{dataset}", [layout.TOKENIZER]),
    "tokenize_train": ("{dataset}", [layout.SHARDS]),
    "tokenize_val": ("{dataset}", [layout.SHARDS]),
    "memmap_cache": ("{dataset}/{split}", [layout.TOKENS, layout.MANIFEST]),
    "propose": ("{experiment}", [layout.CANDIDATES]),
    "best": ("{search}", [layout.BEST]),
    "course": ("{search}", [layout.SEARCH_PAGE, layout.COURSE]),
    "train": (_RUN, [layout.RUN, layout.TRAIN_LOG]),
    "evaluate": (_RUN, [layout.EVAL, layout.EVAL_NLL]),
    "aggregate": ("{experiment}", [layout.RUNS, layout.EXPERIMENT_SUMMARY]),
    "page": ("{experiment}", [layout.EXPERIMENT_SUMMARY_MD]),
    "figures": ("{experiment}", layout.figure_files("{experiment}")),
}


def look(results: Path, config: Config | None, note: str | None = None) -> Status:
    """The state of everything that the configuration asks for and of what else is there."""
    host = socket.gethostname()
    found = layout.found_runs(results)
    names = [*(config.built if config else []), *(experiment for experiment, _, _ in found)]
    experiments = [_experiment(results, name, config, found) for name in dict.fromkeys(names)]
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
        leftover_bytes=Store(layout.within(results, layout.KEPT)).leftover_size(),
    )


def _experiment(
    results: Path, name: str, config: Config | None, found: list[tuple[str, str, str]]
) -> Experiment:
    """All parts of an experiment, or its runs that have a folder if nothing else is known of it."""
    parts: list[Part] = []
    runs: list[tuple[str, str | int]]
    known = config.experiments.get(name) if config else None
    if config and known:
        description = f"{known.model} on {known.dataset}"
        is_tokens = not isinstance(config.dataset_of(name), DocumentSection)
        parts += _data_parts(results, known.dataset, is_tokens)
        if isinstance(known, SearchPart):
            parts.append(
                part("candidates", "data", [_job(results, "propose", experiment=name)], {})
            )
        runs = [*frozen.runs(config, name), *frozen.repeats(config, name)]
    else:
        description = "not in the configuration"
        runs = [(spectrum, seed) for experiment, spectrum, seed in found if experiment == name]
    parts += [_run_part(results, name, spectrum, seed) for spectrum, seed in runs]
    parts += _report_parts(results, name, known)
    return Experiment(name=name, description=description, parts=parts)


def _data_parts(results: Path, dataset: str, is_tokens: bool) -> Iterator[Part]:
    """From text to token caches; a dataset that comes as tokens has no tokenizer and no shards."""
    if not is_tokens:
        yield part("tokenizer", "data", [_job(results, "tokenizer", dataset=dataset)], {})
    for split, rule in zip(layout.SPLITS, ("tokenize_train", "tokenize_val"), strict=True):
        rules = ["memmap_cache"] if is_tokens else [rule, "memmap_cache"]
        jobs = [_job(results, rule, dataset=dataset, split=split) for rule in rules]
        yield part(f"{split} tokens", "data", jobs, _cache_facts(results, dataset, split))


def _run_part(results: Path, experiment: str, spectrum: str, seed: int | str) -> Part:
    """A run: its training, then its evaluation."""
    names = {"experiment": experiment, "spectrum": spectrum, "seed": seed}
    jobs = [_job(results, rule, **names) for rule in ("train", "evaluate")]
    return part(f"{spectrum} seed{seed}", "run", jobs, score(jobs[1].outputs[0]))


def _report_parts(
    results: Path, experiment: str, known: config_experiment.Experiment | None
) -> Iterator[Part]:
    """The tables and figures of an experiment, and what a search ends with; a round has none."""
    if isinstance(known, SearchPart) and not known.is_confirmation:
        return
    yield _report_part(results, experiment)
    if isinstance(known, SearchPart):
        job = _job(results, "best", search=known.search)
        yield part("best spectrum", "report", [job], {"page": str(job.outputs[0])})
        job = _job(results, "course", search=known.search)
        yield part("course of the search", "report", [job], {"page": str(job.outputs[0])})


def _report_part(results: Path, experiment: str) -> Part:
    """The tables and figures of an experiment."""
    rules = ("aggregate", "page", "figures")
    jobs = [_job(results, rule, experiment=experiment) for rule in rules]
    page = str(jobs[1].outputs[0])
    return part("tables and figures", "report", jobs, {"page": page})


def _job(results: Path, rule: str, **wildcards: str | int) -> Job:
    log, outputs = _JOBS[rule]
    log = layout.log(f"{rule}/{log.format(**wildcards)}")
    paths = [layout.within(results, output.format(**wildcards)) for output in outputs]
    return Job(rule, layout.within(results, log), tuple(paths))


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
        with contextlib.suppress(OSError):  # such as renamed or removed since it was listed
            facts["bytes_on_disk"] += file.stat().st_size
    with contextlib.suppress(OSError, ValueError):
        facts["tokens"] = _Manifest.model_validate_json(read_end(manifest, _LARGEST)).tokens
    return facts


def score(eval_csv: Path) -> Facts:
    """The perplexity of a run at the longest length, in protocol `full` where it was evaluated.

    Nothing where the table is missing or not whole.
    """

    def rank(row: dict[str, str]) -> tuple[int, bool, bool]:
        return int(row["length"]), row["protocol"] == "full", row["remap"] == "none"

    # Without a dataframe, which would take longer to import than all the rest to run.
    try:
        lines = read_end(eval_csv, _LARGEST).decode().splitlines()
        best = max(csv.DictReader(lines), key=rank)
        length = int(best["length"])
        return {"ppl": float(best["ppl"]), "length": length, "protocol": best["protocol"]}
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return {}
