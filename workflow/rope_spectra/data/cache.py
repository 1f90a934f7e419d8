"""The token cache: one .npy file of all tokens of a split, and the manifest that certifies it.

A cache is never longer than its tokens, and same tokens give the same bytes.
"""

import hashlib
import io
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rope_spectra.artifacts import kept, seal
from rope_spectra.artifacts.files import atomic, atomic_all, sha256
from rope_spectra.artifacts.kept import Store
from rope_spectra.data import kinds
from rope_spectra.data.content import Content, of_tokens
from rope_spectra.data.shards import count_documents, read_index, read_note, read_shards
from rope_spectra.data.sources import SplitSettings
from rope_spectra.data.token_files import TokensSplit, layout_of, read_ids
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.progress import Progress
from rope_spectra.runtime.settings import Record

Tokens = NDArray[np.uint16]

_DTYPE = "<u2"


class Manifest(Record):
    """The record of a token cache.

    What only text has is None for a cache of raw token files: `tokenizer_sha256`, `documents` and
    `bytes` (those of the UTF-8 text). content_key names these tokens in the store (see content);
    None where they are not kept, or were made by an older version.
    """

    settings: SplitSettings
    tokenizer_sha256: str | None = None
    vocab_size: int
    documents: int | None = None
    tokens: int
    bytes: int | None = None
    dtype: str = _DTYPE
    sha256: str
    content_key: str | None = Field(None, exclude_if=lambda key: key is None)


def read_manifest(path: Path) -> Manifest:
    """Reads the manifest of a token cache; UserError if it is missing, damaged or not one."""
    return seal.load_record(path, Manifest)


def check_tokenizer(path: Path, manifest: Manifest, tokenizer: Path) -> None:
    """Raises UserError if the tokens of the manifest at `path` are of another tokenizer."""
    if manifest.tokenizer_sha256 != sha256(tokenizer):
        raise UserError(
            f"{path}: its tokens were made with another tokenizer than {tokenizer}; make them again"
        )


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


def publish(
    settings: SplitSettings,
    shards: Path,
    output: Path,
    manifest: Path,
    store: Store | None = None,
) -> None:
    """Writes the cache of a split and its sealed manifest, both or neither.

    If `store` has these tokens, they are linked from there; otherwise they are kept there.
    """
    if store is None:
        _write(settings, shards, output, manifest)
        return
    content = None
    if isinstance(settings.source, TokensSplit):
        source = settings.source.model_copy(update={"file": str(shards)})
        content = of_tokens(settings.model_copy(update={"source": source}), None)
        key = content.key if content else None
        is_forced = kept.is_forced("memmap_cache", output, manifest)
    else:
        note = read_note(shards)
        key = note.content_key if note else read_index(shards, settings).content_key
        # There are shards where the store lacks these tokens, or was not to be asked.
        is_forced = note is None
    make = partial(_write, settings, shards, output, manifest, content)
    if key is None:
        make()
        return
    store.make_once(
        kinds.TOKENS.name,
        key,
        kinds.token_files(output, manifest),
        adopt=partial(_adopt, settings=settings, output=output, manifest=manifest),
        make=make,
        what=str(output),
        is_forced=is_forced,
    )


def check_kept(entry: Path) -> Manifest:
    """The manifest of tokens in the store; UserError unless they are whole and those of their key.

    Reads all of them.
    """
    manifest = read_manifest(entry / kinds.MANIFEST)
    if manifest.content_key != entry.name:
        raise UserError(f"{entry}: holds other tokens than its name says; delete it")
    open_tokens(entry / kinds.CACHE, manifest)
    return manifest


def _adopt(entry: Path, settings: SplitSettings, output: Path, manifest: Path) -> None:
    """Publishes kept tokens under the names in `settings`; UserError as `check_kept`."""
    adopted = check_kept(entry).model_copy(update={"settings": settings})
    with atomic_all(output, manifest) as (cache, record):
        kept.link(entry / kinds.CACHE, cache)
        seal.write(record, adopted.content())


def _write(
    settings: SplitSettings,
    shards: Path,
    output: Path,
    manifest: Path,
    content: Content | None = None,
) -> None:
    with atomic_all(output, manifest) as (cache, record):
        seal.write(record, build(settings, shards, cache, content).content())


def build(
    settings: SplitSettings, shards: Path, output: Path, content: Content | None = None
) -> Manifest:
    """Writes the cache of a split; returns its manifest.

    shards: the folder of them, or the raw file of a split that is tokens already, of which
    `content` is the key. Raises UserError if that file changes meanwhile.
    """
    if isinstance(settings.source, TokensSplit):
        vocab_size = settings.source.vocab_size
        layout = layout_of(shards, settings.source.dtype)
        tokens = min(layout.tokens, settings.tokens or layout.tokens)
        digest = write_cache(output, read_ids(shards, layout, tokens, vocab_size), tokens)
        if content and content.settled_key() is None:
            raise UserError(f"{shards}: has changed while it was read; run again")
        return Manifest(
            settings=settings,
            vocab_size=vocab_size,
            tokens=tokens,
            sha256=digest,
            content_key=content.key if content else None,
        )
    if read_note(shards):
        raise UserError(
            f"{shards}: the tokens that it stands for are no longer in the store; delete the folder"
            " and run again"
        )
    index = read_index(shards, settings)
    tokens = sum(shard.tokens for shard in index.shards)
    return Manifest(
        settings=settings,
        tokenizer_sha256=index.tokenizer_sha256,
        vocab_size=index.vocab_size,
        documents=count_documents(index),
        tokens=tokens,
        bytes=sum(shard.bytes for shard in index.shards),
        sha256=write_cache(output, read_shards(shards, index), tokens),
        content_key=index.content_key,
    )


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
