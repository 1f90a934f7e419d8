"""The terminal of a run of the workflow: a line for each job that ends, and what runs now.

Takes the place of Snakemake's messages there, which list the files of every job; the log in
.snakemake/log keeps them all. Jobs tell how far they are by their heartbeats, wherever they run.
On a terminal the running jobs are a block of lines that moves; elsewhere, as in the log of a CI, a
job is told of after a minute, then more and more rarely.
"""

import contextlib
import logging
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text
from snakemake.logging import ColorizingTextHandler, get_event, logger
from snakemake_interface_logger_plugins.common import LogEvent

from rope_spectra.artifacts import layout
from rope_spectra.config.sections import Config
from rope_spectra.monitor.facts import score
from rope_spectra.runtime import cli, heartbeat
from rope_spectra.runtime.foreign import printable, read_end
from rope_spectra.runtime.heartbeat import Heartbeat
from rope_spectra.runtime.progress import describe, short_duration, speed

if TYPE_CHECKING:
    from snakemake.workflow import Workflow

_FIRST_TOLD_S, _LONGEST_UNTOLD_S = 60.0, 900.0
_WIDTH = 100
_MOST_LINES = 8  # of running jobs at once
_CLOCK_SLACK_S = 2.0
_LAST_LINES, _LAST_BYTES = 5, 4096  # of the log of a failed job
# Jobs of a moment, which only write down settings.
_UNTOLD = re.compile(r"all|appearance|.*_(config|options)")
# What Snakemake says of every run.
_USUAL = (
    "Assuming unrestricted",
    "Building DAG",
    "Using shell",
    "Conda environments: ignored",
    "Singularity containers: ignored",
    "Select jobs",
    "Execute ",
    "Removing temporary output",
    "Elapsed time",
)
_OF_FAILURES = ("CalledProcessError in file", "a job execution failed", "At least one job did not")
_SILENT = {
    LogEvent.WORKFLOW_STARTED,
    LogEvent.RESOURCES_INFO,
    LogEvent.JOB_STARTED,
    LogEvent.SHELLCMD,
    LogEvent.PROGRESS,
    LogEvent.RULEGRAPH,
    LogEvent.GROUP_INFO,
    LogEvent.GROUP_ERROR,  # of each job in the group it tells by itself
}

# The last lines of a run that succeeds.
Ending = Callable[[], Iterable[RenderableType]]


@dataclass
class _Job:
    """A job that Snakemake has started; its log is None where the rule has none."""

    rule: str
    wildcards: Mapping[str, str]
    log: Path | None
    began: float = field(default_factory=time.time)
    untold_s: float = _FIRST_TOLD_S  # until it is told of where lines cannot move

    @property
    def name(self) -> str:
        """As its folder is called: `train demo/geo_500k/seed42`."""
        parts = [f"seed{part}" if key == "seed" else part for key, part in self.wildcards.items()]
        return f"{self.rule} {'/'.join(parts)}".strip()

    def beat(self) -> Heartbeat | None:
        """Its latest heartbeat; one that is older than the job is of an earlier attempt."""
        beat = heartbeat.read(self.log) if self.log else None
        return beat if beat and beat.updated > self.began - _CLOCK_SLACK_S else None

    def took(self) -> str:
        return short_duration(time.time() - self.began)

    def outcome(self) -> str:
        """Time, and what is worth knowing of its result: loss and speed, or perplexity."""
        parts = [self.took()]
        beat = self.beat()
        if beat and beat.position and beat.position.unit == "tokens":
            parts += [beat.position.note, speed(beat.position)]
        if self.rule == "evaluate":
            facts = score(layout.fill(layout.EVAL, **self.wildcards))
            if facts:
                parts.append(f"PPL {facts['ppl']:,.2f} at {facts['length']}")
        return ", ".join(part for part in parts if part)

    def doing(self) -> str:
        beat = self.beat()
        return describe(beat.position) if beat and beat.position else self.took()

    def reason(self) -> list[str]:
        """Why it failed: in its own words, or the end of its log."""
        beat = self.beat()
        if beat and beat.error:
            return beat.error.splitlines()
        try:
            text = read_end(self.log, _LAST_BYTES).decode(errors="replace") if self.log else ""
        except OSError:
            return []
        return printable(text).splitlines()[-_LAST_LINES:]


