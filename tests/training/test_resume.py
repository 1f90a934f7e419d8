"""A training that was stopped anywhere resumes to the same bits.

Nothing that it left is taken for more than it is.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest
import torch

from rope_spectra.training import checkpoint, loop
from rope_spectra.training.interruption import CheckpointClock, Interruption
from rope_spectra.training.record import Part
from rope_spectra.training.run import History
from rope_spectra.training.trainer import Trainer
from support.by_hand import step
from support.checkout import ROOT
from support.resumable import arguments, start
from support.tiny_model import GEOMETRIC, config, llama, tokens

TEXT = tokens(64 * 8 * 12)


def trainer(seed: int = 7) -> Trainer:
    return Trainer(llama(GEOMETRIC, seed), config(), torch.device("cpu"))


@pytest.mark.parametrize("stop", [1, 5, 11])
def test_weights_optimizer_and_log_equal_those_of_a_training_that_was_never_stopped(
    stop: int, tmp_path: Path
) -> None:
    whole, first, second = trainer(), trainer(), trainer(seed=8)
    lines = [row for _, row in whole.run(TEXT, 7, log_every=1)]
    before = [row for _, row in islice(first.run(TEXT, 7, log_every=1), stop)]
    checkpoint.save_state(tmp_path / "state", first.state() | {"identity": "this"})
    second.restore(checkpoint.load_state(tmp_path / "state", "this"))
    after = [row for _, row in second.run(TEXT, 7, log_every=1, start=stop)]
    assert [(row.step, row.loss, row.lr, row.tokens) for row in before + after] == [
        (row.step, row.loss, row.lr, row.tokens) for row in lines
    ]
    for ours, theirs in zip(second.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        for name, value in whole.optimizer.state[theirs].items():
            assert torch.equal(second.optimizer.state[ours][name], value), name


def part(first_step: int, **device: str | int) -> Part:
    """What this process would note if it trained."""
    history = History()
    loop._add_part(trainer(), "math", first_step, history)
    facts = history.parts[0]
    return facts.model_copy(update={"device": facts.device | device})


def test_a_part_says_what_trained_it() -> None:
    facts = part(0)
    assert facts.device["threads"] == torch.get_num_threads()
    assert (facts.device["attention"], facts.device["compiled"]) == ("math", False)
    assert (facts.processes, facts.versions["torch"]) == (1, torch.__version__)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    assert (facts.commit or "").removesuffix("-dirty") == head


def test_other_arithmetic_than_before_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    same, other = History(), History()
    same.parts = [Part(first_step=0), part(10)]
    other.parts = [part(0), part(10, threads=99), part(20, name="another CPU")]
    loop._add_part(trainer(), "math", 30, same)
    assert not caplog.messages
    loop._add_part(trainer(), "math", 30, other)
    (message,) = caplog.messages
    assert "from step 10 on this run was trained with another device.threads (99 instead" in message
    assert len(other.parts) == 4


def test_of_the_parts_of_an_older_version_only_the_first_steps_are_known() -> None:
    history, again = History(), History()
    older = {"rows": [], "resumed_at": [5], "seconds": {"total": 1.0, "training": 0.5}}
    history.resume(older, 8)
    assert history.parts == [Part(first_step=0), Part(first_step=5)]
    history.parts.append(part(8))
    again.resume(history.state(), 9)
    assert (again.parts, again.resumed_at) == (history.parts, [5, 8, 9])


def finish(data: Path, run: Path) -> str:
    """Runs to the end; returns the log.

    The result must be that of the run that was left alone, and nothing else may be there.
    """
    done = step("train", *arguments(data, run))
    assert done.returncode == 0, done.stderr
    assert {path.name for path in run.iterdir()} == {"model.safetensors", "train.csv", "run.json"}
    assert (run / "model.safetensors").read_bytes() == (
        data / "whole/model.safetensors"
    ).read_bytes()
    assert without_speed(run) == without_speed(data / "whole")
    return done.stderr


def without_speed(run: Path) -> list[str]:
    return [line.rpartition(",")[0] for line in (run / "train.csv").read_text().splitlines()]


def test_sigterm_saves_and_ends_within_seconds_and_the_same_command_resumes(
    data: Path, tmp_path: Path
) -> None:
    process = start(data, tmp_path / "run")
    process.send_signal(signal.SIGTERM)
    message = process.communicate(timeout=10)[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert "is saved, the same command resumes from there" in message
    assert "Traceback" not in message
    saved = int(message.partition("interrupted: step ")[2].split()[0])
    assert f"resuming at step {saved}\n" in finish(data, tmp_path / "run")
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["resumed_at_steps"] == [saved]
    whole = json.loads((data / "whole/run.json").read_text())["parts"][0]
    assert record["parts"] == [whole, whole | {"first_step": saved}]


@pytest.mark.parametrize(
    "number", [signal.SIGHUP, pytest.param(signal.SIGQUIT, marks=pytest.mark.slow)]
)
def test_other_signals_that_ask_to_stop_save_as_well(
    number: signal.Signals, data: Path, tmp_path: Path
) -> None:
    process = start(data, tmp_path / "run")
    process.send_signal(number)
    message = process.communicate(timeout=10)[1]
    assert process.returncode == 128 + number
    saved = int(message.partition("interrupted: step ")[2].split()[0])
    identity = json.loads((data / "whole/run.json").read_text())["identity"]
    state = checkpoint.load_state(tmp_path / "run/checkpoint.pt", identity)
    assert state["step"] == saved


def test_a_killed_training_resumes_from_its_last_checkpoint(data: Path, tmp_path: Path) -> None:
    for _ in range(2):
        process = start(data, tmp_path / "run")
        process.kill()
        process.communicate()
    (tmp_path / "run/checkpoint.pt.tmp.123").write_text(
        "left by a process that was killed while it saved"
    )
    assert "resuming at step " in finish(data, tmp_path / "run")


def test_a_kill_inside_a_save_leaves_the_state_before(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    die_in_the_third_save = (
        "import os, signal, sys, torch\n"
        "from rope_spectra import train; from rope_spectra.runtime import cli\n"
        "save, saves = torch.save, []\n"
        "def die(state, path):\n"
        "    save(state, path)\n"
        "    saves.append(path)\n"
        "    if len(saves) == 3:\n"
        "        os.truncate(path, 1000)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "torch.save = die\n"
        "cli.run(train.main)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", die_in_the_third_save, *arguments(data, run)], capture_output=True
    )
    assert done.returncode == -signal.SIGKILL
    assert len(list(run.glob("checkpoint.pt.tmp.*"))) == 1
    assert "resuming at step 10\n" in finish(data, run)


def test_a_second_signal_stops_at_once() -> None:
    code = (
        "import time\n"
        "from rope_spectra.training.interruption import Interruption\n"
        "with Interruption() as interruption:\n"
        "    print('ready', flush=True)\n"
        "    while not interruption.signal: time.sleep(0.01)\n"
        "    print('asked', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "asked\n"
    time.sleep(1.2)  # within a second it would count as the same request
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == -signal.SIGTERM


def test_signals_are_heard_once_and_handlers_restored() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruption() as interruption:
        assert interruption.signal is None
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.signal == signal.SIGINT
    with Interruption(handle=False):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_rank_that_was_asked_to_stop_ends_when_its_exchange_fails() -> None:
    code = (
        "import os, signal\n"
        "from rope_spectra.training.interruption import Interruption\n"
        "with Interruption(handle=False):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    raise RuntimeError('connection closed by peer')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, b"")


def test_a_signal_that_was_ignored_from_the_start_stays_ignored() -> None:
    code = (
        "import os, signal\n"
        "from rope_spectra.training.interruption import Interruption\n"
        "with Interruption() as interruption:\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    assert interruption.signal is None\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    assert interruption.signal == signal.SIGTERM\n"
    )
    subprocess.run(["nohup", sys.executable, "-c", code], check=True)


def test_a_state_that_is_damaged_or_of_another_run_is_not_used(tmp_path: Path) -> None:
    path, choice = tmp_path / "checkpoint.pt", random.Random(0)
    checkpoint.save_state(path, trainer().state() | {"identity": "this", "step": 3})
    whole = path.read_bytes()
    flips = [choice.randrange(len(whole)) for _ in range(200)]
    damaged = [
        whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
        for place in flips
    ]
    for content in [
        *damaged,
        whole[:-1],
        whole[: choice.randrange(len(whole))],
        whole + b"\0",
        b"",
        b"short",
    ]:
        path.write_bytes(content)
        with pytest.raises(checkpoint.UnusableState, match="damaged"):
            checkpoint.load_state(path, "this")
    path.write_bytes(whole)
    assert checkpoint.load_state(path, "this")["step"] == 3
    with pytest.raises(checkpoint.UnusableState, match="other settings"):
        checkpoint.load_state(path, "another")


def test_a_damaged_checkpoint_is_named_and_training_starts_from_the_beginning(
    data: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/checkpoint.pt").write_bytes(
        b"no checkpoint at all, but long enough to hold a digest of something"
    )
    assert (
        "checkpoint.pt cannot be used, it is damaged; training starts from the beginning"
        in finish(data, tmp_path / "run")
    )


def test_two_trainings_of_one_run_do_not_disturb_each_other(data: Path, tmp_path: Path) -> None:
    first = start(data, tmp_path / "run")
    log = finish(data, tmp_path / "run")
    assert first.wait(timeout=10) == 0
    assert "another process is at work in" in log
    assert "the other process has finished this run" in log


def test_a_checkpoint_is_due_by_steps_by_time_or_never(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("rope_spectra.training.interruption.time.monotonic", lambda: now[0])
    by_steps, by_time, never = (
        CheckpointClock(None, 10),
        CheckpointClock(0.5, None),
        CheckpointClock(None, None),
    )
    assert [step for step in range(40) if by_steps(step)] == [9, 19, 29, 39]
    due = []
    for seconds in range(100):
        now[0] = float(seconds)
        due += [seconds] if by_time(seconds) else []
        assert not never(seconds)
    assert due == [30, 60, 90]
