"""What the files in results/ say about each part of an experiment: waiting, running, done, failed, stopped, silent or dead."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rope_spectra.artifacts import layout
from rope_spectra.runtime import heartbeat
from rope_spectra.runtime.heartbeat import Sign

_SILENT_AFTER_S = 600.0  # on another machine, where nobody can ask whether the process is alive
_CLOCK_SLACK_S = 2.0


@dataclass(frozen=True)
class Job:
    """A job of the workflow: its rule, its log and what it writes."""

    rule: str
    log: Path
    outputs: tuple[Path, ...]

    def finished_at(self) -> float | None:
        """When the last of its outputs was written; None if one is missing."""
        try:
            return max(path.stat().st_mtime for path in self.outputs)
        except FileNotFoundError:
            return None


@dataclass(frozen=True)
class Part:
    """Jobs that follow each other towards one result, and how the one that matters now is doing.

    state is one of waiting, running, done, failed, stopped (by a signal it heeded), dead (its process is gone) and silent (its
    process is on another machine and has given no sign of life for long). age_s is the age of the last sign.
    """

    name: str
    kind: str
    state: str
    rule: str
    log: str
    age_s: float | None
    error: str | None
    sign: Sign | None
    facts: dict[str, Any]


def part(name: str, kind: str, jobs: list[Job], now: float, facts: dict[str, Any]) -> Part:
    """The state of a chain of jobs, told by the one that runs, else by the first that is not done."""
    signs = [heartbeat.read(job.log) for job in jobs]
    states = [_state(job, sign, now) for job, sign in zip(jobs, signs, strict=True)]
    # What a later job has been made from may be gone: shards are temporary.
    if states[-1] == "done":
        states = ["done" if state == "waiting" else state for state in states]
    unfinished = [index for index, state in enumerate(states) if state != "done"]
    current = (
        states.index("running") if "running" in states else next(iter(unfinished), len(jobs) - 1)
    )
    job, sign, state = jobs[current], signs[current], states[current]
    heard = sign if state != "waiting" else None
    age = now - heard["updated"] if heard else None
    return Part(
        name, kind, state, job.rule, str(job.log), age, _error(job, heard, state), heard, facts
    )


def _state(job: Job, sign: Sign | None, now: float) -> str:
    finished = job.finished_at()
    if sign and sign["state"] != "done":
        state = _life(sign, now) if sign["state"] == "running" else sign["state"]
        if state == "running" or finished is None or sign["updated"] > finished:
            return state
    return "waiting" if finished is None else "done"


def _life(sign: Sign, now: float) -> str:
    """Whether the process of a running job is alive; of another machine only the age of its last sign is known."""
    if sign["host"] != socket.gethostname():
        return "silent" if now - sign["updated"] > _SILENT_AFTER_S else "running"
    import psutil

    try:
        process = psutil.Process(sign["pid"])
        # A process younger than the sign is another one that got the same number.
        is_another = process.create_time() > sign["updated"] + _CLOCK_SLACK_S
        return "dead" if is_another or process.status() == psutil.STATUS_ZOMBIE else "running"
    except psutil.NoSuchProcess:
        return "dead"


def snakemake_runs(results: Path) -> bool:
    """Whether Snakemake itself runs on this machine, in the folder of `results`."""
    import psutil

    folder = str(results.absolute().parent.resolve())
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if process.info["cwd"] == folder and any(
            Path(word).name == "snakemake" for word in words[:3]
        ):
            return True
    return False


def _error(job: Job, sign: Sign | None, state: str) -> str | None:
    """Why a job has not got to its end, in its own words or in the last line of its log."""
    if not sign or state in ("running", "done"):
        return None
    return sign.get("error") or _last_line(job.log)


def _last_line(log: Path) -> str | None:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return None
    return next((line.strip() for line in reversed(lines) if line.strip()), None)


def dataset_parts(results: Path, dataset: str, is_tokenized: bool, now: float) -> Iterator[Part]:
    """From text to token caches; a dataset that comes as tokens has no tokenizer and no shards."""

    def job(rule: str, log: str, *outputs: str, **wildcards: str) -> Job:
        paths = (
            layout.within(results, output.format(dataset=dataset, **wildcards))
            for output in outputs
        )
        return Job(rule, layout.within(results, layout.log(f"{rule}/{log}")), tuple(paths))

    if not is_tokenized:
        yield part("tokenizer", "data", [job("tokenizer", dataset, layout.TOKENIZER)], now, {})
    for split, rule in zip(layout.SPLITS, ("tokenize_train", "tokenize_val"), strict=True):
        jobs = [
            job("memmap_cache", f"{dataset}/{split}", layout.TOKENS, layout.MANIFEST, split=split)
        ]
        if not is_tokenized:
            jobs.insert(0, job(rule, dataset, layout.SHARDS, split=split))
        yield part(f"{split} tokens", "data", jobs, now, _cache_facts(results, dataset, split))


def run_part(results: Path, experiment: str, spectrum: str, seed: int, now: float) -> Part:
    """A run: its training, then its evaluation."""

    def job(rule: str, *outputs: str) -> Job:
        wildcards = {"experiment": experiment, "spectrum": spectrum, "seed": seed}
        log = layout.within(results, layout.log(f"{rule}/{experiment}/{spectrum}/seed{seed}"))
        return Job(
            rule,
            log,
            tuple(layout.within(results, output.format(**wildcards)) for output in outputs),
        )

    jobs = [
        job("train", layout.RUN, layout.TRAIN_LOG),
        job("evaluate", layout.EVAL, layout.EVAL_NLL),
    ]
    return part(f"{spectrum} seed{seed}", "run", jobs, now, _score(jobs[1].outputs[0]))


def report_part(results: Path, experiment: str, now: float) -> Part:
    """The tables and figures of an experiment."""

    def job(rule: str, *outputs: str) -> Job:
        log = layout.within(results, layout.log(f"{rule}/{experiment}"))
        return Job(
            rule,
            log,
            tuple(
                layout.within(results, output.format(experiment=experiment)) for output in outputs
            ),
        )

    facts = {
        "page": str(
            layout.within(results, layout.EXPERIMENT_SUMMARY_MD.format(experiment=experiment))
        )
    }
    tables = job("aggregate", layout.RUNS, layout.EXPERIMENT_SUMMARY, layout.EXPERIMENT_SUMMARY_MD)
    return part(
        "tables and figures",
        "report",
        [tables, job("figures", *layout.figure_files(experiment))],
        now,
        facts,
    )


def _cache_facts(results: Path, dataset: str, split: str) -> dict[str, Any]:
    """How many tokens a split has, once that is known, and the bytes on disk of its cache and its shards."""
    cache, manifest, shards = (
        layout.within(results, path.format(dataset=dataset, split=split))
        for path in (layout.TOKENS, layout.MANIFEST, layout.SHARDS)
    )
    files = [*cache.parent.glob(f"{cache.name}*"), *shards.parent.glob(f"{shards.name}*/*")]
    facts: dict[str, Any] = {"bytes_on_disk": sum(_size(file) for file in files)}
    try:
        return facts | {"tokens": json.loads(manifest.read_bytes())["tokens"]}
    except (OSError, ValueError, KeyError):
        return facts


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _score(eval_csv: Path) -> dict[str, Any]:
    """The perplexity at the longest length, in protocol `full` where it was evaluated."""
    try:
        header, *lines = eval_csv.read_text().splitlines()
        rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
        best = max(
            rows,
            key=lambda row: (int(row["length"]), row["protocol"] == "full", row["remap"] == "none"),
        )
        return {
            "ppl": float(best["ppl"]),
            "length": int(best["length"]),
            "protocol": best["protocol"],
        }
    except (OSError, ValueError, KeyError):
        return {}
