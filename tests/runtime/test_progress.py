"""Progress lines: one speed each, in the unit of the job, and one line at the end."""

import logging
import time

import pytest

from rope_spectra.runtime.heartbeat import Position
from rope_spectra.runtime.progress import Progress, describe


def test_a_step_of_training_is_told_in_tokens() -> None:
    position = Position(label="step", done=3, total=9, unit="tokens", each=1024, rate=8.0)
    assert describe(position) == "step 3/9 (33 %), 8.19k tokens/s"


def test_the_last_line_is_told_once_with_the_speed_of_all_work(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    progress = Progress("step", 40, "tokens", each=100)
    with caplog.at_level(logging.INFO, "rope_spectra"):
        for step in range(1, 41):
            clock += 0.5 if step <= 20 else 1.5
            progress.update(step, f"loss {step}")
        progress.finish(40, "loss 40")
    ends = [line for line in caplog.messages if line.startswith("step 40/40")]
    assert ends == ["step 40/40 (100 %), 100 tokens/s, loss 40"]
