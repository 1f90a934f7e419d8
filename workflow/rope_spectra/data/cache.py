"""Opens a token cache, after checking that it holds exactly the tokens its manifest promises."""

import hashlib
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rope_spectra.artifacts import seal
from rope_spectra.data.sources import SplitSettings
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Record

Tokens = NDArray[np.uint16]


class Manifest(Record):
    """The record of a token cache.

    What only text has is None for a cache of raw token files: `tokenizer_sha256`, `documents` and
    `bytes` (those of the UTF-8 text).
    """

    settings: SplitSettings
    tokenizer_sha256: str | None
    vocab_size: int
    documents: int | None
    tokens: int
    bytes: int | None
    dtype: str
    sha256: str


def read_manifest(path: Path) -> Manifest:
    """Reads the manifest of a token cache; UserError if it is missing, damaged or not one."""
    return seal.load_record(path, Manifest)


def header(tokens: int) -> bytes:
    """The first bytes of a cache: the .npy header of an array (tokens,) of little-endian uint16."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<u2", "fortran_order": False, "shape": (tokens,)}
    )
    return file.getvalue()


def open_tokens(path: Path, manifest: Manifest) -> np.ndarray:
    """Memory-maps a token cache: read-only uint16 [manifest.tokens].

    Reads the file once in blocks to compare its sha256. Raises UserError if the file is missing or
    differs from the manifest.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; run the data steps first")
    start = header(manifest.tokens)
    if _payload_sha256(path, start) != manifest.sha256:
        raise UserError(
            f"{path}: not the {manifest.tokens} tokens of its manifest (sha256 differs);"
            " delete it and run again"
        )
    return np.memmap(path, "<u2", mode="r", offset=len(start), shape=(manifest.tokens,))


def _payload_sha256(path: Path, start: bytes) -> str | None:
    """SHA-256 of what follows `start` in a file; None if the file begins otherwise."""
    with path.open("rb") as file:
        if file.read(len(start)) != start:
            return None
        return hashlib.file_digest(file, "sha256").hexdigest()
