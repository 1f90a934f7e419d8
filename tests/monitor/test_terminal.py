"""The lines of a run on the terminal, from the messages that Snakemake would print instead."""

import io
import json
import logging
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.text import Text
from snakemake.logging import ColorizingTextHandler, logger
from snakemake_interface_logger_plugins.common import LogEvent

from rope_spectra.artifacts import layout
from rope_spectra.monitor import terminal
from rope_spectra.monitor.terminal import Terminal
from rope_spectra.runtime import cli, heartbeat

STATS = {"run_config": 1, "train": 2, "evaluate": 1, "all": 1, "total": 5}
RUN = {"experiment": "demo", "spectrum": "geo", "seed": "7"}
TRAINED = {"label": "step", "done": 300, "total": 300, "unit": "tokens", "each": 1024, "rate": 9.0}


class Screen(Terminal):
    """A terminal of a run, and what it has printed so far."""

    def __init__(self, width: int = 100) -> None:
        self.file = io.StringIO()
        console = Console(file=self.file, width=width, highlight=False)
        super().__init__(console, "snakemake -c 2", lambda: [Text("the verdicts")])

    def hear(self, event: LogEvent | None = None, text: str = "", **facts: object) -> None:
        level = facts.pop("level", logging.INFO)
        record = logging.makeLogRecord({"msg": text, "levelno": level, "event": event, **facts})
        self.emit(record)

    def start(self, jobid: int, rule: str = "train", log: str = "job.log") -> None:
        self.hear(LogEvent.JOB_INFO, jobid=jobid, rule_name=rule, wildcards=RUN, log=[log])

    def lines(self) -> list[str]:
        return self.file.getvalue().splitlines()


@pytest.fixture
def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    monkeypatch.chdir(tmp_path)
    result = Screen()
    yield result
    result.close()


def leave_heartbeat(state: str = "running", **facts: object) -> None:
    beat = {"state": state, "started": time.time(), "updated": time.time(), "pid": 1}
    heartbeat.path(Path("job.log")).write_text(
        json.dumps(beat | {"host": socket.gethostname()} | facts)
    )


def test_a_run_is_announced_without_jobs_that_write_settings(screen: Screen) -> None:
    screen.hear(LogEvent.RUN_INFO, "Job stats: ...", stats=STATS)
    assert screen.lines() == ["to do: 2 train, 1 evaluate"]


def test_a_job_that_ends_is_a_line_with_its_run_and_one_speed(screen: Screen) -> None:
    screen.hear(LogEvent.RUN_INFO, stats=STATS)
    screen.start(1)
    leave_heartbeat("done", note="loss 0.912", **TRAINED)
    screen.hear(LogEvent.JOB_FINISHED, job_id=1)
    assert screen.lines()[1:] == ["[1/3] train demo/geo/seed7  0 s, loss 0.912, 9.22k tokens/s"]


def test_an_evaluation_tells_its_perplexity(screen: Screen) -> None:
    path = Path(layout.EVAL.format(**RUN))
    path.parent.mkdir(parents=True)
    path.write_text("remap,protocol,length,ppl\nnone,full,64,3.5\nnone,full,128,4.25\n")
    screen.hear(LogEvent.RUN_INFO, stats=STATS)
    screen.start(1, "evaluate")
    screen.hear(LogEvent.JOB_FINISHED, job_id=1)
    assert screen.lines()[-1].endswith("evaluate demo/geo/seed7  0 s, PPL 4.25 at 128")


@pytest.mark.parametrize(
    "text", ["Building DAG of jobs...", "Select jobs to execute...", "Execute 2 jobs..."]
)
def test_what_every_run_says_is_not_said(screen: Screen, text: str) -> None:
    screen.hear(text=text)
    screen.hear(LogEvent.SHELLCMD, "python -m rope_spectra.train")
    screen.hear(LogEvent.WORKFLOW_STARTED, "Workflow has started!")
    assert screen.lines() == []


def test_other_messages_and_all_warnings_are_shown_without_their_control_characters(
    screen: Screen,
) -> None:
    screen.hear(text="Unlocked working directory.")
    screen.hear(text="Building DAG \x1b[2J is odd", level=logging.WARNING)
    assert screen.lines() == ["Unlocked working directory.", r"Building DAG \x1b[2J is odd"]


