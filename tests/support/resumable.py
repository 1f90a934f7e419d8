"""A training of 400 steps that can be stopped anywhere."""

import subprocess
import sys
import time
from pathlib import Path

EVERY_STEP = {"log_every": 7, "checkpoint_minutes": None, "checkpoint_steps": 5}


def arguments(data: Path, run: Path) -> list[str]:
    options = {
        "--settings": "config.json",
        "--options": "options.json",
        "--tokens": "tokens.npy",
        "--manifest": "tokens.json",
    }
    return [
        *(str(part) for name, file in options.items() for part in (name, data / file)),
        "--output",
        str(run),
        "--threads",
        "1",
    ]


def start(data: Path, run: Path, *more: str) -> subprocess.Popen[str]:
    """A training in the background that has reached its first checkpoint."""
    command = [sys.executable, "-m", "rope_spectra.train", *arguments(data, run), *more]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (run / "checkpoint.pt").exists() and process.poll() is None:
        time.sleep(0.01)
    assert process.poll() is None, process.stderr.read()
    return process
