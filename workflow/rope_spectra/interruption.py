"""Stop in order when asked to: a preempted or cancelled job has seconds to save what it has."""

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

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (the signature that signal calls)
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._asked_at = number, now
        elif now - self._asked_at > _SAME_REQUEST_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
