"""GPUs of this machine, leased one to a run: a fake driver, real processes, locks and signals."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from rope_spectra.runtime import devices
from rope_spectra.runtime.errors import UserError
from support.checkout import SNAKEMAKE

MIG = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa)
  MIG 3g.20gb     Device  0: (UUID: MIG-1111)
  MIG 3g.20gb     Device  1: (UUID: MIG-2222)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb)
"""
# Leases, says what happens, then holds until its input ends.
HOLD = """
import logging, sys
from rope_spectra.runtime import devices
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
devices.lease(*map(int, sys.argv[1].split("/")))
sys.stdin.read()
"""
# Takes a GPU 300 times, and fails if anybody else has it.
MEET = """
import os
from pathlib import Path
from rope_spectra.runtime import devices
names = devices.visible()
folder = Path(os.environ["MEETING"])
for turn in range(300):
    file = devices._open()
    leased = []
    while not leased:
        leased = devices._lock_free_ones(file, names, 1)
    mine = folder / leased[0]
    mine.touch(exist_ok=False)
    mine.unlink()
    os.close(file)
"""
WAITS = "waiting: {} of {} GPUs wanted, other runs hold the rest; lower --resources gpu="


def gpus(count: int) -> str:
    return "".join(f"GPU {index}: NVIDIA H200 (UUID: GPU-{index:04d})\n" for index in range(count))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Gives this machine an nvidia-smi that lists what it is told; returns that program."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.delenv(devices.VARIABLE, raising=False)

    def offers(listing: str) -> Path:
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin/nvidia-smi").write_text(f"#!/bin/sh\ncat <<'END'\n{listing}END\n")
        (tmp_path / "bin/nvidia-smi").chmod(0o755)
        return tmp_path / "bin/nvidia-smi"

    return offers


