"""Gives each run a GPU of its own: Snakemake counts GPUs (`--resources gpu=4`) but assigns none.

A GPU is leased by a lock on one byte of the driver's own nvidia-smi, whose place follows from the
name of the GPU. That file is there for all users and in every container that the driver is bound
into, and no cleaner of temporary files removes it. The lock ends with the processes that hold it,
however they end. Only the GPUs that CUDA_VISIBLE_DEVICES leaves (Slurm sets it too) are leased, and
it is set to the leased ones, so this comes before anything initializes CUDA. Names are UUIDs:
numbers mean other GPUs in each container or Slurm job.
"""

import fcntl
import hashlib
import os
import random
import re
import shutil
import struct
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from rope_spectra.runtime.cli import log
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.rank import is_rank

if TYPE_CHECKING:
    import torch

VARIABLE = "CUDA_VISIBLE_DEVICES"
_NO_GPU = ("", "-1", "NoDevFiles")
_POLL_S = 1.0
# The C library's struct flock: kind, whence, start, length, process.
_FLOCK = "hhqqi4x"
_held: list[int] = []  # descriptors that hold the locks of this process


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


def lease(count: int = 1) -> list[str]:
    """Holds `count` GPUs until this process ends, waiting while others hold them.

    Returns their names, none where there is no GPU. All or nothing: two processes that each want
    two of three GPUs do not block each other. A process that holds GPUs already keeps those.
    UserError if there are fewer, or if some would be left and this system has no such locks.
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
    try:
        _wait_for(names, count)
    except OSError as error:
        if count < len(names):
            raise UserError(
                f"nvidia-smi: its file cannot be locked ({error.strerror}), which is how each run"
                f" gets GPUs of its own; set {VARIABLE} to {count} of them, one run at a time"
            ) from None
        log.info("without a lease, because nvidia-smi cannot be locked: %s", error.strerror)
        _use(names)
    return os.environ[VARIABLE].split(",")


def _wait_for(names: list[str], count: int) -> None:
    """Locks and uses `count` of these GPUs as soon as so many are free."""
    file = _open()
    _held.append(file)
    leased = _lock_free_ones(file, names, count)
    if not leased:
        wanted = f"{count} of {len(names)} GPUs wanted"
        log.info("waiting: %s, other runs hold the rest; lower --resources gpu=", wanted)
    while not leased:
        # Two that have met on one GPU must not meet again and again.
        time.sleep(_POLL_S * random.uniform(0.5, 1.5))
        leased = _lock_free_ones(file, names, count)
    _use(leased)


def share(rank: int) -> None:
    """Holds the GPU of that number among those that the launcher of this process has leased.

    It stays leased while either of the two processes lives.
    """
    names = visible()
    if names:
        file = _open()
        _held.append(file)
        with suppress(OSError):  # the launcher has said that there are no such locks
            _lock(file, fcntl.F_RDLCK, names[rank])
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


def _lock_free_ones(file: int, names: list[str], count: int) -> list[str]:
    """Locks `count` GPUs if so many are free, else none."""
    chosen = [name for name in names if _is_free(file, name)][:count]
    if len(chosen) < count:
        return []
    for name in chosen:
        _lock(file, fcntl.F_RDLCK, name)
    # Another process may have chosen the same a moment ago. Each locks before it looks again, so at
    # least one of them sees the other.
    if all(_is_free(file, name) for name in chosen):
        return chosen
    for name in chosen:
        _lock(file, fcntl.F_UNLCK, name)
    return []


def _open() -> int:
    """Opens the file whose locks are the leases."""
    return os.open(shutil.which("nvidia-smi") or "nvidia-smi", os.O_RDONLY)


def _is_free(file: int, name: str) -> bool:
    """True if nobody but the holder of this descriptor has a lock on the byte of that GPU."""
    found = _control(file, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, name)
    return bool(struct.unpack(_FLOCK, found)[0] == fcntl.F_UNLCK)


def _lock(file: int, kind: int, name: str) -> None:
    """Sets a shared lock (F_RDLCK), the only kind for a file that is read, or ends it (F_UNLCK).

    It belongs to the open file: closing another descriptor of the same file does not end it.
    """
    _control(file, fcntl.F_OFD_SETLK, kind, name)


def _control(file: int, command: int, kind: int, name: str) -> bytes:
    # The byte of a GPU is far behind the end of the file, where nothing is.
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
    return fcntl.fcntl(file, command, struct.pack(_FLOCK, kind, os.SEEK_SET, place, 1, 0))


def _release_all() -> None:
    while _held:
        os.close(_held.pop())


# A forked child that outlives this process must not keep its GPUs. One that starts another program
# loses the descriptors by itself.
os.register_at_fork(after_in_child=_release_all)
