"""Training curves as TensorBoard event files, written while the training runs: `tensorboard --logdir results/tensorboard`.

with curves.writer(folder, "auto", start=step) as curve:
    curve.add(row)

Written with tensorboard's own records, without torch.utils.tensorboard, which would import TensorFlow where it is installed.
"""

import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rope_spectra.runtime.errors import UserError

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

    from rope_spectra.training.trainer import LogRow

# A record is the length of its data (uint64), a checksum of that (uint32), the data, and their checksum (uint32).
_HEAD_BYTES, _TAIL_BYTES = 12, 4
_SCALARS = ("loss", "lr", "tokens_per_s")


class Curve:
    """The event files of one run. What an earlier attempt wrote before `start` is kept, what it wrote from there on is not.

    So a run that was taken up again has every step once, with the time at which it was first done.
    """

    def __init__(self, folder: Path, start: int) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        for file in folder.glob("events.out.tfevents.*"):
            _cut(file, start)
        # A running TensorBoard goes from file to file in the order of their names; this one comes after the earlier ones.
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._writer = RecordWriter(path.open("wb"))
        self._write(file_version="brain.Event:2")
        self._write(
            step=start, session_log=SessionLog(status=SessionLog.START)
        )  # makes it forget what has been cut

    def add(self, row: "LogRow") -> None:
        """Append a line of the training log; a running TensorBoard sees it at its next reload."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=getattr(row, tag)) for tag in _SCALARS]
        self._write(step=row.step, summary=Summary(value=values))

    def _write(self, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.write(Event(wall_time=time.time(), **content).SerializeToString())
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class NoCurve:
    """Stands for a curve that nobody wants."""

    def add(self, row: "LogRow") -> None:
        """Write nothing."""


@contextmanager
def writer(folder: Path | None, enabled: bool | str, start: int = 0) -> Iterator[Curve | NoCurve]:
    """The curve of a run that goes on at step `start`; `enabled` is true, false, or auto: where tensorboard is installed.

    Raises UserError if it is true and tensorboard is not installed.
    """
    is_installed = find_spec("tensorboard") is not None
    if enabled is True and not is_installed:
        raise UserError(
            "training.tensorboard: true needs the package tensorboard, which is not installed; install it or set auto"
        )
    if folder is None or not enabled or not is_installed:
        yield NoCurve()
        return
    curve = Curve(folder, start)
    try:
        yield curve
    finally:
        curve.close()


def _cut(file: Path, step: int) -> None:
    """Take what an event file says about `step` and later out of it; a file that then says nothing is removed."""
    data = file.read_bytes()
    kept = [end for end, event in _events(data) if event.HasField("summary") and event.step < step]
    if kept:
        os.truncate(file, kept[-1])
    else:
        file.unlink()


def _events(data: bytes) -> "Iterator[tuple[int, Event]]":
    """The events of a file, each with where it ends; a process that was killed may have left half of one at the end."""
    from tensorboard.compat.proto.event_pb2 import Event

    start = 0
    while start + _HEAD_BYTES <= len(data):
        (length,) = struct.unpack_from("<Q", data, start)
        end = start + _HEAD_BYTES + length + _TAIL_BYTES
        if end > len(data):
            return
        yield end, Event.FromString(data[start + _HEAD_BYTES : end - _TAIL_BYTES])
        start = end
