"""Gives each run a GPU of its own: Snakemake counts GPUs (`--resources gpu=4`) but assigns none.

A GPU is leased by a lock on a file that bears its name, in a folder of this machine. The lock ends
with the processes that hold it, however they end. Only the GPUs that CUDA_VISIBLE_DEVICES leaves
(Slurm sets it too) are leased, and it is set to the leased ones, so this comes before anything
initializes CUDA. Names are UUIDs: numbers mean other GPUs in each container or Slurm job.
"""

import fcntl
import os
import re
import stat
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rope_spectra.runtime.cli import log
from rope_spectra.runtime.errors import UserError

if TYPE_CHECKING:
    import torch

VARIABLE = "CUDA_VISIBLE_DEVICES"
# Not the temporary folder of the job, which may be its own or on a network: the locks are of this
# machine and for all its jobs.
FOLDER = Path(f"/tmp/rope-spectra-{os.getuid()}")
_NO_GPU = ("", "-1", "NoDevFiles")
_POLL_S = 1.0
_held: list[int] = []  # descriptors of the locks of this process


def take(preset: str = "auto") -> "torch.device":
    """The device of this process: a GPU that no other run has, or the CPU where there is none.

    The GPU is held until this process ends. `preset` is `device` of a training preset: auto, or cpu
    for no GPU. A rank takes its own of those that its launcher has leased.
    """
    import torch

    if preset == "cpu" or not torch.backends.cuda.is_built():
        return torch.device("cpu")
    if is_rank():
        share(int(os.environ["LOCAL_RANK"]))
    else:
        lease()
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def is_rank() -> bool:
    """True in a process that torchrun has started, one of several that train a run together."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def lease(count: int = 1, folder: Path = FOLDER) -> list[str]:
    """Holds `count` GPUs until this process ends, waiting while others hold them.

    Returns their names, none where there is no GPU. All or nothing: two processes that each want
    two of three GPUs do not block each other. A process that holds GPUs already keeps those.
    UserError if there are fewer.
    """
    if _held:
        return os.environ[VARIABLE].split(",")
    names = visible()
    if not names:
        return []
    if count > len(names):
        raise UserError(
            f"gpus_per_run: {count} GPUs are asked for, this machine offers {len(names)}; lower it"
        )
    _make_private(folder)
    leased = _lock_free_ones(names, count, folder)
    if not leased:
        wanted = f"{count} of {len(names)} GPUs wanted"
        log.info("waiting: %s, other runs hold the rest; lower --resources gpu=", wanted)
    while not leased:
        time.sleep(_POLL_S)
        leased = _lock_free_ones(names, count, folder)
    _use(leased)
    return leased


def share(rank: int, folder: Path = FOLDER) -> None:
    """Holds the GPU of that number among those that the launcher of this process has leased.

    It stays leased while either of the two processes lives.
    """
    names = visible()
    if names:
        _held.append(_lock(folder, names[rank], fcntl.LOCK_SH))
        _use([names[rank]])


def _use(names: list[str]) -> None:
    os.environ[VARIABLE] = ",".join(names)
    log.info("on GPU %s", os.environ[VARIABLE])


def visible() -> list[str]:
    """UUIDs of the GPUs that this process may use, in CUDA's order; of MIG, those of the parts.

    UserError if CUDA_VISIBLE_DEVICES names GPUs but none of this machine.
    """
    gpus = _gpus()
    chosen = os.environ.get(VARIABLE)
    if chosen is None or not gpus:
        return [name for parts in gpus.values() for name in parts]
    names: list[str] = []
    for entry in chosen.split(","):
        found = _named(entry.strip(), gpus)
        if not found:
            break  # as CUDA reads it: what follows the first unknown name does not count
        names += found
    if not names and chosen.strip() not in _NO_GPU:
        raise UserError(
            f"{VARIABLE}: {chosen} is no GPU of this machine, it has {len(gpus)}; see nvidia-smi -L"
        )
    return list(dict.fromkeys(names))


def _gpus() -> dict[str, list[str]]:
    """UUID of each GPU -> what can be leased of it: itself, or its MIG parts."""
    # Not from torch, which would initialize CUDA before the GPU is chosen.
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    gpus = {}
    for lines in re.split(r"^(?=GPU )", listing, flags=re.MULTILINE):
        # A GPU comes first, then its parts.
        names = re.findall(r"\(UUID: (.+)\)", lines)
        if names:
            gpus[names[0]] = names[1:] or names
    return gpus


def _named(entry: str, gpus: dict[str, list[str]]) -> list[str]:
    """The GPUs of an entry of CUDA_VISIBLE_DEVICES: a number, or the beginning of a UUID."""
    if entry.isdecimal():
        number = int(entry)
        return list(gpus.values())[number] if number < len(gpus) else []
    if entry.startswith("MIG-"):
        return [part for parts in gpus.values() for part in parts if part.startswith(entry)]
    named = [gpu for gpu in gpus if entry.startswith("GPU-") and gpu.startswith(entry)]
    return gpus[named[0]] if named else []


def _make_private(folder: Path) -> None:
    """Makes the folder of the locks, or refuses what someone else has put in its place."""
    folder.mkdir(mode=0o700, exist_ok=True)
    facts = folder.lstat()
    is_folder = stat.S_ISDIR(facts.st_mode)
    others_can_write = facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not is_folder or facts.st_uid != os.getuid() or others_can_write:
        need = "a folder that only you can write to, as the locks of GPUs need"
        raise UserError(f"{folder}: is not {need}; remove it")


def _lock_free_ones(names: list[str], count: int, folder: Path) -> list[str]:
    """Locks `count` GPUs if so many are free, else none."""
    # One process chooses at a time, or two could each hold a part of what both want.
    choosing = _lock(folder, "choosing", fcntl.LOCK_EX)
    locks: dict[str, int] = {}
    for name in names:
        if len(locks) < count:
            with suppress(BlockingIOError):
                locks[name] = _lock(folder, name, fcntl.LOCK_EX | fcntl.LOCK_NB)
    enough = len(locks) == count
    for descriptor in locks.values():
        if enough:
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # so that ranks can hold it too
            _held.append(descriptor)
        else:
            os.close(descriptor)
    os.close(choosing)
    return list(locks) if enough else []


def _lock(folder: Path, name: str, operation: int) -> int:
    """Opens and locks a file; the descriptor holds the lock until all that share it are closed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    descriptor = os.open(folder / name.replace("/", "_"), flags, 0o600)
    try:
        fcntl.flock(descriptor, operation)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _release_all() -> None:
    while _held:
        os.close(_held.pop())


# A forked child that outlives this process must not keep its GPUs. One that starts another program
# loses the descriptors by itself.
os.register_at_fork(after_in_child=_release_all)