def test_a_failed_job_is_told_with_its_reason_its_log_and_what_to_type(screen: Screen) -> None:
    screen.hear(LogEvent.RUN_INFO, stats=STATS)
    screen.start(1)
    leave_heartbeat("failed", error="train.json: damaged; delete it")
    screen.hear(LogEvent.JOB_ERROR, jobid=1, rule_name="train", log=["job.log"])
    screen.hear(LogEvent.ERROR, "RuleException:\nCalledProcessError in file x: Command ...")
    screen.close()
    assert screen.lines()[1:] == [
        "failed train demo/geo/seed7  after 0 s",
        "    train.json: damaged; delete it",
        "",
        "1 failed, 0 of 3 jobs done in 0 s",
        "  train demo/geo/seed7  log: job.log",
        "What is done stays. Once the cause is gone: snakemake -c 2",
    ]


def test_a_job_that_was_killed_shows_the_end_of_its_log(screen: Screen) -> None:
    screen.hear(LogEvent.RUN_INFO, stats=STATS)
    Path("job.log").write_text("".join(f"line {number}\n" for number in range(20)))
    screen.start(1)
    screen.hear(LogEvent.JOB_ERROR, jobid=1, rule_name="train", log=["job.log", "slurm/7.log"])
    last = [f"    line {number}" for number in range(15, 20)]
    assert screen.lines()[2:] == [*last, "    see also slurm/7.log"]


def test_a_job_that_succeeds_at_its_second_try_has_not_failed(screen: Screen) -> None:
    screen.hear(LogEvent.RUN_INFO, stats={"train": 1, "total": 1})
    for event in (LogEvent.JOB_ERROR, LogEvent.JOB_FINISHED):
        screen.start(1)
        screen.hear(event, jobid=1, job_id=1, rule_name="train", log=["job.log"])
    screen.close()
    assert screen.lines()[-2:] == ["1 of 1 jobs done in 0 s", "the verdicts"]


def test_nothing_to_do_shows_the_verdicts_too(screen: Screen) -> None:
    screen.hear(text="Nothing to be done (all requested files are present and up to date).")
    screen.close()
    assert screen.lines()[-1] == "the verdicts"


def test_a_run_that_is_stopped_says_how_to_go_on_and_blames_nothing(screen: Screen) -> None:
    screen.hear(LogEvent.RUN_INFO, stats=STATS)
    screen.start(1)
    screen.hear(text="Terminating processes on user request, this might take some time.")
    screen.hear(LogEvent.JOB_ERROR, jobid=1, rule_name="train", log=["job.log"])
    screen.close()
    assert screen.lines()[-1] == "stopped, 0 of 3 jobs done in 0 s; to go on: snakemake -c 2"
    assert "failed" not in screen.file.getvalue()


def test_a_run_that_ends_after_the_jobs_at_work_says_how_to_go_on(screen: Screen) -> None:
    screen.hear(LogEvent.RUN_INFO, stats=STATS)
    screen.start(1)
    screen.hear(LogEvent.JOB_FINISHED, job_id=1)
    screen.close()
    assert screen.lines()[-1] == "stopped, 1 of 3 jobs done in 0 s; to go on: snakemake -c 2"


def test_a_mistake_before_the_first_job_is_left_to_its_own_line(screen: Screen) -> None:
    screen.hear(LogEvent.RUN_INFO, stats=STATS)
    screen.close()
    assert screen.lines() == ["to do: 2 train, 1 evaluate"]


def test_without_a_terminal_a_long_job_is_told_of_more_and_more_rarely(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen.hear(LogEvent.RUN_INFO, stats=STATS)
    screen.start(1)
    leave_heartbeat(**TRAINED | {"done": 150}, left_s=20, note="loss 1.5")
    began = time.time()
    told = []
    for seconds in range(0, 4000, 10):
        monkeypatch.setattr(time, "time", lambda seconds=seconds: began + seconds)
        before = len(screen.lines())
        screen._show()
        if len(screen.lines()) > before:
            told.append(seconds)
    assert told[:5] == [60, 120, 240, 480, 960]
    assert max(later - earlier for earlier, later in pairwise(told)) == 900
    assert screen.lines()[1].lstrip() == (
        "... train demo/geo/seed7  step 150/300 (50 %), 9.22k tokens/s, 20 s left, loss 1.5"
    )


@pytest.mark.parametrize("asked", ["verbose", "printshellcmds", "debug_dag", "quiet", None])
def test_it_takes_the_place_of_snakemakes_own_unless_something_else_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, asked: str | None
) -> None:
    monkeypatch.setenv(cli.QUIET, "")  # is as before after the test
    own = ColorizingTextHandler()
    monkeypatch.setattr(logger, "handlers", [own])
    names = ("verbose", "printshellcmds", "debug_dag", "quiet", "nocolor")
    settings = SimpleNamespace(**{name: name == asked for name in names})
    terminal.take(SimpleNamespace(output_settings=settings), None)
    (handler,) = logger.handlers
    assert isinstance(handler, Terminal) == (asked is None)
