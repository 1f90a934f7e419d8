"""How busy the GPUs of this machine are at the moment, and whether that is as it should be."""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from rope_spectra.monitor.facts import Part

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
        rows = [
            [field.strip() for field in line.split(",")]
            for line in done.stdout.splitlines()
            if line.strip()
        ]
        return [
            Gpu(int(index), name, int(use), int(used), int(total))
            for index, name, use, used, total in rows
        ]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def meaning(gpus: list[Gpu], parts: Iterable[Part], host: str) -> str:
    """What the use of the GPUs means, given what runs on this machine."""
    running = [
        part
        for part in parts
        if part.state == "running" and part.sign and part.sign["host"] == host
    ]
    on_gpu = [
        part
        for part in running
        if part.kind == "run" and part.sign and part.sign.get("device") != "cpu"
    ]
    if not gpus:
        return "no GPU here: nvidia-smi does not answer" + (
            "; training on the CPU" if _trains(running) else ""
        )
    if any(gpu.use_percent >= _IDLE_BELOW_PERCENT for gpu in gpus):
        return "GPU at work" if on_gpu else "GPU at work, but not for a job of this project"
    if any(part.kind == "data" for part in running) and not on_gpu:
        return "GPU idle is normal now: tokens are being written"
    if not on_gpu:
        return (
            "GPU idle is normal now: the job runs on the CPU"
            if running
            else "GPU idle: no job is running here"
        )
    part = on_gpu[0]
    if _is_starting(part):
        return "GPU idle is normal now: the job is starting"
    return f"GPU idle although {part.name} is in {part.rule}: if it stays so, look at {part.log}"


def _trains(running: list[Part]) -> bool:
    return any(part.rule == "train" for part in running)


def _is_starting(part: Part) -> bool:
    sign = part.sign or {}
    return "done" not in sign and sign["updated"] - sign["started"] + (part.age_s or 0.0) < _START_S