class Terminal(logging.Handler):
    """Tells people of the messages of Snakemake what they need to know of a run.

    `command` makes again what failed; `ending` is asked for the last lines of a run that succeeds.
    """

    def __init__(self, console: Console, command: str, ending: Ending) -> None:
        super().__init__()
        self._console = console
        self._command = command
        self._ending = ending
        self._running: dict[int, _Job] = {}
        self._failed: dict[int, _Job] = {}
        # Of the jobs that are told of, and how many of all are left; None where no run has begun.
        self._done = self._total = 0
        self._left: int | None = None
        self._has_started = self._is_complete = self._is_stopped = False
        self._began = time.time()
        self._over = threading.Event()
        self._live: Live | None = None
        self._tell: dict[LogEvent, Callable[[Any], None]] = {
            LogEvent.RUN_INFO: self._begin,
            LogEvent.JOB_INFO: self._start,
            LogEvent.JOB_FINISHED: self._finish,
            LogEvent.JOB_ERROR: self._fail,
        }

    def emit(self, record: logging.LogRecord) -> None:
        """Tells of one message of Snakemake."""
        event = get_event(record)
        if event in _SILENT:
            return
        try:
            if event in self._tell:
                self._tell[event](record)
            else:
                self._say(record)
        except Exception:
            # As in every handler: a terminal that is gone stops no training.
            self.handleError(record)

    def close(self) -> None:
        """Says how the run ended; Snakemake calls it last."""
        if self._over.is_set():
            return
        self._over.set()
        with contextlib.suppress(OSError):
            if self._live:
                self._live.stop()
            self._print(*self._last_words())
        super().close()

    def _print(self, *lines: RenderableType) -> None:
        for line in lines:
            self._console.print(line, soft_wrap=isinstance(line, Text))

    # --- messages of Snakemake --------------------------------------------------------------------

    def _say(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno < logging.WARNING and text.startswith(_USUAL):
            return
        # That a job has failed is told with its name and its log.
        if any(words in text for words in _OF_FAILURES):
            return
        self._is_complete |= text.startswith("Nothing to be done")
        self._is_stopped |= text.startswith("Terminating processes")
        style = {logging.WARNING: "yellow", logging.ERROR: "red"}.get(record.levelno, "")
        self._print(Text(printable(text), style))

    def _begin(self, record: Any) -> None:
        counts = {rule: count for rule, count in record.stats.items() if rule != "total"}
        told = {rule: count for rule, count in counts.items() if not _UNTOLD.fullmatch(rule)}
        self._left = sum(counts.values())
        self._total = sum(told.values())
        self._print(Text("to do: " + ", ".join(f"{count} {rule}" for rule, count in told.items())))
        threading.Thread(target=self._watch, daemon=True).start()

    def _start(self, record: Any) -> None:
        self._has_started = True
        log = Path(record.log[0]) if record.log else None
        self._running[record.jobid] = _Job(record.rule_name, dict(record.wildcards), log)

    def _finish(self, record: Any) -> None:
        job = self._running.pop(record.job_id, None)
        self._failed.pop(record.job_id, None)
        self._left = (self._left or 0) - 1
        if job and not _UNTOLD.fullmatch(job.rule):
            self._done += 1
            self._print(Text(f"{self._place()} {job.name}  {job.outcome()}"))
        if self._live:
            self._show()

    def _fail(self, record: Any) -> None:
        log = Path(record.log[-1]) if record.log else None
        job = self._running.pop(record.jobid, None) or _Job(record.rule_name, {}, log)
        # Of those that Ctrl-C has ended there is nothing to say.
        if self._is_stopped:
            return
        self._failed[record.jobid] = job
        self._print(Text(f"{'failed':>{len(self._place())}} {job.name}  after {job.took()}", "red"))
        self._print(*(Text(f"    {line}") for line in job.reason()))
        # A scheduler has a log of its own, with what the job could not say.
        self._print(*(Text(f"    see also {path}") for path in record.log[1:]))

    def _place(self) -> str:
        width = len(str(self._total))
        return f"[{self._done:{width}}/{self._total}]"

    # --- what runs now ----------------------------------------------------------------------------

    def _watch(self) -> None:
        """Tells every second what runs; a terminal that is gone is told nothing any more."""
        if self._console.is_terminal:
            # Files on stdout, as of --dag, are none of its business.
            self._live = Live(
                console=self._console, auto_refresh=False, transient=True, redirect_stdout=False
            )
            self._live.start()
        with contextlib.suppress(OSError):
            while not self._over.wait(1.0):
                self.acquire()
                try:
                    self._show()
                finally:
                    self.release()

    def _show(self) -> None:
        if self._over.is_set():
            return
        jobs = [job for job in self._running.values() if not _UNTOLD.fullmatch(job.rule)]
        if self._live:
            self._live.update(Group(*self._lines(jobs)), refresh=True)
            return
        for job in jobs:
            if time.time() - job.began > job.untold_s:
                job.untold_s += min(job.untold_s, _LONGEST_UNTOLD_S)
                self._print(self._running_line(job))

    def _lines(self, jobs: list[_Job]) -> Iterator[RenderableType]:
        for job in jobs[:_MOST_LINES]:
            yield self._running_line(job)
        if len(jobs) > _MOST_LINES:
            more = f"and {len(jobs) - _MOST_LINES} more: python -m rope_spectra.status"
            yield Text(more, "cyan", no_wrap=True, overflow="ellipsis")

    def _running_line(self, job: _Job) -> Text:
        line = f"{'...':>{len(self._place())}} {job.name}  {job.doing()}"
        return Text(line, "cyan", no_wrap=True, overflow="ellipsis")

    # --- the end ----------------------------------------------------------------------------------

    def _last_words(self) -> Iterator[RenderableType]:
        took = short_duration(time.time() - self._began)
        done = f"{self._done} of {self._total} jobs done in {took}"
        is_stopped = self._has_started and self._left and not self._failed
        if self._is_stopped or is_stopped:
            yield Text(f"\nstopped, {done}; to go on: {self._command}", "yellow")
        elif self._failed:
            yield Text(f"\n{len(self._failed)} failed, {done}", "red")
            for job in list(self._failed.values())[:_MOST_LINES]:
                yield Text(f"  {job.name}  log: {job.log}")
            if len(self._failed) > _MOST_LINES:
                yield Text(f"  and {len(self._failed) - _MOST_LINES} more")
            yield Text(f"What is done stays. Once the cause is gone: {self._command}")
        elif self._left == 0:
            yield Text(done)
            yield from self._ending()
        elif self._is_complete:
            yield from self._ending()


def take(workflow: "Workflow", config: Config) -> None:
    """Puts a Terminal in the place of Snakemake's own handler; jobs write to their logs alone.

    Whoever asks for more (--verbose, --printshellcmds, --debug-dag), for less (--quiet) or for
    another logger (--logger) gets what Snakemake gives.
    """
    settings = workflow.output_settings
    asked = settings.verbose or settings.printshellcmds or settings.debug_dag or settings.quiet
    own = [handler for handler in logger.handlers if type(handler) is ColorizingTextHandler]
    if asked or not own:
        return
    os.environ[cli.QUIET] = "1"
    # Without a terminal there is no width; rich would take 80 columns.
    width = None if sys.stderr.isatty() else _WIDTH
    console = Console(stderr=True, width=width, no_color=settings.nocolor or None, highlight=False)
    # Found on the PATH it has an absolute name.
    program = "snakemake" if Path(sys.argv[0]).is_absolute() else sys.argv[0]
    command = shlex.join([program, *sys.argv[1:]])
    ending = partial(_verdicts, workflow, config, program)
    logger.removeHandler(own[0])
    logger.addHandler(Terminal(console, command, ending))


def _verdicts(workflow: "Workflow", config: Config, program: str) -> Iterable[RenderableType]:
    """The verdicts, of a call that made all that there is to make and not a part of it."""
    asked = workflow.dag_settings
    if asked.targets or asked.until or asked.omit_from or asked.batch:
        return []
    # Loads what draws tables, which a run needs only here.
    from rope_spectra.report import ending

    return ending.lines(config, program)
