"""Decides when a training saves its state: by the clock, and when it is asked to stop.

A preempted or cancelled job has only seconds between SIGTERM and the end.
"""

import os
import signal
import time
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Ctrl-C reaches a job from the terminal and, a moment later, through Snakemake: that is one
# request, not two.
_SAME_REQUEST_S = 1.0


class Interruption:
    """In its block the first SIGTERM or SIGINT only sets `signal`; a second one ends the process.

    With handle=False both are ignored.

    with Interruption() as interruption:
        for step in ...:
            if interruption.signal: save, leave
    """

    def __init__(self, handle: bool = True) -> None:
        self.signal: int | None = None
        self._handler = self._handle if handle else signal.SIG_IGN
        self._asked_at = 0.0

    def __enter__(self) -> "Interruption":
        self._before = {number: signal.signal(number, self._handler) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (the signature that signal calls)
        now = time.monotonic()
        if self.signal is None:
            self.signal = number
            self._asked_at = now
        elif now - self._asked_at > _SAME_REQUEST_S:
            # The default handler, so that whoever waits sees which signal has ended the process.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


class CheckpointClock:
    """Says when a checkpoint is due: some minutes after the last one, or every so many steps.

    None for either means never.
    """

    def __init__(self, minutes: float | None, steps: int | None) -> None:
        self.minutes = minutes
        self.steps = steps
        self.last = time.monotonic()

    def __call__(self, step: int) -> bool:
        by_time = self.minutes is not None and time.monotonic() - self.last >= 60 * self.minutes
        by_step = self.steps is not None and (step + 1) % self.steps == 0
        is_due = by_time or by_step
        if is_due:
            self.last = time.monotonic()
        return is_due
