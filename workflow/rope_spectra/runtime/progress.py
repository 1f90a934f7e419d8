"""Progress lines for people: how much is done, how fast it goes, how long it will take."""

import logging
import math
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from rope_spectra.runtime import heartbeat

log = logging.getLogger("rope_spectra")

_SIGN_EVERY_S = 2.0
_RECENT_SIGNS = 16
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
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def describe(facts: Mapping[str, Any]) -> str:
    """'step 300/762 (39 %), 15.8 steps/s, 29 s left, loss 3.21' from label, done, total, unit, rate, left_s and note."""
    parts = [
        f"{facts['label']} {short_number(facts['done'])}",
        f"{short_number(facts['rate'])} {facts['unit']}/s",
    ]
    if facts["total"]:
        parts[0] += (
            f"/{short_number(facts['total'])} ({100 * facts['done'] / facts['total']:.0f} %)"
        )
    if facts["left_s"] is not None:
        parts.append(f"{short_duration(facts['left_s'])} left")
    return ", ".join([*parts, facts["note"]] if facts["note"] else parts)


class Progress:
    """Logs a line such as 'tokens 130M/473M (27 %), 440k tokens/s, 13 min left' every few seconds, and tells it to `heartbeat`.

    `total` may be None where the end is not known; `start` is what an earlier attempt has already done.
    """

    def __init__(
        self, label: str, total: int | None, unit: str, start: int = 0, every_s: float = 5.0
    ) -> None:
        self.label, self.total, self.unit, self.start, self.every_s = (
            label,
            total,
            unit,
            start,
            every_s,
        )
        self._began = self._shown = time.monotonic()
        self._signed = -math.inf
        # Of the latest signs of life: start-up and compilation should not slow the rate for ever.
        self._recent = deque([(self._began, start)], maxlen=_RECENT_SIGNS)

    def update(self, done: int, note: str = "") -> None:
        """Say where we are if it is time to; `note` is appended (a loss, say)."""
        now = time.monotonic()
        if now - self._signed < _SIGN_EVERY_S:
            return
        since, done_then = self._recent[0]
        facts = self._facts(done, (done - done_then) / (now - since) if now > since else 0.0, note)
        heartbeat.beat(**facts)
        self._signed = now
        self._recent.append((now, done))
        if now - self._shown >= self.every_s:
            self._shown = now
            log.info("%s", describe(facts))

    def finish(self, done: int, note: str = "") -> None:
        """Say where we ended, and the rate of the whole."""
        elapsed = time.monotonic() - self._began
        facts = self._facts(done, (done - self.start) / elapsed if elapsed > 0 else 0.0, note)
        heartbeat.beat(**facts)
        log.info("%s", describe(facts))

    def _facts(self, done: int, rate: float, note: str) -> dict[str, Any]:
        left = (self.total - done) / rate if self.total and rate > 0 and done < self.total else None
        numbers = {"done": done, "total": self.total, "rate": rate, "left_s": left}
        return {"label": self.label, "unit": self.unit, "note": note, **numbers}
