"""Training curves as TensorBoard event files: `tensorboard --logdir results/tensorboard`.

    with tensorboard.writer(folder, "auto", start=step) as curve:
        curve.add(row)

They grow while the training runs. They are written with tensorboard's own records and without
torch.utils.tensorboard, which would import TensorFlow where that is installed.
"""

import os
import socket
import time
from contextlib import AbstractContextManager, closing, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from rope_spectra.runtime.errors import UserError
from rope_spectra.training.run import LogRow

_SCALARS = ("loss", "lr", "tokens_per_s")


class Curve:
    """The event file of one attempt at a run, which begins at step `start`.

    Earlier attempts have files of their own in the folder. TensorBoard reads them in the order of
    their names and, at the head of this one, drops what they say about `start` and later. So a run
    that was resumed shows every step once, with the time at which it was first done.
    """

    def __init__(self, folder: Path, start: int) -> None:
        # The package is optional, so nothing of it can be imported at the top.
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        # Nanoseconds, because two attempts can begin within one second.
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._writer = RecordWriter((folder / name).open("wb"))
        self._write(file_version="brain.Event:2")
        # The event that torch's SummaryWriter(purge_step=start) writes.
        self._write(step=start, session_log=SessionLog(status=SessionLog.START))

    def add(self, row: LogRow) -> None:
        """Appends a line of the training log; a running TensorBoard sees it at its next reload."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=getattr(row, tag)) for tag in _SCALARS]
        self._write(step=row.step, summary=Summary(value=values))

    def _write(self, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.write(Event(wall_time=time.time(), **content).SerializeToString())
        self._writer.flush()

    def close(self) -> None:
        """Ends the file."""
        self._writer.close()


class NoCurve:
    """Stands for a curve that nobody wants."""

    def add(self, row: LogRow) -> None:
        """Writes nothing."""


def writer(
    folder: Path | None, enabled: Literal["auto"] | bool, start: int = 0
) -> AbstractContextManager[Curve | NoCurve]:
    """The curve of a run that begins, or resumes, at step `start`.

    "auto" writes one where tensorboard is installed. Raises UserError for True where it is not.
    """
    is_installed = find_spec("tensorboard") is not None
    if enabled is True and not is_installed:
        raise UserError(
            "training.tensorboard: true needs the package tensorboard, which is not installed;"
            " install it or set auto"
        )
    if folder is None or not enabled or not is_installed:
        return nullcontext(NoCurve())
    return closing(Curve(folder, start))
