"""Locks of a killed Snakemake stop nobody, those of a living one stay, and plans take turns."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rope_spectra.runtime import stale_locks

# Says what it does, and goes on when it is told to.
SNAKEMAKE = """
import sys
from pathlib import Path
from rope_spectra.runtime import stale_locks
print("cleared", stale_locks.begin(Path(sys.argv[1])), flush=True)
input()
stale_locks.planned()
print("planned", flush=True)
input()
stale_locks.take_turn()
print("ended", flush=True)
input()
"""


class Other:
    """Another Snakemake, as far as its locks go."""

    def __init__(self, state: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SNAKEMAKE, str(state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def says(self) -> str:
        return self.process.stdout.readline().strip()

    def goes_on(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def waits(self) -> bool:
        """True once it has said that it waits for another."""
        return "waiting" in self.process.stderr.readline()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/0.input.lock").write_text("results/summary.csv\n")
    return tmp_path


@pytest.fixture
def others(state: Path) -> Iterator[list[Other]]:
    started = [Other(state)]
    assert started[0].says() == "cleared True"
    yield started
    for other in started:
        other.process.kill()
        other.process.communicate()


def test_a_lock_is_stale_only_if_nobody_is_alive(state: Path, others: list[Other]) -> None:
    lock = state / "locks/0.input.lock"
    assert not lock.exists()
    lock.write_text("of the one that is alive")
    others[0].goes_on()
    assert others[0].says() == "planned"
    others.append(Other(state))
    assert others[1].says() == "cleared False"
    assert lock.exists()
    for other in others:
        other.process.kill()
        other.process.wait()
    others.append(Other(state))
    assert others[2].says() == "cleared True"


def test_the_second_waits_while_the_first_plans_and_ends(state: Path, others: list[Other]) -> None:
    first = others[0]
    others.append(Other(state))
    assert others[1].waits()
    first.goes_on()
    assert first.says() == "planned"
    assert others[1].says() == "cleared False"
    first.goes_on()  # to its end, while the second one plans
    assert first.waits()
    others[1].process.kill()
    assert first.says() == "ended"


def test_a_file_system_without_locks_holds_nobody_up(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(stale_locks.fcntl, "flock", refuse)
    assert not stale_locks.begin(state)
    stale_locks.planned()
    stale_locks.take_turn()
    assert (state / "locks/0.input.lock").exists()
