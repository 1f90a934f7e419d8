"""Files that are whole or absent: atomic publishing, JSON, content hashes, locked folders."""

import errno
import fcntl
import glob
import hashlib
import json
import logging
import os
import platform
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.lazy import Lazy

if TYPE_CHECKING:
    import psutil
else:
    psutil = Lazy("psutil")  # only for leftovers, and slower to import than all else here

log = logging.getLogger("rope_spectra")

# A disk with less free space than one block counts as full.
_BLOCK = 4096
# Process ids mean something on one machine only, and results/ may lie on a disk that many share.
_HOST = platform.node().replace(".", "-")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; publish it under that name only if the block succeeds.

    The data are on disk before the name is, so neither a crash nor a full disk leaves half a file.
    """
    with atomic_all(path) as (temporary,):
        yield temporary


@contextmanager
def atomic_all(*paths: Path) -> Iterator[list[Path]]:
    """Yield a temporary path for each of `paths`; publish them in order if the block succeeds.

    Nothing is published before everything is on disk, so a full disk leaves the old files alone.
    Afterwards the names are on disk too. The umask decides who may read the files.
    """
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because a rename is atomic only within one file system.
    temporaries = [temporary_of(path) for path in paths]
    try:
        modes = [_mode_of_a_new_file(temporary) for temporary in temporaries]
        yield temporaries
        for temporary, mode in zip(temporaries, modes, strict=True):
            with temporary.open("rb") as file:
                # Not without need: a link may be to a file that another user owns.
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) != mode:
                    os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
        for temporary, path in zip(temporaries, paths, strict=True):
            temporary.replace(path)
        for folder in dict.fromkeys(path.parent for path in paths):
            sync_folder(folder)
    except Exception as error:
        _name_published_file(error, dict(zip(map(str, temporaries), paths, strict=True)))
        raise
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder next to `path`; it gets that name if the block succeeds.

    The files in it are to be written atomically, too. `path` must be absent or an empty folder.
    """
    temporary = temporary_of(path)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def temporary_of(path: Path) -> Path:
    """A path next to `path` for this process alone; what killed ones have left there is removed."""
    _remove_leftovers(path)
    return path.with_name(f"{path.name}.tmp.{_HOST}.{os.getpid()}")


def _mode_of_a_new_file(path: Path) -> int:
    """Make an empty file to see its mode: the umask can only be read by setting it.

    Some libraries replace this file by one that nobody else may read (safetensors).
    """
    path.touch()
    return stat.S_IMODE(path.stat().st_mode)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk; a file system that cannot do that alone is left to it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise OSError(error.errno, error.strerror, str(folder)) from error
    finally:
        os.close(descriptor)


def _remove_leftovers(path: Path) -> None:
    """Remove what processes of this machine that were killed have left half-written of `path`.

    So had one with the number of this process, which has not begun yet: in a container all have the
    same few numbers.
    """
    for leftover in path.parent.glob(f"{glob.escape(path.name)}.tmp.{_HOST}.*"):
        pid = leftover.name.rpartition(".")[2]
        if not pid.isdecimal() or (int(pid) != os.getpid() and psutil.pid_exists(int(pid))):
            continue
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)  # another process may be doing the same
        else:
            leftover.unlink(missing_ok=True)


def _name_published_file(error: Exception, published: dict[str, Path]) -> None:
    """Make a failed write name the file that was to be published, not its temporary path."""
    first = next(iter(published.values()))
    if isinstance(error, OSError):
        name = str(error.filename or first)
        error.filename = str(published.get(name, name))
    elif shutil.disk_usage(first.parent).free < _BLOCK and not isinstance(error, UserError):
        # Some libraries report a full disk as an exception of their own.
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(first)) from error


def write_text(path: Path, text: str) -> None:
    """Publish `text` atomically as UTF-8; its line ends stay as they are."""
    with atomic(path) as temporary:
        temporary.write_bytes(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Publish `value` as JSON with sorted keys: equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file; UserError if it is missing or damaged."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: not valid JSON ({error}); delete it to have it made again"
        ) from None


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a folder for this process alone; yields True if it had to wait for another process.

    The lock is on the folder itself and ends with the process, even when that is killed. On a file
    system without locks nobody waits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield _lock(descriptor, folder)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        log.warning("another process is at work in %s; waiting for it to end", folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return True
    except OSError:
        return False
