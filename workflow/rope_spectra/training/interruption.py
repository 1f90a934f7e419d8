"""Decides when a training saves its state: by the clock, and when it is asked to stop.

A preempted or cancelled job has only seconds between SIGTERM and the end.
"""

import os
import signal
import time
from types import FrameType

# Ctrl-C reaches a job from the terminal and, a moment later, through Snakemake: that is one
# request, not two.
_SAME_REQUEST_S = 1.0


def signals() -> list[signal.Signals]:
    """The signals that ask this process to stop.

    A terminal that closes sends SIGHUP, Ctrl-\\ SIGQUIT. Who starts a process with these ignored
    (nohup) wants it to go on.
    """
    optional = (signal.SIGHUP, signal.SIGQUIT)
    heard = [number for number in optional if signal.getsignal(number) is not signal.SIG_IGN]
    return [signal.SIGTERM, signal.SIGINT, *heard]


class Interruption:
    """In its block the first signal to stop only sets `signal`; a second one ends the process.

    With handle=False they change nothing, unless the block fails: they then end the process.

    with Interruption() as interruption:
        for step in ...:
            if interruption.signal: save, leave
    """

    def __init__(self, handle: bool = True) -> None:
        self.signal: int | None = None
        self._handler = self._handle if handle else self._postpone
        self._asked_at = 0.0

    def __enter__(self) -> "Interruption":
        self._before = {number: signal.signal(number, self._handler) for number in signals()}
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if kind and self.signal and self._handler == self._postpone:
            os.kill(os.getpid(), self.signal)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (the signature that signal calls)
        now = time.monotonic()
        if self.signal is None:
            self.signal = number
            self._asked_at = now
        # Only a person asks twice; SIGHUP comes from the kernel and again from the shell.
        elif number != signal.SIGHUP and now - self._asked_at > _SAME_REQUEST_S:
            # The default handler, so that whoever waits sees which signal has ended the process.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _postpone(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.signal = number


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
