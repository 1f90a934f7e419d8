"""When a training saves its state: by the clock, and when asked to stop, for a preempted or cancelled job has only seconds."""

import os
import signal
import time
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Ctrl-C reaches a job from the terminal and, a moment later, through Snakemake: that is one request, not two.
_SAME_REQUEST_S = 1.0


class Interruption:
    """Within its block the first SIGTERM or SIGINT only sets `signal`; a second one ends the process at once.

    With heed=False both are ignored.

    with Interruption() as interruption:
        for step in ...:
            if interruption.signal: save, leave
    """

    def __init__(self, heed: bool = True) -> None:
        self.signal: int | None = None
        self._handler = self._handle if heed else signal.SIG_IGN
        self._asked_at = 0.0

    def __enter__(self) -> "Interruption":
        self._before = {number: signal.signal(number, self._handler) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (the signature that signal calls)
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._asked_at = number, now
        elif now - self._asked_at > _SAME_REQUEST_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


class CheckpointClock:
    """Says when a checkpoint is due: after so many minutes since the last one or at every so many steps; None is never."""

    def __init__(self, minutes: float | None, steps: int | None) -> None:
        self.minutes, self.steps, self.last = minutes, steps, time.monotonic()

    def __call__(self, step: int) -> bool:
        by_time = self.minutes is not None and time.monotonic() - self.last >= 60 * self.minutes
        by_step = self.steps is not None and (step + 1) % self.steps == 0
        if by_time or by_step:
            self.last = time.monotonic()
        return by_time or by_step
