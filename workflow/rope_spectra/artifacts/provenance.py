"""Which run a file belongs to, and what made it."""

import hashlib
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rope_spectra import __version__

_PACKAGES = ("torch", "numpy", "safetensors", "tokenizers", "datasets", "transformers", "snakemake")


def pin_arithmetic() -> None:
    """Have MKL give the same bits whatever the alignment of memory and the load of the machine; call before torch is imported.

    Without it 2 of about 50 repeated trainings of the demo ended with other bits (2 threads); with it none of 6 did so far.
    """
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
    os.environ.setdefault("MKL_DYNAMIC", "FALSE")


def run_identity(settings: dict[str, Any], data: dict[str, Any]) -> str:
    """SHA-256 over the settings that matter to a run and the content of its data (records.data_facts); names do not matter."""
    spectrum = {key: value for key, value in settings["spectrum"].items() if key != "name"}
    matter = {key: settings[key] for key in ("recipe", "seed", "model", "training")}
    sentence = {"sentence": data["sentence"]} if "sentence" in data else {}
    text = json.dumps(
        {**matter, "spectrum": spectrum, "data": data["sha256"], **sentence}, sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()


def first_difference(found: Any, expected: Any, path: str = "") -> str | None:
    """Where two nested settings differ, as 'training.learning_rate (0.001 instead of 0.003)'; None if they are equal."""
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = sorted(found.keys() | expected.keys())
        differences = (
            first_difference(found.get(key), expected.get(key), f"{path}.{key}" if path else key)
            for key in keys
        )
        return next(filter(None, differences), None)
    return None if found == expected else f"{path} ({found} instead of {expected})"


def versions() -> dict[str, str]:
    """Versions of Python, this package and the packages that can change a number."""
    result = {"python": platform.python_version(), "rope_spectra": __version__}
    for package in _PACKAGES:
        try:
            result[package] = version(package)
        except PackageNotFoundError:
            continue
    return result


def device_name(device: Any) -> str:
    """A torch device for people: 'cpu', 'cuda NVIDIA H200'."""
    import torch

    return str(device) if device.type == "cpu" else f"{device} {torch.cuda.get_device_name(device)}"


def device_facts(device: Any) -> dict[str, Any]:
    """Name and software of a torch device, as far as bit-equality depends on them."""
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
        "peak_memory_bytes": torch.cuda.max_memory_allocated(device),
    }