class Holder:
    """A process that holds GPUs until it is told to end."""

    def __init__(self, count: int | str = 1, code: str = HOLD) -> None:
        command = [sys.executable, "-c", code, str(count)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def says(self) -> str:
        assert select.select([self.process.stdout], [], [], 30)[0], "it says nothing"
        return self.process.stdout.readline().decode().strip()

    def end(self) -> None:
        self.process.communicate(timeout=30)


@pytest.fixture
def hold() -> Iterator[Callable[..., Holder]]:
    holders: list[Holder] = []

    def start(*arguments: object) -> Holder:
        holders.append(Holder(*arguments))
        return holders[-1]

    yield start
    for holder in holders:
        holder.process.kill()
        holder.process.communicate()


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (None, ["MIG-1111", "MIG-2222", "GPU-bbbb"]),
        ("1", ["GPU-bbbb"]),
        ("1,0", ["GPU-bbbb", "MIG-1111", "MIG-2222"]),
        ("1,1", ["GPU-bbbb"]),
        ("1,7,0", ["GPU-bbbb"]),
        ("GPU-b", ["GPU-bbbb"]),
        ("MIG-2222", ["MIG-2222"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
    ],
)
def test_what_cuda_visible_devices_leaves(
    machine, monkeypatch, chosen: str | None, expected: list[str]
) -> None:
    machine(MIG)
    if chosen is not None:
        monkeypatch.setenv(devices.VARIABLE, chosen)
    assert devices.visible() == expected


@pytest.mark.parametrize("chosen", ["7", "GPU-c", "MIG-3", "nonsense"])
def test_a_gpu_that_is_not_there_is_named(machine, monkeypatch, chosen: str) -> None:
    machine(MIG)
    monkeypatch.setenv(devices.VARIABLE, chosen)
    with pytest.raises(
        UserError, match=f"^CUDA_VISIBLE_DEVICES: {chosen} is no GPU of this machine, it has 2"
    ):
        devices.visible()


@pytest.mark.parametrize("listing", ["", "No devices were found\n"])
def test_a_machine_without_gpus_leases_none(machine, monkeypatch, listing: str) -> None:
    machine(listing)
    monkeypatch.setenv(devices.VARIABLE, "0")
    assert devices.lease(1) == []
    assert os.environ[devices.VARIABLE] == "0"


def test_a_machine_without_the_driver_leases_none(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert devices.lease(1) == []


def test_more_gpus_than_there_are_is_one_clear_line(machine) -> None:
    machine(gpus(2))
    with pytest.raises(
        UserError, match=r"^gpus_per_run: 4 GPUs are asked for, this machine offers 2; lower it$"
    ):
        devices.lease(4)


def test_a_lease_makes_no_file_that_a_cleaner_could_remove(machine, hold) -> None:
    """The cleaner of the temporary folder took the lock files of an older version."""
    driver = machine(gpus(1))
    holder = hold()
    assert holder.says() == "on GPU GPU-0000"
    opened = [link.resolve() for link in Path(f"/proc/{holder.process.pid}/fd").iterdir()]
    assert [path for path in opened if path.is_file()] == [driver]
    assert hold().says() == WAITS.format(1, 1)


NO_LOCKS = """
import fcntl
def fcntl_of_a_sandbox(*arguments):
    raise OSError(22, "Invalid argument")
fcntl.fcntl = fcntl_of_a_sandbox
"""


def test_a_system_without_such_locks_still_gives_a_run_all_gpus(machine, hold) -> None:
    machine(gpus(1))
    holder = hold(1, NO_LOCKS + HOLD)
    assert holder.says() == (
        "without a lease, because nvidia-smi cannot be locked: Invalid argument"
    )
    assert holder.says() == "on GPU GPU-0000"


def test_a_system_without_such_locks_cannot_share_its_gpus(machine, monkeypatch) -> None:
    machine(gpus(2))

    def fails(*arguments: object) -> bytes:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(devices.fcntl, "fcntl", fails)
    monkeypatch.setattr(devices, "_held", [])
    with pytest.raises(UserError, match=r"^nvidia-smi: .* set CUDA_VISIBLE_DEVICES to 1 of them"):
        devices.lease(1)


def test_processes_that_lease_at_the_same_moment_never_share_a_gpu(
    machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(gpus(2))
    (tmp_path / "meeting").mkdir()
    monkeypatch.setenv("MEETING", str(tmp_path / "meeting"))
    counters = [subprocess.Popen([sys.executable, "-c", MEET]) for _ in range(4)]
    assert [counter.wait(timeout=120) for counter in counters] == [0] * 4


def test_the_process_that_leases_sees_its_gpus_alone(machine, hold) -> None:
    machine(gpus(3))
    holder = hold(
        2,
        HOLD.replace(
            "sys.stdin.read()", "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True)"
        ),
    )
    assert holder.says() == "on GPU GPU-0000,GPU-0001"
    assert holder.says() == "GPU-0000,GPU-0001"


def test_a_killed_process_releases_what_it_held(machine, hold) -> None:
    """Even if a forked child, as data loaders are, outlives it."""
    machine(gpus(1))
    code = HOLD.replace(
        "sys.stdin.read()",
        "import os, time; os.fork() or print(os.getpid(), flush=True); time.sleep(1000)",
    )
    first = hold(1, code)
    assert first.says() == "on GPU GPU-0000"
    child = int(first.says())
    try:
        second = hold()
        assert second.says() == WAITS.format(1, 1)
        first.process.send_signal(signal.SIGKILL)
        assert second.says() == "on GPU GPU-0000"
    finally:
        os.kill(child, signal.SIGKILL)


def test_runs_of_several_gpus_get_all_or_none(machine, hold) -> None:
    """Of two that want two of three GPUs each one waits, and leaves the third to another run."""
    machine(gpus(3))
    first = hold(2)
    assert first.says() == "on GPU GPU-0000,GPU-0001"
    second = hold(2)
    assert second.says() == WAITS.format(2, 3)
    assert hold().says() == "on GPU GPU-0002"
    first.end()
    assert second.says() == "on GPU GPU-0000,GPU-0001"


def test_small_runs_share_gpus_evenly_and_no_more_of_them_than_asked(machine, hold) -> None:
    machine(gpus(2))
    holders = [hold("1/2") for _ in range(4)]
    spread = sorted(holder.says() for holder in holders)
    assert spread == ["with 1/2 of its time and memory"] * 4
    assert (
        sorted(holder.says() for holder in holders)
        == ["on GPU GPU-0000"] * 2 + ["on GPU GPU-0001"] * 2
    )
    late = hold("1/2")
    assert late.says() == WAITS.format("1/2 of 1", 2)
    holders[3].end()
    assert late.says() == "with 1/2 of its time and memory"


def test_a_shared_gpu_is_free_for_a_whole_run_only_after_its_last_share(machine, hold) -> None:
    machine(gpus(1))
    shares = [hold("1/8"), hold("1/3")]
    for share in shares:
        assert share.says().startswith("with 1/")
        assert share.says() == "on GPU GPU-0000"
    whole = hold()
    assert whole.says() == WAITS.format(1, 1)
    shares[0].end()
    shares[1].end()
    assert whole.says() == "on GPU GPU-0000"
    assert hold("1/8").says() == WAITS.format("1/8 of 1", 1)


def test_a_gpu_of_an_older_version_is_shared_with_nobody(machine, hold) -> None:
    """It locks a single byte, the first that stands for the GPU."""
    machine(gpus(1))
    older = HOLD.replace("devices.lease", "devices._BYTES = 1; devices.lease")
    assert hold(1, older).says() == "on GPU GPU-0000"
    assert hold().says() == WAITS.format(1, 1)


@pytest.mark.parametrize("shares", range(1, devices.MOST_SHARES + 1))
def test_shares_of_a_gpu_are_equal_and_leave_nothing(shares: int) -> None:
    parts = [devices._Part.of("GPU-0000", number, shares) for number in range(shares)]
    whole = devices._Part.of("GPU-0000")
    assert [part.start for part in parts] == [
        whole.start + number * whole.length // shares for number in range(shares)
    ]
    assert sum(part.length for part in parts) == whole.length


def test_a_rank_keeps_its_gpu_when_its_launcher_is_killed(machine, hold, monkeypatch) -> None:
    machine(gpus(2))
    launcher = hold(2)
    leased = launcher.says().removeprefix("on GPU ")
    monkeypatch.setenv(devices.VARIABLE, leased)
    rank = hold(1, HOLD.replace("devices.lease", "devices.share"))
    assert rank.says() == "on GPU GPU-0001"
    launcher.process.send_signal(signal.SIGKILL)
    assert hold().says() == "on GPU GPU-0000"
    late = hold()
    assert late.says() == WAITS.format(1, 2)
    rank.end()
    assert late.says() == "on GPU GPU-0001"


JOBS = """
rule all:
    input: expand("{job}.txt", job=range(8))

rule work:
    output: "{job}.txt"
    resources: gpu=1
    shell: "PYTHON work.py {output}"
"""
# Waits until four jobs have begun, so that it ends only if four run at once.
WORK = """
import sys, time
from pathlib import Path
from rope_spectra.runtime import devices
(name,) = devices.lease(1)
leased = time.monotonic()
Path(sys.argv[1] + ".begun").touch()
while len(list(Path().glob("*.begun"))) < 4:
    time.sleep(0.01)
Path(sys.argv[1]).write_text(f"{name} {leased} {time.monotonic()}")
"""


def test_snakemake_runs_a_job_per_gpu_and_no_two_on_one(machine, tmp_path: Path) -> None:
    machine(gpus(4))
    (tmp_path / "Snakefile").write_text(JOBS.replace("PYTHON", sys.executable))
    (tmp_path / "work.py").write_text(WORK)
    command = [
        SNAKEMAKE,
        "--cores",
        "8",
        "--resources",
        "gpu=4",
        "--scheduler",
        "greedy",
        "--quiet",
        "all",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    spans: dict[str, list[tuple[float, float]]] = {}
    for job in range(8):
        name, *span = (tmp_path / f"{job}.txt").read_text().split()
        spans.setdefault(name, []).append(tuple(map(float, span)))
    assert sorted(spans) == [f"GPU-{index:04d}" for index in range(4)]
    for turns in spans.values():
        assert all(end <= begin for (_, end), (begin, _) in pairwise(sorted(turns)))


@pytest.mark.parametrize("count", [0, 9])
def test_a_number_of_runs_that_cannot_share_a_gpu_is_refused(count: int) -> None:
    """With 0 shares none would ever be free."""
    with pytest.raises(UserError, match=f"--runs-per-gpu: {count} cannot share one; give 1 to 8"):
        devices.take(runs_per_gpu=count)
