"""The heartbeat of a job: a small file next to its log that says what the job is doing.

results/logs/train/demo/geo_500k/seed42.log has seed42.progress.json next to it: how much is done
and how fast, by which process, and how it ended. `python -m rope_spectra.status` reads these files.
Each is replaced as a whole, and one that cannot be written never stops the work.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import SerializerFunctionWrapHandler, model_serializer

from rope_spectra.runtime.settings import Record

JobState: TypeAlias = Literal["running", "done", "failed", "stopped"]

_SIGNAL_OFFSET = 128  # a process that a signal has ended exits with this plus the signal


class Position(Record):
    """The progress of a job in its own units; `total` is None where the end is not known."""

    label: str
    done: int
    total: int | None
    unit: str
    rate: float = 0.0  # units per second
    left_s: float | None = None
    note: str = ""


class Heartbeat(Record):
    """State, process and progress of a job, as it reports them; on disk one flat mapping."""

    state: JobState
    error: str | None = None
    step: str | None = None
    started: float
    updated: float
    pid: int
    host: str
    device: str | None = None
    cuda_visible_devices: str | None = None
    position: Position | None = None

    @model_serializer(mode="wrap")
    def _flatten(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content = handler(self)
        position = content.pop("position") or {}
        return {**content, **position}


# Of this process: where its heartbeat goes, and the latest. None before `begin` and after `end`.
_file: Path | None = None
_latest: Heartbeat | None = None


def path(log: Path) -> Path:
    """The file with the heartbeat of the job that logs to `log`."""
    return log.with_suffix(".progress.json")


def begin(log: Path) -> None:
    """Starts the heartbeat of this process, next to `log`; of several ranks only the first's."""
    global _file, _latest
    if os.environ.get("RANK", "0") != "0":
        return
    _file = path(log)
    now = time.time()
    _latest = Heartbeat(
        state="running",
        step=Path(sys.argv[0]).stem,
        started=now,
        updated=now,
        pid=os.getpid(),
        host=socket.gethostname(),
    )
    _update()


def set_device(name: str) -> None:
    """Says which device this process computes on, such as 'cuda:0 NVIDIA H200'."""
    _update(device=name)


def beat(position: Position) -> None:
    """Says that this process is alive and how far it has got."""
    _update(position=position)


def end(state: JobState, error: str | None = None) -> None:
    """The last heartbeat: how the job ended and why. Nothing is written after it."""
    global _file, _latest
    _update(state=state, error=error)
    _file = _latest = None


@contextlib.contextmanager
def ending_with_block() -> Iterator[None]:
    """Ends the heartbeat that begins in the block, however the block is left."""
    try:
        yield
    except BaseException as error:
        end(*_outcome(error))
        raise
    end("done")


def read(log: Path) -> Heartbeat | None:
    """The latest heartbeat of the job that logs to `log`; None if there is none to be read."""
    try:
        content = json.loads(path(log).read_bytes())
        if not isinstance(content, dict):
            return None
        # Before its first step a job has no position. Each model ignores the keys of the other.
        position = Position.model_validate(content) if "done" in content else None
        return Heartbeat.model_validate({**content, "position": position})
    except (OSError, ValueError):
        return None


def _update(**changes: Any) -> None:
    """Writes the latest heartbeat again with some changes."""
    global _latest
    if _file is None or _latest is None:
        return
    changes["updated"] = time.time()
    # It changes when the process leases its GPU.
    changes["cuda_visible_devices"] = os.environ.get("CUDA_VISIBLE_DEVICES")
    _latest = _latest.model_copy(update=changes)
    temporary = _file.with_name(f"{_file.name}.tmp.{os.getpid()}")
    with contextlib.suppress(OSError):
        temporary.write_text(_latest.model_dump_json())
        temporary.replace(_file)


def _outcome(error: BaseException) -> tuple[JobState, str | None]:
    """The state in which an exception leaves the job, and the reason."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped", "by Ctrl-C"
    if not isinstance(error, SystemExit):
        return "failed", f"{type(error).__name__}: {error}".partition("\n")[0]
    if not error.code:
        return "done", None
    if isinstance(error.code, int) and error.code - _SIGNAL_OFFSET in signal.valid_signals():
        return "stopped", f"by {signal.Signals(error.code - _SIGNAL_OFFSET).name}"
    return "failed", f"exit status {error.code}"
