"""Shards: the tokens of a split as numbered files of raw uint16, and an index of the whole ones."""

import hashlib
import logging
from collections.abc import Iterator
from itertools import islice, starmap, takewhile
from operator import not_
from pathlib import Path

import numpy as np
from pydantic import Field

from rope_spectra.artifacts import seal
from rope_spectra.artifacts.files import atomic
from rope_spectra.data.base import Pieces, apart, piece
from rope_spectra.data.encoding import Backend, Encoded
from rope_spectra.data.sources import SplitSettings
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Record

log = logging.getLogger("rope_spectra")

INDEX = "index.json"
NOTE = "kept.json"  # in place of shards: the tokens are in the store

_BLOCK_TOKENS = 1 << 20


class Shard(Record):
    """A whole shard: its file, what is in it, and the hashes of its tokens and of its text.

    `bytes` are those of the UTF-8 text behind the tokens. `pieces` are those after its last whole
    document, of one that goes on in the next shard or is cut by the budget.
    """

    file: str
    tokens: int
    documents: int
    pieces: int = Field(0, exclude_if=lambda pieces: not pieces)
    bytes: int
    sha256: str
    text_sha256: str


class ShardInputs(Record):
    """All that the tokens of shards depend on."""

    settings: SplitSettings
    tokenizer_sha256: str
    vocab_size: int


class ShardIndex(ShardInputs):
    """The record of a folder of shards; `backend` encoded the last of them.

    content_key is that of all tokens (see content); None until the last shard is whole.
    """

    shards: list[Shard]
    backend: Backend
    content_key: str | None = Field(None, exclude_if=lambda key: key is None)


class Note(Record):
    """The key of tokens that are in the store already."""

    content_key: str


def read_index(folder: Path, settings: SplitSettings) -> ShardIndex:
    """Reads the index of a folder of shards.

    Raises UserError unless they were made with these settings and have their full size.
    """
    index = seal.load_record(folder / INDEX, ShardIndex)
    if index.settings != settings:
        raise UserError(
            f"{folder}: these shards were made with other settings; delete the folder and run again"
        )
    for shard in index.shards:
        file = folder / shard.file
        if not file.is_file() or file.stat().st_size != 2 * shard.tokens:
            raise UserError(
                f"{file}: not the {shard.tokens} tokens that {INDEX} lists;"
                f" delete {folder} and run again"
            )
    return index


def read_note(folder: Path) -> Note | None:
    """Reads which kept tokens a folder stands for; None if it holds shards."""
    path = folder / NOTE
    return seal.load_record(path, Note) if path.exists() else None


def write_note(folder: Path, content_key: str) -> None:
    """Replaces what is in the folder of an interrupted run by a note."""
    _empty(folder)
    seal.write(folder / NOTE, Note(content_key=content_key).content())


def _empty(folder: Path) -> None:
    # The folder itself stays: this process has it locked.
    for file in folder.glob("*"):
        file.unlink()


def read_tokens(path: Path, tokens: int) -> Iterator[np.ndarray]:
    """Yields the first tokens of a raw little-endian uint16 file, in blocks."""
    with path.open("rb") as file:
        for start in range(0, tokens, _BLOCK_TOKENS):
            size = min(_BLOCK_TOKENS, tokens - start)
            yield np.frombuffer(file.read(2 * size), "<u2")


def read_shards(folder: Path, index: ShardIndex) -> Iterator[np.ndarray]:
    """Yields the tokens of all shards in blocks.

    Raises UserError at the end of a shard whose content is not what its hash says.
    """
    for shard in index.shards:
        digest = hashlib.sha256()
        for block in read_tokens(folder / shard.file, shard.tokens):
            digest.update(block.data)
            yield block
        if digest.hexdigest() != shard.sha256:
            raise UserError(
                f"{folder / shard.file}: damaged (sha256 differs from {INDEX});"
                f" delete {folder} and run again"
            )


def count_documents(index: ShardIndex) -> int:
    """The documents in all shards, one that the budget cuts included."""
    is_cut = bool(index.shards) and index.shards[-1].pieces > 0
    return sum(shard.documents for shard in index.shards) + is_cut


def _texts_of(shard: Shard, pieces: Iterator[tuple[str, bool]]) -> Iterator[str]:
    """Yields the texts of the next pieces that are in a shard."""
    documents = 0
    while documents < shard.documents:
        text, is_last = next(pieces, (None, False))
        if text is None:
            return
        documents += is_last
        yield text
    for text, _ in islice(pieces, shard.pieces):
        yield text


