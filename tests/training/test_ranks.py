"""One run on several processes: the same batches, the same losses to rounding.

When one process dies, all end in order.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from rope_spectra.artifacts import files
from rope_spectra.config import frozen
from rope_spectra.config.load import load
from rope_spectra.runtime.errors import UserError
from rope_spectra.training import ranks
from rope_spectra.training.device import prepare
from rope_spectra.training.ranks import World
from rope_spectra.training.vigil import A_RANK_IS_SILENT
from support.by_hand import refusal, step
from support.configs import GOOD
from support.resumable import EVERY_STEP, arguments, start


def losses(run: Path) -> np.ndarray:
    return pd.read_csv(run / "train.csv")["loss"].to_numpy()


def assert_same_training(run: Path, whole: Path, processes: int) -> None:
    """The same losses to rounding.

    fp32 sums in another order differ by about 1e-7, which 400 steps amplify; another row or rate
    would differ by far more.
    """
    assert json.loads((run / "run.json").read_text())["processes"] == processes
    assert len(losses(run)) == len(losses(whole))
    np.testing.assert_allclose(losses(run), losses(whole), rtol=1e-4)
    assert sorted(path.name for path in run.iterdir()) == [
        "model.safetensors",
        "run.json",
        "train.csv",
    ]


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_losses_equal_those_of_one_process(processes: int, data: Path, tmp_path: Path) -> None:
    log = tmp_path / "logs/train.log"
    done = step("train", *arguments(data, tmp_path / "run"), "--processes", processes, "--log", log)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"{processes} x cpu") == 1, "one rank speaks for all"
    assert f"{processes} x cpu" in log.read_text()
    assert_same_training(tmp_path / "run", data / "whole", processes)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_run_resumes_with_another_number_of_processes(
    before: int, after: int, data: Path, tmp_path: Path
) -> None:
    first = start(data, tmp_path / "run", "--processes", str(before))
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=60)
    assert first.returncode == 128 + signal.SIGTERM
    done = step("train", *arguments(data, tmp_path / "run"), "--processes", after)
    assert "resuming at step " in done.stderr
    assert_same_training(tmp_path / "run", data / "whole", after)


def test_a_rank_that_dies_stops_all_with_one_line(data: Path, tmp_path: Path) -> None:
    launcher = start(data, tmp_path / "run", "--processes", "2")
    children = psutil.Process(launcher.pid).children()
    second = next(child for child in children if child.environ().get("RANK") == "1")
    second.kill()
    message = launcher.communicate(timeout=60)[1]
    lines = [line for line in message.splitlines() if " error: " in line]
    assert launcher.returncode == 1
    assert len(lines) == 1, message
    assert "rank 1 of 2 died (signal 9); all were stopped" in lines[0]
    assert "Traceback" not in message
    assert not any(
        child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children
    )
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"checkpoint.pt"}


def test_ranks_of_a_run_that_another_launcher_finishes_meanwhile_end(
    data: Path, tmp_path: Path
) -> None:
    """The first rank waits for the other launcher, and the second one for the first."""
    command = [sys.executable, "-m", "rope_spectra.train", *arguments(data, tmp_path / "run")]
    with files.locked(tmp_path / "run"):
        second = subprocess.Popen([*command, "--processes", "2"], stderr=subprocess.PIPE, text=True)
        while "another process is at work in" not in second.stderr.readline():
            assert second.poll() is None
        shutil.copytree(data / "whole", tmp_path / "run", dirs_exist_ok=True)
    message = second.communicate(timeout=60)[1]
    assert second.returncode == 0, message
    assert "the other process has finished this run" in message


@pytest.mark.parametrize("rank", [pytest.param("0", marks=pytest.mark.slow), "1"])
def test_a_rank_that_does_not_answer_ends_all_with_one_line_that_names_it(
    rank: str, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "options.json").write_text(json.dumps(EVERY_STEP | {"rank_timeout_minutes": 0.05}))
    more = ("--processes", "2", "--options", str(tmp_path / "options.json"))
    launcher = start(data, tmp_path / "run", *more)
    children = psutil.Process(launcher.pid).children()
    stopped = next(child for child in children if child.environ().get("RANK") == rank)
    stopped.suspend()
    message = launcher.communicate(timeout=25)[1]
    lines = [line for line in message.splitlines() if " error: " in line]
    assert launcher.returncode == 1
    assert len(lines) == 1, message
    assert f"rank {rank} of 2 on " in lines[0]
    assert "has not answered for 3 s" in lines[0]
    assert "Traceback" not in message
    assert not any(child.is_running() for child in children)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"checkpoint.pt"}


# The launcher's store and rank 0 in one process; then rank 1 of another machine.
FIRST = """
import time
from torch.distributed import TCPStore
store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
print(store.port, flush=True)
while True:
    store.add("alive 0", 1)
    print(store.add("alive 1", 0), flush=True)
    time.sleep(0.02)
