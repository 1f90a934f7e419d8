"""The state of a training on disk, from which it resumes to the same bits.

The file ends with the SHA-256 of what comes before, so that a damaged one is never used.
"""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import torch

from rope_spectra.artifacts.files import atomic

# What torch.save writes: nested dicts and lists of tensors, numbers and text.
State = dict[str, Any]

_DIGEST_BYTES = 32
_BLOCK_BYTES = 1 << 24


class UnusableState(Exception):
    """A training state that this run cannot resume from; its text says why."""


def save_state(path: Path, state: State) -> None:
    """Publishes a training state atomically."""
    with atomic(path) as temporary:
        torch.save(state, temporary)
        with temporary.open("rb+") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            file.seek(0, 2)
            file.write(digest)


def load_state(path: Path, identity: str) -> State:
    """The state of the run with this identity, tensors on the CPU.

    Raises UnusableState if it is damaged or another run's, FileNotFoundError if there is none.
    """
    _verify(path)
    # weights_only: what a checkpoint holds is data and never code to be run.
    state: State = torch.load(path, map_location="cpu", weights_only=True)
    if state["identity"] != identity:
        raise UnusableState("it belongs to other settings or other data")
    return state


def _verify(path: Path) -> None:
    """UnusableState unless the digest at the end of the file is that of everything before it."""
    digest = hashlib.sha256()
    last = b""  # what may be the digest, if no more blocks follow
    with path.open("rb") as file:
        for block in iter(partial(file.read, _BLOCK_BYTES), b""):
            digest.update((last + block)[:-_DIGEST_BYTES])
            last = (last + block)[-_DIGEST_BYTES:]
    if last != digest.digest():
        raise UnusableState("it is damaged")
