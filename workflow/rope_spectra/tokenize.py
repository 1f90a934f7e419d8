"""Encode a split of a data set into uint16 shards, in document order, with nothing between the documents.

python -m rope_spectra.tokenize --settings train.config.json --tokenizer tokenizer.json --output shards/train --threads 2

The work is done in `<output>.partial`, which becomes `<output>` when it is complete; an interrupted run continues there
after the last whole shard. The bytes of all shards in a row do not depend on interruptions, threads or --shard-tokens.
"""

import hashlib
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rope_spectra import cli
from rope_spectra.corpus import documents, read_split_settings
from rope_spectra.errors import UserError
from rope_spectra.files import atomic, read_json, sha256, write_json
from rope_spectra.progress import Progress
from rope_spectra.tokenizer import count_token_bytes, load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

log = logging.getLogger("rope_spectra")

_BATCH_CHARACTERS = 1 << 19  # enough documents to keep the threads busy, few enough to keep memory flat


def encode(tokenizer: "Tokenizer", texts: list[str]) -> list[np.ndarray]:
    """Encode documents, each to uint16 ids [tokens], without special tokens."""
    return [np.array(encoding.ids, "<u2") for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def encode_stream(tokenizer: "Tokenizer", texts: Iterable[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Encode a stream of documents in batches of bounded size; yield each with its ids."""
    for batch in batches(texts, _BATCH_CHARACTERS):
        yield from zip(batch, encode(tokenizer, batch), strict=True)


def batches(texts: Iterable[str], characters: int) -> Iterator[list[str]]:
    """Group documents into lists that end with the document that brings them to `characters`."""
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def cut(encoded: Iterable[tuple[str, np.ndarray]], tokens: int) -> Iterator[tuple[str, np.ndarray]]:
    """Pass documents on until `tokens` tokens are out; the ids of the last one are cut."""
    for text, ids in encoded if tokens else ():
        yield text, ids[:tokens]
        tokens -= len(ids)
        if tokens <= 0:
            return


class ShardWriter:
    """Writes documents as numbered shards into a folder whose index.json lists the whole shards and what they were made from.

    A folder left by an interrupted run of the same identity is continued; anything else in its place is removed.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], token_bytes: np.ndarray, shard_tokens: int) -> None:
        self.folder, self.identity, self.token_bytes, self.shard_tokens = folder, identity, token_bytes, shard_tokens
        self.shards = self._left_by_an_earlier_run()
        self.tokens = sum(shard["tokens"] for shard in self.shards)
        self._start_shard()

    def _left_by_an_earlier_run(self) -> list[dict[str, Any]]:
        index_file = self.folder / "index.json"
        if index_file.exists():
            index = read_json(index_file)
            if {key: index.get(key) for key in self.identity} == self.identity:
                return index["shards"]
        shutil.rmtree(self.folder, ignore_errors=True)
        return []

    def _start_shard(self) -> None:
        self._pending: list[np.ndarray] = []
        self._pending_tokens = 0
        self._text = hashlib.sha256()

    def skip(self, texts: Iterator[str]) -> None:
        """Read past the documents that are in shards already; UserError if they are no longer the same documents."""
        for shard in self.shards:
            text = hashlib.sha256()
            for document in islice(texts, shard["documents"]):
                text.update(document.encode())
            if text.hexdigest() != shard["text_sha256"]:
                raise UserError(f"{self.folder}: the text of {shard['file']} has changed since; delete this folder and run again")

    def add(self, text: str, ids: np.ndarray) -> None:
        """Append a document; publish the shard if it is full."""
        self._pending.append(ids)
        self._pending_tokens += len(ids)
        self._text.update(text.encode())
        self.tokens += len(ids)
        if self._pending_tokens >= self.shard_tokens:
            self.publish()

    def publish(self) -> None:
        """Write what has been added since the last whole shard as a shard, if it is anything."""
        if not self._pending:
            return
        ids = np.concatenate(self._pending)
        name = f"{len(self.shards):05d}.bin"
        with atomic(self.folder / name) as temporary:
            temporary.write_bytes(ids.data)
        shard = {"file": name, "tokens": len(ids), "documents": len(self._pending), "bytes": int(self.token_bytes[ids].sum())}
        self.shards.append(shard | {"sha256": hashlib.sha256(ids.data).hexdigest(), "text_sha256": self._text.hexdigest()})
        write_json(self.folder / "index.json", self.identity | {"shards": self.shards})
        self._start_shard()


def tokenize(settings: dict[str, Any], tokenizer_file: Path, output: Path, shard_tokens: int) -> None:
    """Write the shards and the index of a split to the folder `output`."""
    if output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output}: already holds shards; delete it to make them again")
    tokenizer = load_tokenizer(tokenizer_file)
    token_bytes = count_token_bytes(tokenizer)
    identity = {"settings": settings, "tokenizer_sha256": sha256(tokenizer_file), "vocab_size": len(token_bytes)}
    writer = ShardWriter(output.with_name(f"{output.name}.partial"), identity, token_bytes, shard_tokens)
    if writer.shards:
        log.info("continuing an interrupted run after %d tokens in %d shards", writer.tokens, len(writer.shards))
    progress = Progress(f"{settings['split']} tokens", settings["tokens"], "tokens", start=writer.tokens)
    texts = documents(settings["source"])
    writer.skip(texts)
    for text, ids in cut(encode_stream(tokenizer, texts), (settings["tokens"] or sys.maxsize) - writer.tokens):
        writer.add(text, ids)
        progress.update(writer.tokens)
    writer.publish()
    progress.finish(writer.tokens)
    writer.folder.rename(output)


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="frozen settings of the split (JSON)")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json")
    parser.add_argument("--output", type=Path, required=True, help="folder of shards to write")
    parser.add_argument("--threads", type=int, default=1, help="threads that encode (default: 1)")
    parser.add_argument("--shard-tokens", type=int, default=4_000_000, help="tokens after which a shard ends (default: 4000000)")
    arguments = cli.parse(parser)
    if arguments.threads < 1 or arguments.shard_tokens < 1:
        raise UserError("--threads and --shard-tokens should be at least 1")
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)
    tokenize(read_split_settings(arguments.settings), arguments.tokenizer, arguments.output, arguments.shard_tokens)


if __name__ == "__main__":
    cli.run(main)
