"""The use of this machine's GPUs at the moment, and whether that is as it should be."""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from rope_spectra.monitor.state import Part

_QUERY = [
    "nvidia-smi",
    "--query-gpu=index,name,utilization.gpu,memory.used,memory.total",
    "--format=csv,noheader,nounits",
]
_IDLE_BELOW_PERCENT = 5
_START_S = 90.0  # before its first step a job loads its data and may compile


@dataclass(frozen=True)
class Gpu:
    """One GPU as nvidia-smi sees it."""

    index: int
    name: str
    use_percent: int
    memory_used_mib: int
    memory_total_mib: int


def query() -> list[Gpu]:
    """The GPUs of this machine; none where nvidia-smi is missing or does not answer."""
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=5, check=True)
        return [_parse(line) for line in done.stdout.strip().splitlines()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def meaning(gpus: list[Gpu], parts: Iterable[Part], host: str) -> str:
    """The use of the GPUs in words: is it as it should be, given what runs on this machine?"""
    running = [(part, part.heartbeat) for part in parts if part.state == "running"]
    here = [(part, beat) for part, beat in running if beat and beat.host == host]
    # A run that does not say it is on the CPU: before it has chosen it says nothing.
    on_gpu = [(part, beat) for part, beat in here if part.kind == "run" and beat.device != "cpu"]
    if not gpus:
        is_training = any(part.rule == "train" for part, _ in here)
        no_gpu = "no GPU here: nvidia-smi does not answer"
        return f"{no_gpu}; training on the CPU" if is_training else no_gpu
    if any(gpu.use_percent >= _IDLE_BELOW_PERCENT for gpu in gpus):
        return "GPU at work" if on_gpu else "GPU at work, but not for a job of this project"
    if on_gpu:
        part, beat = on_gpu[0]
        age = beat.updated - beat.started + (part.age_s or 0.0)
        if beat.position is None and age < _START_S:
            return "GPU idle is normal now: the job is starting"
        remedy = f"if it stays so, look at {part.log}"
        return f"GPU idle although {part.name} is in {part.rule}: {remedy}"
    if any(part.kind == "data" for part, _ in here):
        return "GPU idle is normal now: tokens are being written"
    if here:
        return "GPU idle is normal now: the job runs on the CPU"
    return "GPU idle: no job is running here"


def _parse(line: str) -> Gpu:
    """One line of nvidia-smi; ValueError if the GPU does not tell its use."""
    index, name, use, used, total = (field.strip() for field in line.split(","))
    return Gpu(int(index), name, int(use), int(used), int(total))
