"""Progress lines for people: how much is done, how fast it goes, how long it will take."""

import logging
import time

log = logging.getLogger("rope_spectra")

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


class Progress:
    """Logs a line such as 'tokens 130M/473M (27 %), 440k tokens/s, 13 min left' every few seconds.

    `total` may be None where the end is not known; `start` is what an earlier attempt has already done.
    """

    def __init__(self, label: str, total: int | None, unit: str, start: int = 0, every_s: float = 5.0) -> None:
        self.label, self.total, self.unit, self.start, self.every_s = label, total, unit, start, every_s
        self._began = self._shown = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """Say where we are if it is time to; `note` is appended (a loss, say)."""
        now = time.monotonic()
        if now - self._shown >= self.every_s:
            self._shown = now
            log.info("%s", self.line(done, now - self._began, note))

    def finish(self, done: int, note: str = "") -> None:
        """Say where we ended."""
        log.info("%s", self.line(done, time.monotonic() - self._began, note))

    def line(self, done: int, elapsed_s: float, note: str = "") -> str:
        """The text of a progress line `elapsed_s` seconds after the start."""
        rate = (done - self.start) / elapsed_s if elapsed_s > 0 else 0.0
        parts = [f"{self.label} {short_number(done)}", f"{short_number(rate)} {self.unit}/s"]
        if self.total:
            parts[0] += f"/{short_number(self.total)} ({100 * done / self.total:.0f} %)"
            if done < self.total and rate > 0:
                parts.append(f"{short_duration((self.total - done) / rate)} left")
        return ", ".join([*parts, note] if note else parts)
