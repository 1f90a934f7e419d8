"""Gives each run a GPU of its own: Snakemake counts GPUs (`--resources gpu=4`) but assigns none.

A GPU is leased by a lock on bytes of the driver's own nvidia-smi, whose place follows from the name
of the GPU; a share of a GPU, for small runs, by a lock on a part of these bytes. That file is there
for all users and in every container that the driver is bound into, and no cleaner of temporary
files removes it. The lock ends with the processes that hold it, however they end. Only the GPUs
that CUDA_VISIBLE_DEVICES leaves (Slurm sets it too) are leased, and it is set to the leased ones,
so this comes before anything initializes CUDA. Names are UUIDs: numbers mean other GPUs in each
container or Slurm job.
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
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rope_spectra.runtime.cli import log
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.rank import is_rank

if TYPE_CHECKING:
    import torch

VARIABLE = "CUDA_VISIBLE_DEVICES"
_NO_GPU = ("", "-1", "NoDevFiles")
_POLL_S = 1.0
# Bytes that stand for one GPU: each of 1 to 8 equal shares is a whole number of them.
_BYTES = 840
MOST_SHARES = 8
# What runs that share a GPU may use of its memory together; the rest is for CUDA's own state of
# each, which torch does not count.
_MEMORY = 0.9
# The C library's struct flock: kind, whence, start, length, process.
_FLOCK = "hhqqi4x"
_held: list[int] = []  # descriptors that hold the locks of this process


def take(preset: str = "auto", runs_per_gpu: int = 1) -> "torch.device":
    """The device of this process: a GPU that no other run has, or the CPU where there is none.

    The GPU is held until this process ends. `preset` is `device` of a training preset: auto, or cpu
    for no GPU. A rank takes its own of those that its launcher has leased. With `runs_per_gpu` it
    is a share of a GPU and of its memory.
    """
    if not 1 <= runs_per_gpu <= MOST_SHARES:
        raise UserError(f"--runs-per-gpu: {runs_per_gpu} cannot share one; give 1 to {MOST_SHARES}")
    import torch

    if preset == "cpu" or not torch.backends.cuda.is_built():
        return torch.device("cpu")
    if is_rank():
        share(int(os.environ["LOCAL_RANK"]))
    else:
        lease(shares=runs_per_gpu)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if runs_per_gpu > 1:
        torch.cuda.set_per_process_memory_fraction(_MEMORY / runs_per_gpu)
    return torch.device("cuda")


def lease(count: int = 1, shares: int = 1) -> list[str]:
    """Holds `count` GPUs until this process ends, waiting while others hold them.

    Returns their names, none where there is no GPU. All or nothing: two processes that each want
    two of three GPUs do not block each other. A process that holds GPUs already keeps those. With
    `shares`, each GPU is held by one part in so many only, on the GPU that has most of them left.
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
        _wait_for(names, count, shares)
    except OSError as error:
        if count < len(names):
            raise UserError(
                f"nvidia-smi: its file cannot be locked ({error.strerror}), which is how each run"
                f" gets GPUs of its own; set {VARIABLE} to {count} of them, one run at a time"
            ) from None
        log.info("without a lease, because nvidia-smi cannot be locked: %s", error.strerror)
        _use(names)
    return os.environ[VARIABLE].split(",")


def _wait_for(names: list[str], count: int, shares: int) -> None:
    """Locks and uses `count` of these GPUs as soon as so many, or such shares, are free."""
    file = _open()
    _held.append(file)
    leased = _lock_free_ones(file, names, count, shares)
    if not leased:
        part = f"1/{shares} of " if shares > 1 else ""
        wanted = f"{part}{count} of {len(names)} GPUs wanted"
        log.warning("waiting: %s, other runs hold the rest; lower --resources gpu=", wanted)
    while not leased:
        # Two that have met on one GPU must not meet again and again.
        time.sleep(_POLL_S * random.uniform(0.5, 1.5))
        leased = _lock_free_ones(file, names, count, shares)
    if shares > 1:
        log.info("with 1/%d of its time and memory", shares)
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
            _lock(file, fcntl.F_RDLCK, _Part.of(names[rank]))
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


def _lock_free_ones(file: int, names: list[str], count: int, shares: int = 1) -> list[str]:
    """Locks `count` GPUs, or shares of so many, if they are free, else none."""
    chosen: dict[str, _Part] = {}
    # The first share of every GPU before the second of any.
    for number in range(shares):
        for name in names:
            part = _Part.of(name, number, shares)
            if len(chosen) < count and name not in chosen and _is_free(file, part):
                chosen[name] = part
    if len(chosen) < count:
        return []
    for part in chosen.values():
        _lock(file, fcntl.F_RDLCK, part)
    # Another process may have chosen the same a moment ago. Each locks before it looks again, so at
    # least one of them sees the other.
    if all(_is_free(file, part) for part in chosen.values()):
        return list(chosen)
    for part in chosen.values():
        _lock(file, fcntl.F_UNLCK, part)
    return []


def _open() -> int:
    """Opens the file whose locks are the leases."""
    return os.open(shutil.which("nvidia-smi") or "nvidia-smi", os.O_RDONLY)


@dataclass(frozen=True)
class _Part:
    """The bytes of the file that stand for a GPU or a share of it."""

    start: int
    length: int

    @classmethod
    def of(cls, name: str, number: int = 0, shares: int = 1) -> "_Part":
        """The bytes of share `number` of `shares` of the GPU of that name."""
        # Far behind the end of the file, where nothing is.
        place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
        length = _BYTES // shares
        return cls(place + number * length, length)


def _is_free(file: int, part: _Part) -> bool:
    """True if nobody but the holder of this descriptor has a lock on any of these bytes."""
    found = _control(file, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, part)
    return bool(struct.unpack(_FLOCK, found)[0] == fcntl.F_UNLCK)


def _lock(file: int, kind: int, part: _Part) -> None:
    """Sets a shared lock (F_RDLCK), the only kind for a file that is read, or ends it (F_UNLCK).

    It belongs to the open file: closing another descriptor of the same file does not end it.
    """
    _control(file, fcntl.F_OFD_SETLK, kind, part)


def _control(file: int, command: int, kind: int, part: _Part) -> bytes:
    asked = struct.pack(_FLOCK, kind, os.SEEK_SET, part.start, part.length, 0)
    return fcntl.fcntl(file, command, asked)


def _release_all() -> None:
    while _held:
        os.close(_held.pop())


# A forked child that outlives this process must not keep its GPUs. One that starts another program
# loses the descriptors by itself.
os.register_at_fork(after_in_child=_release_all)
