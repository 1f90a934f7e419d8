"""Removes the lock that a killed Snakemake has left, so that the same command simply continues.

Snakemake locks its outputs with files that outlive it if it is killed, and then refuses to start
until `--unlock`. Each Snakemake of this workflow therefore also holds a lock of the kernel, which
ends with its process: if nobody else holds one, the files are stale. Where the file system has no
such locks, `snakemake --unlock` remains.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

_held: list[int] = []  # open for as long as this process lives


def clear(state: Path) -> bool:
    """Removes the lock files in Snakemake's folder `state`, unless another Snakemake is alive.

    Returns True if there were any.
    """
    state.mkdir(exist_ok=True)
    descriptor = os.open(state, os.O_RDONLY)
    _held.append(descriptor)
    stale = []
    with suppress(OSError):
        # Only for the moment in which it looks: two Snakemakes may run side by side.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        stale = list((state / "locks").glob("*.lock"))
    for file in stale:
        file.unlink(missing_ok=True)
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return bool(stale)
