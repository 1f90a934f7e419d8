"""Progress lines for people: how much is done, how fast it goes, how long it will take."""

import logging
import math
import time
from collections import deque

from rope_spectra.runtime import heartbeat
from rope_spectra.runtime.heartbeat import Position

log = logging.getLogger("rope_spectra")

_HEARTBEAT_EVERY_S = 2.0
_LINE_EVERY_S = 5.0
_RECENT_BEATS = 16
_UNITS = ((1e9, "B"), (1e6, "M"), (1e3, "k"))


def short_number(value: float) -> str:
    """130_000_000 -> '130M', 1_234 -> '1.23k', 7 -> '7'."""
    for size, suffix in _UNITS:
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def short_duration(seconds: float) -> str:
    """45 -> '45 s', 780 -> '13 min', 9000 -> '2.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def describe(position: Position) -> str:
    """'step 300/762 (39 %), 1.03M tokens/s, 29 s left, loss 3.21'."""
    done = f"{position.label} {short_number(position.done)}"
    if position.total:
        percent = 100 * position.done / position.total
        done += f"/{short_number(position.total)} ({percent:.0f} %)"
    parts = [done, speed(position)]
    if position.left_s is not None:
        parts.append(f"{short_duration(position.left_s)} left")
    if position.note:
        parts.append(position.note)
    return ", ".join(parts)


def speed(position: Position) -> str:
    """'1.03M tokens/s'."""
    return f"{short_number(position.rate * position.each)} {position.unit}/s"


class Progress:
    """Logs how far a job has got every few seconds, and writes it into its heartbeat.

    A line reads 'tokens 130M/473M (27 %), 440k tokens/s, 13 min left'. `total` may be None where
    the end is not known; `start` is what an earlier attempt has already done. The speed is told in
    `unit`: one of `done` has `each` of them, as a step has its tokens.
    """

    def __init__(
        self,
        label: str,
        total: int | None,
        unit: str,
        start: int = 0,
        each: int = 1,
    ) -> None:
        self.start = start
        self._position = Position(label=label, done=start, total=total, unit=unit, each=each)
        self._began = time.monotonic()
        self._last_line = self._began
        self._last_beat = -math.inf
        # (time, done) of the latest heartbeats. The rate is taken over these, for the time of
        # start-up and compilation says nothing about how long the rest will take.
        self._recent = deque([(self._began, start)], maxlen=_RECENT_BEATS)

    def update(self, done: int, note: str = "") -> None:
        """Tells how far the job is if it is time to; `note` is appended (a loss, say)."""
        now = time.monotonic()
        if now - self._last_beat < _HEARTBEAT_EVERY_S:
            return
        then, done_then = self._recent[0]
        rate = (done - done_then) / (now - then) if now > then else 0.0
        position = self._beat(done, rate, note)
        self._last_beat = now
        self._recent.append((now, done))
        # The last line is that of `finish`, with a speed of its own.
        if now - self._last_line >= _LINE_EVERY_S and done != position.total:
            self._last_line = now
            log.info("%s", describe(position))

    def finish(self, done: int, note: str = "") -> None:
        """Tells how far the job came, with the rate of all its work."""
        elapsed = time.monotonic() - self._began
        rate = (done - self.start) / elapsed if elapsed > 0 else 0.0
        log.info("%s", describe(self._beat(done, rate, note)))

    def _beat(self, done: int, rate: float, note: str) -> Position:
        total = self._position.total
        left_s = None
        if total is not None and rate > 0 and done < total:
            left_s = (total - done) / rate
        changes = {"done": done, "rate": rate, "left_s": left_s, "note": note}
        position = self._position.model_copy(update=changes)
        heartbeat.beat(position)
        return position
