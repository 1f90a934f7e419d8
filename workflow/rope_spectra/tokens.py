"""Open a token cache, after checking that it holds exactly the tokens its manifest promises."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from rope_spectra.errors import UserError
from rope_spectra.files import read_json

_MANIFEST_KEYS = ("settings", "tokenizer_sha256", "vocab_size", "documents", "tokens", "bytes", "dtype", "sha256")


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of a token cache; UserError if it is missing or not one."""
    return read_json(path, *_MANIFEST_KEYS)


def open_tokens(path: Path, manifest: dict[str, Any]) -> np.ndarray:
    """Memory-map a token cache: read-only uint16 [manifest["tokens"]].

    Reads the file once in blocks to compare its sha256. Raises UserError if the file is missing or differs from the manifest.
    """
    try:
        tokens = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run the data steps first") from None
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: not a whole .npy file ({error}); delete it and run again") from None
    found = f"{tokens.dtype.str} {list(tokens.shape)}"
    promised = f"{manifest['dtype']} {[manifest['tokens']]}"
    if found != promised:
        raise UserError(f"{path}: holds {found}, its manifest says {promised}; delete it and run again")
    if _payload_sha256(path, tokens.offset) != manifest["sha256"]:
        raise UserError(f"{path}: its tokens are not those of its manifest (sha256 differs); delete it and run again")
    return tokens


def _payload_sha256(path: Path, offset: int) -> str:
    with path.open("rb") as file:
        file.seek(offset)
        return hashlib.file_digest(file, "sha256").hexdigest()
