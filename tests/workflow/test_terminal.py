"""A terminal that is closed over a run of the workflow: the training saves, and nothing hangs."""

import os
import pty
import re
import time
from pathlib import Path

import psutil
import pytest

from support.checkout import SNAKEMAKE, fresh_checkout, snakemake

# One run that saves only when it is asked to, and is long enough to be met at work: some 15 s.
LONG = """
experiments: {quick: {spectra: [geo_500k], seeds: [1]}}
datasets: {quick: {train_tokens: 240_000}}
training: {quick: {tokens: 240_000, batch_size: 1, checkpoint_minutes: null}}
"""
ARGUMENTS = ("--cores", "2", "--resources", "gpu=1", "--configfile", "quick.yaml", "long.yaml")
RUN = "results/quick/geo_500k/seed1"
LOG = "results/logs/train/quick/geo_500k/seed1.log"


def in_a_terminal(project: Path, command: str) -> tuple[int, int]:
    """Starts a shell with that command in a terminal of its own; its process, the terminal."""
    shell, terminal = pty.fork()
    if shell == 0:
        os.chdir(project)
        os.execv("/bin/sh", ["sh", "-c", f"{command}; exit $?"])
    os.set_blocking(terminal, False)
    return shell, terminal


def read(terminal: int) -> None:
    """Takes what was printed, or a full terminal would stop the printing."""
    try:
        os.read(terminal, 1 << 16)
    except BlockingIOError:
        time.sleep(0.05)


def wait_for_step(project: Path, shell: int, terminal: int) -> psutil.Process:
    """The process of the training once it has taken some steps."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        read(terminal)
        log = project / LOG
        if log.exists() and re.search(r"step [\d.]+k?/", log.read_text()):
            below = psutil.Process(shell).children(recursive=True)
            return next(job for job in below if job.cmdline()[1:3] == ["-m", "rope_spectra.train"])
    raise TimeoutError


@pytest.mark.slow
def test_closing_the_terminal_saves_the_training(tmp_path: Path) -> None:
    project = fresh_checkout(tmp_path / "closed")
    (project / "long.yaml").write_text(LONG)
    shell, terminal = in_a_terminal(project, f"{SNAKEMAKE} {' '.join(ARGUMENTS)}")
    training = wait_for_step(project, shell, terminal)
    os.close(terminal)
    training.wait(timeout=20)
    os.waitpid(shell, 0)
    saved = re.search(r"interrupted: step (\d+) of \d+ is saved", (project / LOG).read_text())
    assert (project / RUN / "checkpoint.pt").exists()
    said = snakemake(project, *ARGUMENTS).stderr
    assert f"resuming at step {saved[1]}\n" in (project / LOG).read_text()
    assert (project / "results/summary.csv").exists()
    assert_a_screen(said)


def assert_a_screen(said: str) -> None:
    """Messages of a run that somebody reads: its jobs by name, no lists of files, the places."""
    lines = said.splitlines()
    assert len(lines) < 60
    assert any("train quick/geo_500k/seed1" in line for line in lines)
    assert not any(line.lstrip().startswith(("input:", "output:", "resources:")) for line in lines)
    assert "results/quick/summary.md" in "\n".join(lines[-6:])


@pytest.mark.slow
def test_nohup_lets_the_training_go_on(tmp_path: Path) -> None:
    project = fresh_checkout(tmp_path / "nohup")
    (project / "long.yaml").write_text(LONG)
    command = f"nohup {SNAKEMAKE} {' '.join(ARGUMENTS)} > out 2>&1"
    shell, terminal = in_a_terminal(project, command)
    wait_for_step(project, shell, terminal)
    workflow = next(
        job for job in psutil.Process(shell).children() if "snakemake" in " ".join(job.cmdline())
    )
    os.close(terminal)
    os.waitpid(shell, 0)
    workflow.wait(timeout=300)
    assert "interrupted" not in (project / LOG).read_text()
    assert (project / "results/summary.csv").exists()
