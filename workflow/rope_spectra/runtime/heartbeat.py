"""Signs of life: a small file beside each job's log that says what the job is doing, for `python -m rope_spectra.status`.

results/logs/train/demo/geo_500k/seed42.log has seed42.progress.json beside it: what is done of how much and how fast, by which
process, and how it ended. It is replaced as a whole, and a sign that cannot be written never stops the work.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Sign = dict[str, Any]

_SIGNAL_OFFSET = 128  # the exit status of a process that a signal has ended is this plus the signal

_file: Path | None = None
_sign: Sign = {}


def path(log: Path) -> Path:
    """Where the job that logs to `log` leaves its signs of life."""
    return log.with_suffix(".progress.json")


def begin(log: Path) -> None:
    """From now on this process gives signs of life beside `log`; of several ranks only the first does."""
    global _file, _sign
    if os.environ.get("RANK", "0") != "0":
        return
    _file = path(log)
    _sign = {
        "state": "running",
        "error": None,
        "step": Path(sys.argv[0]).stem,
        "started": time.time(),
        "device": None,
    }
    _sign |= {"pid": os.getpid(), "host": socket.gethostname()}
    beat()


def set_device(name: str) -> None:
    """Say which device this process computes on, such as 'cuda:0 NVIDIA H200'."""
    _sign["device"] = name


def beat(**news: Any) -> None:
    """Give a sign of life, with what is new: label, done, total, unit, rate, left_s, note."""
    global _sign
    if _file is None:
        return
    _sign |= {
        "updated": time.time(),
        "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        **news,
    }
    temporary = _file.with_name(f"{_file.name}.tmp.{os.getpid()}")
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps(_sign))
        temporary.replace(_file)


def end(state: str, error: str | None = None) -> None:
    """The last sign: 'done', 'failed' or 'stopped', and why. What is said after it is not heard."""
    global _file
    beat(state=state, error=error)
    _file = None


@contextlib.contextmanager
def until_the_end() -> Iterator[None]:
    """Whatever ends the block ends the signs of life that began in it."""
    try:
        yield
    except BaseException as error:
        end(*_outcome(error))
        raise
    end("done")


def _outcome(error: BaseException) -> tuple[str, str | None]:
    """The state and the reason that an exception leaves behind."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped", "by Ctrl-C"
    if not isinstance(error, SystemExit):
        return "failed", f"{type(error).__name__}: {error}".partition("\n")[0]
    if isinstance(error.code, int) and error.code - _SIGNAL_OFFSET in signal.valid_signals():
        return "stopped", f"by {signal.Signals(error.code - _SIGNAL_OFFSET).name}"
    return ("failed", f"exit status {error.code}") if error.code else ("done", None)


def read(log: Path) -> Sign | None:
    """The last sign of the job that logs to `log`; None if it has never given one."""
    try:
        sign = json.loads(path(log).read_bytes())
    except (OSError, ValueError):
        return None
    return (
        sign
        if isinstance(sign, dict) and {"state", "pid", "host", "updated"} <= sign.keys()
        else None
    )
