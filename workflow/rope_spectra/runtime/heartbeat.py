"""The heartbeat of a job: a small file next to its log that says what the job is doing.

results/logs/train/demo/geo_500k/seed42.log has seed42.progress.json next to it: how much is done
and how fast, by which process, and how it ended. `python -m rope_spectra.status` reads these files.
Each is replaced as a whole, and one that cannot be written never stops the work.
"""

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_serializer,
)
from pydantic_core import from_json

from rope_spectra.runtime.foreign import printable, read_end
from rope_spectra.runtime.rank import is_main_process
from rope_spectra.runtime.settings import Printable, Record

JobState: TypeAlias = Literal["running", "done", "failed", "stopped"]

_SIGNAL_OFFSET = 128  # a process that a signal has ended exits with this plus the signal
_LARGEST = 65536  # bytes; a heartbeat has some 400


def _none_if_odd(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError:
        return None


# The file may come from another machine, version or hand. An odd value of these counts as none.
_OrNone = WrapValidator(_none_if_odd)
_Count = Annotated[int, Field(ge=0, le=2**63)]
_Seconds = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]


class Position(Record):
    """The progress of a job; `total` is None where the end is not known.

    `unit` is what its speed is told in: one of `done` has `each` of them, as a step has its tokens.
    """

    label: Printable
    done: _Count
    total: Annotated[_Count | None, _OrNone]
    unit: Printable
    each: Annotated[_Count, Field(ge=1)] = 1
    rate: Annotated[float, Field(allow_inf_nan=False)] = 0.0  # of `done` per second
    left_s: Annotated[_Seconds | None, _OrNone] = None
    note: Printable = ""


class Heartbeat(Record):
    """State, process and progress of a job, as it reports them; on disk one flat mapping."""

    state: JobState
    error: Annotated[Printable | None, _OrNone] = None
    step: Annotated[Printable | None, _OrNone] = None
    started: _Seconds
    updated: _Seconds
    pid: Annotated[int, Field(ge=1, lt=2**31)]
    host: Printable
    device: Annotated[Printable | None, _OrNone] = None
    cuda_visible_devices: Annotated[Printable | None, _OrNone] = None
    position: Annotated[Position | None, _OrNone] = None

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
    if not is_main_process():
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
    # It may name a file whose name is no UTF-8, which JSON cannot hold.
    _update(state=state, error=error and printable(error))
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
        content = from_json(read_end(path(log), _LARGEST))
        if not isinstance(content, dict):
            return None
        # Before its first step a job has no position. Each model ignores the keys of the other.
        return Heartbeat.model_validate({**content, "position": content})
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
        temporary.write_bytes(_latest.model_dump_json().encode())
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
