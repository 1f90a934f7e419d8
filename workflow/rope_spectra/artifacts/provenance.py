"""The software and device that made a result, and differences between settings."""

import os
import platform
import shutil
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rope_spectra import __version__

if TYPE_CHECKING:
    import torch

# Packages that can change a number.
_PACKAGES = ("torch", "numpy", "safetensors", "tokenizers", "datasets", "transformers", "snakemake")


def first_difference(found: Any, expected: Any, path: str = "") -> str | None:
    """The first place at which two nested settings differ; None if they are equal.

    For people: `training.learning_rate (0.001 instead of 0.003)`.
    """
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted(found.keys() | expected.keys()):
            inner = f"{path}.{key}" if path else key
            difference = first_difference(found.get(key), expected.get(key), inner)
            if difference is not None:
                return difference
        return None
    if found == expected:
        return None
    return f"{path} ({found} instead of {expected})"


def now() -> str:
    """The time in UTC, such as 2026-11-26T07:50:00+00:00; later times sort after earlier ones."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """The versions of Python, of this package and of the packages that can change a number."""
    result = {"python": platform.python_version(), "rope_spectra": __version__}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            result[package] = version(package)
    return result


def commit() -> str | None:
    """The git commit of the code in use, with -dirty if it was changed since; None without git."""
    if shutil.which("git") is None:
        return None
    here = Path(__file__)
    git = ["git", "-C", str(here.parent)]
    # An installed package can lie inside the repository of something else.
    is_ours = subprocess.run([*git, "ls-files", "--error-unmatch", here.name], capture_output=True)
    if is_ours.returncode:
        return None
    describe = [*git, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    return subprocess.run(describe, capture_output=True, text=True).stdout.strip() or None


def device_name(device: "torch.device") -> str:
    """The name of a torch device for people: 'cpu', 'cuda NVIDIA H200'."""
    import torch

    if device.type == "cpu":
        return str(device)
    return f"{device} {torch.cuda.get_device_name(device)}"


def device_facts(device: "torch.device") -> dict[str, str | int | None]:
    """The name and software of a torch device, as far as the bits of a result depend on them."""
    import torch

    if device.type == "cpu":
        return {
            "type": "cpu",
            "name": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "mkl_cbwr": os.environ.get("MKL_CBWR"),
        }
    return {
        "type": device.type,
        "name": torch.cuda.get_device_name(device),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
