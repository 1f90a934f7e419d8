"""Encode a split of a data set into uint16 shards, in document order, with nothing between the documents.

python -m rope_spectra.tokenize --settings train.config.json --tokenizer tokenizer.json --output shards/train --threads 2

The work is done in `<output>.partial`, which becomes `<output>` when it is complete; an interrupted run continues there
after the last whole shard. The bytes of all shards in a row do not depend on interruptions, threads or --shard-tokens.
"""

import hashlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rope_spectra.artifacts import seal
from rope_spectra.artifacts.files import atomic, locked, sha256
from rope_spectra.data.corpus import documents, read_split_settings
from rope_spectra.data.encoding import Disagreement, Encoded, Encoder
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.progress import Progress
from rope_spectra.tokenizer import count_token_bytes, load_tokenizer

log = logging.getLogger("rope_spectra")
T = TypeVar("T")

DEFAULT_OPTIONS = {"tokenizer_check": 2000}  # documents

_BATCH_CHARACTERS = (
    1 << 22
)  # gigatoken keeps several threads busy from 4 MB on; few enough to keep memory flat


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


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, each made in a thread while the one before it is being worked on."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(next, iterator, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, iterator, end)
            yield item


def cut(
    encoded: Iterable[tuple[list[str], Encoded]], tokens: int
) -> Iterator[tuple[list[str], Encoded]]:
    """Pass batches on until `tokens` tokens are out: the last one ends with the document that brings them, its ids cut."""
    for texts, ids in encoded if tokens else ():
        ids = ids.cut(tokens)
        yield texts[: len(ids.ends)], ids
        tokens -= len(ids.ids)
        if tokens <= 0:
            return


class ShardWriter:
    """Writes documents as numbered shards into a folder whose index.json lists the whole shards and what they were made from.

    A folder left by an interrupted run of the same identity is continued; anything else in its place is removed.
    """

    def __init__(
        self, folder: Path, identity: dict[str, Any], token_bytes: np.ndarray, shard_tokens: int
    ) -> None:
        self.folder, self.identity, self.token_bytes, self.shard_tokens = (
            folder,
            identity,
            token_bytes,
            shard_tokens,
        )
        self.backend: dict[
            str, str
        ] = {}  # what the shards of an earlier run were encoded with last
        self.shards = self._left_by_an_earlier_run()
        self.tokens = sum(shard["tokens"] for shard in self.shards)
        self._start_shard()

    def _left_by_an_earlier_run(self) -> list[dict[str, Any]]:
        index_file = self.folder / "index.json"
        if index_file.exists():
            index = seal.read(index_file, "shards")
            if {key: index.get(key) for key in self.identity} == self.identity:
                self.backend = index["backend"]
                return index["shards"]
        for file in self.folder.glob("*"):  # the folder itself is what this process has locked
            file.unlink()
        return []

    def _start_shard(self) -> None:
        self._pending: list[np.ndarray] = []
        self._pending_tokens = self._pending_documents = 0
        self._text = hashlib.sha256()

    def skip(self, texts: Iterator[str]) -> None:
        """Read past the documents that are in shards already; UserError if they are no longer the same documents."""
        for shard in self.shards:
            text = hashlib.sha256()
            for batch in batches(islice(texts, shard["documents"]), _BATCH_CHARACTERS):
                text.update(_utf8(batch))
            if text.hexdigest() != shard["text_sha256"]:
                raise UserError(
                    f"{self.folder}: the text of {shard['file']} has changed since; delete this folder and run again"
                )

    def add(self, texts: list[str], encoded: Encoded) -> None:
        """Append documents to the shard that is being filled."""
        self._pending.append(encoded.ids)
        self._pending_tokens += len(encoded.ids)
        self._pending_documents += len(texts)
        self._text.update(_utf8(texts))
        self.tokens += len(encoded.ids)

    def is_full(self) -> bool:
        """Whether the shard has the tokens after which it ends."""
        return self._pending_tokens >= self.shard_tokens

    def publish(self, backend: dict[str, str]) -> None:
        """Write what has been added since the last whole shard as a shard, if it is anything."""
        if not self._pending_documents:
            return
        ids = np.concatenate(self._pending)
        name = f"{len(self.shards):05d}.bin"
        with atomic(self.folder / name) as temporary:
            temporary.write_bytes(ids.data)
        shard = {
            "file": name,
            "tokens": len(ids),
            "documents": self._pending_documents,
            "bytes": int(np.take(self.token_bytes, ids).sum()),
        }
        self.shards.append(
            shard
            | {
                "sha256": hashlib.sha256(ids.data).hexdigest(),
                "text_sha256": self._text.hexdigest(),
            }
        )
        seal.write(
            self.folder / "index.json", self.identity | {"shards": self.shards, "backend": backend}
        )
        self._start_shard()