"""
SECOND = """
import time
from rope_spectra.training.vigil import Vigil
Vigil(1, 2, 1.0).begin()
time.sleep(60)
"""


@pytest.mark.slow
def test_a_first_machine_that_hangs_is_named_by_the_others(tmp_path: Path) -> None:
    first = subprocess.Popen([sys.executable, "-c", FIRST], stdout=subprocess.PIPE, text=True)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": first.stdout.readline().strip()}
    place |= {"GROUP_RANK": "1", "TORCHELASTIC_ERROR_FILE": str(tmp_path / "error.json")}
    second = subprocess.Popen([sys.executable, "-c", SECOND], env=os.environ | place)
    while first.stdout.readline().strip() in ("", "0"):
        pass
    first.send_signal(signal.SIGSTOP)
    assert second.wait(timeout=30) == A_RANK_IS_SILENT
    message = json.loads((tmp_path / "error.json").read_text())["message"]
    assert message.startswith("rank 0 of 2 on 127.0.0.1 has not answered for 1 s")
    first.kill()
    first.communicate()


def test_ranks_save_and_end_within_seconds_when_their_terminal_closes(
    data: Path, tmp_path: Path
) -> None:
    """Torch's launcher would kill after 30 s those that wait for the rank that has saved."""
    launcher = start(data, tmp_path / "run", "--processes", "2")
    launcher.send_signal(signal.SIGHUP)
    message = launcher.communicate(timeout=25)[1]
    assert launcher.returncode == 128 + signal.SIGHUP
    assert "is saved, the same command resumes from there" in message
    assert "Traceback" not in message


def test_a_number_of_processes_that_does_not_divide_the_batch_is_refused(
    data: Path, tmp_path: Path
) -> None:
    done = step("train", *arguments(data, tmp_path / "run"), "--processes", 3)
    assert refusal(done) == "--processes: 3 does not divide batch_size 4; give a divisor"


def test_a_number_of_threads_that_is_none_is_refused() -> None:
    settings = frozen.run_settings(load(GOOD), "demo", "geo", 1)
    with pytest.raises(UserError, match="--threads: -1 is no number of threads"):
        prepare(settings, threads=-1)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_shares_of_the_ranks_are_the_batch(size: int) -> None:
    rows = list(range(8))
    assert [row for rank in range(size) for row in rows[World(rank, size).share(8)]] == rows


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("gpu[07-09,12]", "gpu07"), ("a1,a2", "a1"), ("node3", "node3"), ("n[1,4],m[2-3]", "n1")],
)
def test_the_nodes_of_a_slurm_job_meet_at_the_first(nodes: str, first: str) -> None:
    slurm = {"SLURM_NNODES": "2", "SLURM_JOB_ID": "70123", "SLURM_NODELIST": nodes}
    assert ranks.slurm_rendezvous(slurm) == [
        "--nnodes=2",
        "--rdzv_backend=c10d",
        "--rdzv_id=70123",
        f"--rdzv_endpoint={first}:30123",
    ]
    assert ranks.slurm_rendezvous({"SLURM_NNODES": "1"}) is None
    assert ranks.slurm_rendezvous({}) is None