class ShardWriter:
    """Writes pieces of documents as numbered shards into a folder, with an index of the whole ones.

    Resumes a folder that an interrupted run with the same inputs left; removes anything else there.
    token_bytes: bytes of each token, uint16 [vocab_size]. shard_tokens: a shard ends after these.
    """

    def __init__(
        self, folder: Path, inputs: ShardInputs, token_bytes: np.ndarray, shard_tokens: int
    ) -> None:
        self.folder = folder
        self.inputs = inputs
        # Sizes that fit in a byte, as nearly all do, are summed eight times as fast.
        self.token_bytes = token_bytes.astype(np.min_scalar_type(token_bytes.max()))
        self.shard_tokens = shard_tokens
        earlier = self._read_earlier_run()
        self.shards = earlier.shards if earlier else []
        # What an interrupted run had used at last.
        self.earlier_backend = earlier.backend if earlier else None
        self.tokens = sum(shard.tokens for shard in self.shards)
        if self.shards:
            count = len(self.shards)
            log.info("resuming an interrupted run after %d tokens in %d shards", self.tokens, count)
        self._start_shard()

    def _read_earlier_run(self) -> ShardIndex | None:
        path = self.folder / INDEX
        if path.exists():
            index = seal.load_record(path, ShardIndex)
            if ShardInputs(**dict(index)) == self.inputs:
                return index
        _empty(self.folder)
        return None

    def _start_shard(self) -> None:
        self._ids: list[np.ndarray] = []
        self._tokens = 0
        self._documents = 0
        self._pieces = 0
        self._bytes = 0
        self._text = hashlib.sha256()

    def skip(self, pieces: Iterator[Pieces]) -> Iterator[Pieces]:
        """Reads past the pieces that are in shards already, and gives those behind them.

        Raises UserError if the text of the shards has changed.
        """
        if not self.shards:
            return pieces
        each = apart(pieces)
        for shard in self.shards:
            digest = hashlib.sha256()
            for text in _texts_of(shard, each):
                digest.update(text.encode())
            if digest.hexdigest() != shard.text_sha256:
                raise UserError(
                    f"{self.folder}: the text of {shard.file} has changed since;"
                    " delete this folder and run again"
                )
        return starmap(piece, each)

    def add(self, pieces: Pieces, encoded: Encoded) -> None:
        """Appends pieces of documents to the shard that is being filled."""
        self._ids.append(encoded.ids)
        self._tokens += len(encoded.ids)
        self._bytes += int(self.token_bytes.take(encoded.ids).sum())
        documents = sum(pieces.are_last)
        if documents:
            self._pieces = 0
        self._documents += documents
        self._pieces += sum(1 for _ in takewhile(not_, reversed(pieces.are_last)))
        # One by one they stay in the processor's cache: faster than all of them joined.
        for encoded_text in map(str.encode, pieces.texts):
            self._text.update(encoded_text)
        self.tokens += len(encoded.ids)

    def is_full(self) -> bool:
        """Says that the shard has the tokens after which it ends."""
        return self._tokens >= self.shard_tokens

    def publish(self, backend: Backend) -> None:
        """Writes the documents added since the last shard as a shard, if there are any."""
        if not self._documents and not self._pieces:
            return
        name = f"{len(self.shards):05d}.bin"
        digest = hashlib.sha256()
        with atomic(self.folder / name) as temporary, temporary.open("wb") as file:
            for ids in self._ids:
                file.write(ids.data)
                digest.update(ids.data)
        shard = Shard(
            file=name,
            tokens=self._tokens,
            documents=self._documents,
            pieces=self._pieces,
            bytes=self._bytes,
            sha256=digest.hexdigest(),
            text_sha256=self._text.hexdigest(),
        )
        self.shards.append(shard)
        # After the shard, so that a kill between the two leaves a file that the next run replaces.
        self._write_index(backend)
        self._start_shard()

    def finish(self, backend: Backend, content_key: str | None) -> None:
        """Writes the key of all tokens into the index, where they have one."""
        if content_key is not None:
            self._write_index(backend, content_key)

    def _write_index(self, backend: Backend, content_key: str | None = None) -> None:
        index = ShardIndex(
            **dict(self.inputs), shards=self.shards, backend=backend, content_key=content_key
        )
        seal.write(self.folder / INDEX, index.content())
