"""Several Snakemakes in one folder: one plans at a time, and a killed one stops nobody.

Snakemake looks for the locks of others and then writes its own: two that start at the same moment
both see none. When it ends it removes the folder of the locks, in which another may be about to
write. So whoever plans or ends holds a lock of the kernel meanwhile.

Snakemake's own locks are files, which outlive it if it is killed; it then refuses to start until
`--unlock`. So each Snakemake of this workflow also holds a second lock of the kernel for as long as
it lives: if nobody else holds one, the files are stale, and are removed.

Both locks end with their process. Where the file system has no such locks, nobody waits, and
`snakemake --unlock` remains.
"""

import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path

_held: list[int] = []  # open for as long as this process lives
_turn: list[int] = []  # open, and locked from time to time


def begin(state: Path) -> bool:
    """Waits for its turn to plan, then removes the stale lock files in Snakemake's folder `state`.

    Returns True if there were any. `planned` gives the turn to the next.
    """
    state.mkdir(exist_ok=True)
    _turn.append(os.open(state / "turn.lock", os.O_RDWR | os.O_CREAT, 0o666))
    take_turn()
    return _clear(state)


def take_turn() -> None:
    """Waits until no other Snakemake of this folder plans or ends; the next one waits for this."""
    with suppress(OSError):
        try:
            fcntl.flock(_turn[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another Snakemake is planning in this folder; waiting", file=sys.stderr)
            fcntl.flock(_turn[0], fcntl.LOCK_EX)


def planned() -> None:
    """Lets the next one plan: Snakemake has written its own locks."""
    with suppress(OSError):
        fcntl.flock(_turn[0], fcntl.LOCK_UN)


def _clear(state: Path) -> bool:
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


def is_in_use(state: Path) -> bool:
    """True while a Snakemake of this folder is alive, as far as the file system has locks."""
    if not state.is_dir():
        return False
    descriptor = os.open(state, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
