"""A whole experiment under kills: the same command again ends with the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from itertools import cycle
from pathlib import Path

import psutil
import pytest

from support.checkout import SNAKEMAKE, fresh_checkout

COMMAND = [SNAKEMAKE, "--cores", "2", "--resources", "gpu=1", "--configfile", "quick.yaml"]
TARGETS = [
    "tokenize",
    "tokenize",
    "snakemake",
    "save",
    "train",
    "evaluate",
    "snakemake",
    "save",
    "train",
    "evaluate",
    "train",
    "adopt",
]
KILLS = 25
# Training saves at the others and leaves; the other steps just end.
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
# Seconds after its start that a step is killed at the latest; these take no longer.
LATEST_S = {"tokenize": 0.4, "adopt": 0.4}
# "adopt" is a training that finds its result in the store.
STEP = {"adopt": "train"}
# So slow that a kill meets each of them at work, and training saves all the time.
CHAOS = """
training: {quick: {checkpoint_minutes: 0}}
"""


def start(project: Path) -> psutil.Popen:
    return psutil.Popen(
        [*COMMAND, "chaos.yaml"], cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def steps(snakemake: psutil.Popen) -> dict[str, psutil.Process]:
    """The Python processes of the steps that are at work below Snakemake, by name of the step."""
    found = {}
    for process in snakemake.children(recursive=True):
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if len(line) > 2 and line[1] == "-m" and line[2].startswith("rope_spectra."):
            found[line[2].removeprefix("rope_spectra.")] = process
    return found


def is_saving(train: psutil.Process) -> bool:
    """True while a training has a half-written checkpoint at this moment."""
    line = train.cmdline()
    return any((Path(train.cwd()) / line[line.index("--output") + 1]).glob("checkpoint.pt.tmp.*"))


def kill_one(project: Path, target: str, chance: random.Random) -> str | None:
    """Start the experiment and kill `target` at a random moment; None if all was done before."""
    snakemake = start(project)
    deadline = time.monotonic() + chance.uniform(2.0, 6.0)
    while snakemake.poll() is None:
        alive = steps(snakemake)
        if target == "snakemake" and time.monotonic() > deadline:
            snakemake.kill()  # its jobs live on as orphans
            snakemake.wait()
            return target
        if target == "save" and "train" in alive:
            try:
                if is_saving(alive["train"]):
                    alive["train"].kill()
                    return end(snakemake, target)
            except (psutil.Error, ValueError, FileNotFoundError):
                continue
        elif STEP.get(target, target) in alive:
            time.sleep(chance.uniform(0.0, LATEST_S.get(target, 2.5)))
            step = alive[STEP.get(target, target)]
            try:
                step.send_signal(chance.choice(SIGNALS))
                step.wait(5)
                return end(snakemake, target)
            except psutil.Error:
                continue
        time.sleep(0.002)
    return None


def end(snakemake: psutil.Popen, target: str) -> str:
    """Stop Snakemake as well, so that the kills are many and the work between them little."""
    for process in [snakemake, *snakemake.children(recursive=True)]:
        try:
            process.kill()
        except psutil.Error:
            continue
    snakemake.wait()
    return target


@pytest.mark.slow
def test_at_least_25_kills_change_no_byte_of_the_summary(tmp_path: Path) -> None:
    undisturbed, project = (
        fresh_checkout(tmp_path / "undisturbed"),
        fresh_checkout(tmp_path / "chaos"),
    )
    for folder in (undisturbed, project):
        (folder / "chaos.yaml").write_text(CHAOS)
    subprocess.run([*COMMAND, "chaos.yaml"], cwd=undisturbed, check=True, capture_output=True)
    chance, killed, attempts = random.Random(0), Counter(), 0
    for target in cycle(TARGETS):
        if sum(killed.values()) >= KILLS and min(killed[name] for name in set(TARGETS)) >= 2:
            break
        attempts += 1
        assert attempts < 4 * KILLS, killed
        if target == "tokenize" and (project / "results/data/quick/validation.npy").exists():
            if killed[target] >= 2:
                continue
            shutil.rmtree(project / "results")  # there was nothing to tokenize any more
        if target == "adopt":
            subprocess.run([*COMMAND, "chaos.yaml"], cwd=project, check=True, capture_output=True)
            shutil.rmtree(project / "results/quick")
        if killed_now := kill_one(project, target, chance):
            killed[killed_now] += 1
        else:
            shutil.rmtree(project / "results")  # all was done before the kill: start again
    done = subprocess.run([*COMMAND, "chaos.yaml"], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    print(dict(killed))
    for name in ("summary.csv", "quick/summary.csv", "quick/runs.csv"):
        assert (project / "results" / name).read_bytes() == (
            undisturbed / "results" / name
        ).read_bytes(), name
    left = [
        path
        for path in (project / "results").rglob("*")
        if ".tmp." in path.name or path.name == "checkpoint.pt"
    ]
    assert left == []


def test_a_killed_snakemake_is_followed_by_the_same_command(tmp_path: Path) -> None:
    project = fresh_checkout(tmp_path / "project")
    target = "results/data/quick/tokenizer/tokenizer.json"
    command = [SNAKEMAKE, target, "--configfile", "quick.yaml"]
    first = psutil.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    locks = project / ".snakemake/locks"
    while not (locks.is_dir() and any(locks.iterdir())) and first.poll() is None:
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert any(locks.iterdir())
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (project / target).exists()


@pytest.mark.slow
def test_of_five_that_start_at_the_same_moment_one_works(tmp_path: Path) -> None:
    """The others find it at work, or nothing left to do; no file is lost and nothing is spilled."""
    project = fresh_checkout(tmp_path / "project")
    targets = ["results/quick/options.json", "results/quick/evaluation.json"]
    command = [SNAKEMAKE, *targets, "--cores", "1", "--configfile", "quick.yaml"]
    for _ in range(3):
        shutil.rmtree(project / "results", ignore_errors=True)
        started = [
            subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True)
            for _ in range(5)
        ]
        said = {process: process.communicate(timeout=120)[1] for process in started}
        assert all((project / target).exists() for target in targets)
        assert not [text for text in said.values() if "Traceback" in text]
        assert sum("jobs done in" in text for text in said.values()) == 1
        for process, text in said.items():
            assert process.returncode == 0 or "cannot be locked" in text, text
