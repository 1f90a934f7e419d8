"""The token cache: one .npy file of all tokens of a split, and the manifest that certifies it.

A cache is never longer than its tokens, and same tokens give the same bytes.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rope_spectra.artifacts import seal
from rope_spectra.artifacts.files import atomic, atomic_all
from rope_spectra.data.shards import read_index, read_shards, read_tokens
from rope_spectra.data.sources import SplitSettings
from rope_spectra.data.token_files import TokensSplit, count_tokens
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.progress import Progress
from rope_spectra.runtime.settings import Record

Tokens = NDArray[np.uint16]

_DTYPE = "<u2"


class Manifest(Record):
    """The record of a token cache.

    What only text has is None for a cache of raw token files: `tokenizer_sha256`, `documents` and
    `bytes` (those of the UTF-8 text).
    """

    settings: SplitSettings
    tokenizer_sha256: str | None = None
    vocab_size: int
    documents: int | None = None
    tokens: int
    bytes: int | None = None
    dtype: str = _DTYPE
    sha256: str


def read_manifest(path: Path) -> Manifest:
    """Reads the manifest of a token cache; UserError if it is missing, damaged or not one."""
    return seal.load_record(path, Manifest)


def open_tokens(path: Path, manifest: Manifest) -> np.ndarray:
    """Memory-maps a token cache: read-only uint16 [manifest.tokens].

    Reads the file once in blocks to compare its sha256. Raises UserError if the file is missing or
    differs from the manifest.
    """
    # The header is compared as bytes: np.load would believe a damaged one.
    if not path.is_file():
        raise UserError(f"{path}: no such file; run the data steps first")
    header = _header(manifest.tokens)
    with path.open("rb") as file:
        starts_well = file.read(len(header)) == header
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not starts_well or digest != manifest.sha256:
        raise UserError(
            f"{path}: not the {manifest.tokens} tokens of its manifest (sha256 differs);"
            " delete it and run again"
        )
    return np.memmap(path, _DTYPE, mode="r", offset=len(header), shape=(manifest.tokens,))


def publish(settings: SplitSettings, shards: Path, output: Path, manifest: Path) -> None:
    """Writes the cache of a split and its sealed manifest, both or neither."""
    with atomic_all(output, manifest) as (cache, record):
        seal.write(record, build(settings, shards, cache).content())


def build(settings: SplitSettings, shards: Path, output: Path) -> Manifest:
    """Writes the cache of a split; returns its manifest.

    shards: the folder of them, or the raw file of a split that is tokens already.
    """
    if isinstance(settings.source, TokensSplit):
        vocab_size = settings.source.vocab_size
        tokens = count_tokens(shards)
        if settings.tokens is not None:
            tokens = min(tokens, settings.tokens)
        digest = write_cache(output, read_raw(shards, tokens, vocab_size), tokens)
        return Manifest(settings=settings, vocab_size=vocab_size, tokens=tokens, sha256=digest)
    index = read_index(shards, settings)
    tokens = sum(shard.tokens for shard in index.shards)
    return Manifest(
        settings=settings,
        tokenizer_sha256=index.tokenizer_sha256,
        vocab_size=index.vocab_size,
        documents=sum(shard.documents for shard in index.shards),
        tokens=tokens,
        bytes=sum(shard.bytes for shard in index.shards),
        sha256=write_cache(output, read_shards(shards, index), tokens),
    )


def read_raw(path: Path, tokens: int, vocab_size: int) -> Iterator[np.ndarray]:
    """Yields the first tokens of a raw file in blocks; UserError at an id beyond the vocabulary."""
    for block in read_tokens(path, tokens):
        largest = block.max()
        if largest >= vocab_size:
            raise UserError(
                f"{path}: holds id {largest}, but vocab_size is {vocab_size};"
                " correct vocab_size or the file"
            )
        yield block


def write_cache(path: Path, blocks: Iterable[np.ndarray], tokens: int) -> str:
    """Publishes blocks of tokens as one .npy file of shape (tokens,); returns their sha256."""
    digest = hashlib.sha256()
    progress = Progress("token cache", tokens, "tokens")
    done = 0
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write(_header(tokens))
        for block in blocks:
            file.write(block.data)
            digest.update(block.data)
            done += len(block)
            progress.update(done)
    progress.finish(done)
    return digest.hexdigest()


def _header(tokens: int) -> bytes:
    """The first bytes of a cache: the .npy header of an array (tokens,) of little-endian uint16."""
    # np.save would need all tokens in memory; a header and then block by block does not.
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": _DTYPE, "fortran_order": False, "shape": (tokens,)}
    )
    return file.getvalue()