def _utf8(texts: list[str]) -> bytes:
    return b"".join(map(str.encode, texts))


def tokenize(
    settings: dict[str, Any],
    tokenizer_file: Path,
    output: Path,
    shard_tokens: int,
    sample: int | None = None,
) -> None:
    """Write the shards and the index of a split to the folder `output`; of two processes one works and the other waits for it.

    `sample` is the number of documents on which the fast encoder has to agree with the reference (None: it is not used).
    """
    if output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output}: already holds shards; delete it to make them again")
    partial = output.with_name(f"{output.name}.partial")
    with locked(partial) as waited:
        if waited and (output / "index.json").exists():
            log.info("the other process has finished %s", output)
        else:
            _fill(partial, settings, tokenizer_file, shard_tokens, sample)
            partial.rename(output)


def _fill(
    partial: Path,
    settings: dict[str, Any],
    tokenizer_file: Path,
    shard_tokens: int,
    sample: int | None,
) -> None:
    """Write or complete the shards and the index of a split, all of them anew if the fast encoder was wrong after all."""
    tokenizer = load_tokenizer(tokenizer_file)
    token_bytes = count_token_bytes(tokenizer)
    identity = {
        "settings": settings,
        "tokenizer_sha256": sha256(tokenizer_file),
        "vocab_size": len(token_bytes),
    }
    writer = ShardWriter(partial, identity, token_bytes, shard_tokens)
    if writer.shards:
        log.info(
            "continuing an interrupted run after %d tokens in %d shards",
            writer.tokens,
            len(writer.shards),
        )
    if (
        writer.backend.get("name") == "tokenizers"
    ):  # for a reason that this run would have to find out again
        encoder = Encoder(tokenizer, tokenizer_file, None, writer.backend["why"])
    else:
        encoder = Encoder(tokenizer, tokenizer_file, sample)
    try:
        _write(writer, settings, encoder)
    except Disagreement as difference:
        log.warning("%s; making all shards again", difference)
        (partial / "index.json").unlink(missing_ok=True)
        writer = ShardWriter(partial, identity, token_bytes, shard_tokens)
        _write(writer, settings, Encoder(tokenizer, tokenizer_file, None, str(difference)))


def _write(writer: ShardWriter, settings: dict[str, Any], encoder: Encoder) -> None:
    """Encode what is not in shards yet and publish it shard by shard."""
    progress = Progress(
        f"{settings['split']} tokens", settings["tokens"], "tokens", start=writer.tokens
    )
    texts = documents(settings["source"])
    writer.skip(texts)
    # A token is a character at least, so batches are no longer than shards, which end with a batch.
    encoded = encoder.encode(ahead(batches(texts, min(_BATCH_CHARACTERS, writer.shard_tokens))))
    for batch, ids in ahead(cut(encoded, (settings["tokens"] or sys.maxsize) - writer.tokens)):
        writer.add(batch, ids)
        progress.update(writer.tokens)
        if writer.is_full():
            writer.publish(encoder.backend)
    writer.publish(encoder.backend)
    progress.finish(writer.tokens)


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--settings", type=Path, required=True, help="frozen settings of the split (JSON)"
    )
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json")
    parser.add_argument("--output", type=Path, required=True, help="folder of shards to write")
    parser.add_argument(
        "--options", type=Path, help="what does not change the tokens (JSON: tokenizer_check)"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads that encode (default: 1)")
    parser.add_argument(
        "--shard-tokens",
        type=int,
        default=4_000_000,
        help="tokens after which a shard ends (default: 4000000)",
    )
    arguments = cli.parse(parser)
    if arguments.threads < 1 or arguments.shard_tokens < 1:
        raise UserError("--threads and --shard-tokens should be at least 1")
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)
    settings = read_split_settings(arguments.settings)
    options = (
        seal.read_settings(arguments.options, DEFAULT_OPTIONS)
        if arguments.options
        else DEFAULT_OPTIONS
    )
    tokenize(
        settings,
        arguments.tokenizer,
        arguments.output,
        arguments.shard_tokens,
        options["tokenizer_check"],
    )


if __name__ == "__main__":
    cli.run(main)
