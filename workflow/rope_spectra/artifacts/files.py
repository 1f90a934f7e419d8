"""Files that are whole or absent: atomic publishing, JSON, content hashes."""

import errno
import fcntl
import glob
import hashlib
import json
import logging
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rope_spectra.runtime.errors import UserError

log = logging.getLogger("rope_spectra")

_BLOCK = 4096
_HOST = platform.node().replace(".", "-")  # the numbers of processes are those of one machine


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; publish it under that name only if the block succeeds.

    The data is on disk before the name is, so neither a crash nor a full disk leaves half a file behind.
    """
    with together(path) as (temporary,):
        yield temporary


@contextmanager
def together(*paths: Path) -> Iterator[list[Path]]:
    """Yield a temporary path beside each of `paths`; publish all of them, in this order, only if the block succeeds.

    Nothing is published before everything is on disk, so a full disk leaves the earlier files as they were, all of them.
    """
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
    temporaries = [path.with_name(f"{path.name}.tmp.{_HOST}.{os.getpid()}") for path in paths]
    try:
        yield temporaries
        for temporary in temporaries:
            _flush_to_disk(temporary)
        for temporary, path in zip(temporaries, paths, strict=True):
            temporary.replace(path)
    except Exception as error:
        _name_the_disk(error, dict(zip(map(str, temporaries), paths, strict=True)))
        raise
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Half-written files that processes of this machine left beside `path` when they were killed."""
    for leftover in path.parent.glob(f"{glob.escape(path.name)}.tmp.{_HOST}.*"):
        pid = leftover.name.rpartition(".")[2]
        if pid.isdecimal() and not _is_alive(int(pid)):
            leftover.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True


def _name_the_disk(error: Exception, published: dict[str, Path]) -> None:
    """Let a failed write name the file that was to be published; some libraries report a full disk in an error of their own."""
    first = next(iter(published.values()))
    if isinstance(error, OSError):
        name = (
            first if error.filename is None else published.get(str(error.filename), error.filename)
        )
        error.filename = str(name)
    elif shutil.disk_usage(first.parent).free < _BLOCK and not isinstance(error, UserError):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(first)) from error


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Publish `text` atomically as UTF-8 with the line ends it has."""
    with atomic(path) as temporary:
        temporary.write_bytes(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Publish `value` as JSON with sorted keys: equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path, *keys: str) -> Any:
    """Parse a JSON file; one that is missing, damaged or lacks one of `keys` is a UserError that names it."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValueError as error:
        raise UserError(
            f"{path}: not valid JSON ({error}); delete it to have it made again"
        ) from None
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            raise UserError(
                f"{path}: lacks {key!r}, so it is not the file that is meant here; delete it to have it made again"
            )
    return value


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a folder for this process alone; yields whether it had to wait for another one, which is said in the log.

    The lock is on the folder itself and ends with the process, however that ends. A file system without locks gives none.
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
        log.info("another process is at work in %s; waiting for it to end", folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return True
    except OSError:
        return False
