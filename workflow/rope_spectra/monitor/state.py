"""The state of each part of an experiment, from files alone: what jobs wrote and their heartbeats.

A part is waiting, running, done, failed, stopped (by a signal that it handled), dead (its process
is gone) or stale (its process is on another machine and its heartbeat is old).
"""

import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import psutil
from pydantic import Field
from typing_extensions import TypedDict  # pydantic cannot read that of typing before Python 3.12

from rope_spectra.runtime import heartbeat
from rope_spectra.runtime.foreign import read_end
from rope_spectra.runtime.heartbeat import Heartbeat
from rope_spectra.runtime.settings import Printable, Record

State: TypeAlias = Literal["waiting", "running", "done", "failed", "stopped", "dead", "stale"]
Kind: TypeAlias = Literal["data", "run", "report"]

# On another machine, where nobody can ask whether the process is alive.
_STALE_AFTER_S = 600.0
_CLOCK_SLACK_S = 2.0
_LAST_LINES = 4096  # bytes of a log


class Facts(TypedDict, total=False):
    """Facts of the result of a part: of tokens, of a run, or of the report."""

    tokens: int
    bytes_on_disk: int
    ppl: float
    length: int
    protocol: Printable
    page: Printable


@dataclass(frozen=True)
class Job:
    """A job of the workflow: its rule, its log and what it writes."""

    rule: str
    log: Path
    outputs: tuple[Path, ...]

    def finished_at(self) -> float | None:
        """The time at which its last output was written; None if one is missing."""
        try:
            return max(path.stat().st_mtime for path in self.outputs)
        except OSError:
            return None


class Part(Record):
    """Jobs that follow each other towards one result, told by the one that matters now.

    rule, log, heartbeat and error are those of this job. age_s is the age of the heartbeat.
    """

    name: Printable
    kind: Kind
    state: State
    rule: str
    log: Printable
    age_s: float | None
    error: Printable | None
    heartbeat: Heartbeat | None = Field(serialization_alias="sign")
    facts: Facts


def part(name: str, kind: Kind, jobs: list[Job], facts: Facts) -> Part:
    """The part that a chain of jobs makes, told by the one that runs or the first not done."""
    now = time.time()
    beats = [heartbeat.read(job.log) for job in jobs]
    states = [_state(job, beat, now) for job, beat in zip(jobs, beats, strict=True)]
    # If the last job is done, so were those before it, whose outputs may be gone: shards are
    # temporary.
    if states[-1] == "done":
        states = ["done" if state == "waiting" else state for state in states]
    current = _current(states)
    job, state = jobs[current], states[current]
    # A job that waits to be run again may have an old heartbeat, which says nothing any more.
    beat = None if state == "waiting" else beats[current]
    return Part(
        name=name,
        kind=kind,
        state=state,
        rule=job.rule,
        log=str(job.log),
        age_s=max(now - beat.updated, 0.0) if beat else None,
        error=_error(job, beat, state),
        heartbeat=beat,
        facts=facts,
    )


def snakemake_runs(results: Path) -> bool:
    """True if Snakemake itself runs on this machine, in the folder of `results`."""
    folder = str(results.absolute().parent.resolve())
    for process in psutil.process_iter(["cmdline", "cwd"]):
        # `snakemake`, `python snakemake` or `python -m snakemake`
        words = (process.info["cmdline"] or [])[:3]
        is_snakemake = any(Path(word).name == "snakemake" for word in words)
        if is_snakemake and process.info["cwd"] == folder:
            return True
    return False


def _current(states: list[State]) -> int:
    """The job of a chain that matters now: the one that runs, else the first that is not done."""
    if "running" in states:
        return states.index("running")
    for index, state in enumerate(states):
        if state != "done":
            return index
    return len(states) - 1


def _state(job: Job, beat: Heartbeat | None, now: float) -> State:
    """The state of one job: its heartbeat counts until its outputs are newer."""
    finished = job.finished_at()
    if beat and beat.state != "done":
        state = _life(beat, now) if beat.state == "running" else beat.state
        if state == "running" or finished is None or beat.updated > finished:
            return state
    return "waiting" if finished is None else "done"


def _life(beat: Heartbeat, now: float) -> State:
    """Tells if a job that says it runs does: by its process, elsewhere by its heartbeat."""
    if beat.host != socket.gethostname():
        # Nor does a time far in the future say that it is alive.
        return "stale" if abs(now - beat.updated) > _STALE_AFTER_S else "running"
    try:
        process = psutil.Process(beat.pid)
        # A process younger than the heartbeat is another one that got the same number.
        is_another = process.create_time() > beat.updated + _CLOCK_SLACK_S
        return "dead" if is_another or process.status() == psutil.STATUS_ZOMBIE else "running"
    except psutil.NoSuchProcess:
        return "dead"


def _error(job: Job, beat: Heartbeat | None, state: State) -> str | None:
    """The reason why a job has not got to its end: its own words or the last line of its log."""
    if not beat or state in ("running", "done"):
        return None
    return beat.error or _last_line(job.log)


def _last_line(log: Path) -> str | None:
    try:
        text = read_end(log, _LAST_LINES).decode(errors="replace").strip()
    except OSError:
        return None
    return text.rpartition("\n")[2].strip() or None
