"""deterministic: true gives the same bits in every process, whatever its memory and environment."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.resumable import arguments

REPEATS = 3


@pytest.mark.parametrize("threads", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_trainings_of_one_seed_are_equal_to_the_bit(
    threads: str, data: Path, tmp_path: Path
) -> None:
    """Each process has an environment of another size, which moves its memory.

    None has the settings that the tests make.
    """
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("MKL_", "OMP_"))
    }
    for repeat in range(REPEATS):
        command = [
            sys.executable,
            "-m",
            "rope_spectra.train",
            *arguments(data, tmp_path / str(repeat)),
            "--threads",
            threads,
        ]
        subprocess.run(
            command, env=clean | {"PADDING": "x" * 1237 * repeat}, check=True, capture_output=True
        )
    weights = [
        (tmp_path / str(repeat) / "model.safetensors").read_bytes() for repeat in range(REPEATS)
    ]
    assert weights == [weights[0]] * REPEATS
    device = json.loads((tmp_path / "0/run.json").read_text())["device"]
    assert (device["mkl_cbwr"], device["threads"]) == ("AUTO,STRICT", int(threads))
