"""Open a token cache, after checking that it holds exactly the tokens its manifest promises."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from rope_spectra.artifacts import seal
from rope_spectra.runtime.errors import UserError

_MANIFEST_KEYS = (
    "settings",
    "tokenizer_sha256",
    "vocab_size",
    "documents",
    "tokens",
    "bytes",
    "dtype",
    "sha256",
)


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of a token cache; UserError if it is missing or not one."""
    return seal.read(path, *_MANIFEST_KEYS)


def header(tokens: int) -> bytes:
    """What a cache of that many tokens starts with: the header of an .npy file of shape (tokens,), little-endian uint16."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<u2", "fortran_order": False, "shape": (tokens,)}
    )
    return file.getvalue()


def open_tokens(path: Path, manifest: dict[str, Any]) -> np.ndarray:
    """Memory-map a token cache: read-only uint16 [manifest["tokens"]].

    Reads the file once in blocks to compare its sha256. Raises UserError if the file is missing or differs from the manifest.
    """
    count, start = manifest["tokens"], header(manifest["tokens"])
    if not path.is_file():
        raise UserError(f"{path}: no such file; run the data steps first")
    if _payload_sha256(path, start) != manifest["sha256"]:
        raise UserError(
            f"{path}: not the {count} tokens of its manifest (sha256 differs); delete it and run again"
        )
    return np.memmap(path, "<u2", mode="r", offset=len(start), shape=(count,))


def _payload_sha256(path: Path, start: bytes) -> str | None:
    """SHA-256 of what follows `start` in a file; None if it does not start so."""
    with path.open("rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest()
            if file.read(len(start)) == start
            else None
        )
