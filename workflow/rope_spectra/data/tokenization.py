"""Text to shards: documents are read, encoded and written at the same time, in their order.

Nothing is put between the documents (docs/protocol.md, section 1). The bytes of all shards in a row
depend neither on interruptions nor on threads or the size of a shard.
"""

import logging
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

from rope_spectra.artifacts import kept
from rope_spectra.artifacts.files import locked, sha256, sync_folder
from rope_spectra.artifacts.kept import Store
from rope_spectra.data import kinds
from rope_spectra.data.base import DocumentSplit, Pieces
from rope_spectra.data.cache import check_kept
from rope_spectra.data.content import of_tokens
from rope_spectra.data.cutting import Cutter
from rope_spectra.data.encoding import Disagreement, Encoded, Encoder
from rope_spectra.data.shards import INDEX, NOTE, ShardInputs, ShardWriter, write_note
from rope_spectra.data.sources import SplitSettings
from rope_spectra.data.tokenizers import count_token_bytes, load_tokenizer
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.progress import Progress

log = logging.getLogger("rope_spectra")
T = TypeVar("T")

# gigatoken keeps several threads busy from 4 MB on; more would only take memory.
_BATCH_CHARACTERS = 1 << 22
_RULES = {"train": "tokenize_train", "validation": "tokenize_val"}


def batches(pieces: Iterable[Pieces], characters: int) -> Iterator[Pieces]:
    """Groups pieces, so that each group ends with the one that brings it to `characters`."""
    batch = Pieces([], [])
    size = 0
    for some in pieces:
        rest = some
        ends = [*accumulate(map(len, rest.texts), initial=size)]
        while ends[-1] >= characters:
            count = bisect_left(ends, characters)
            batch.add(rest.first(count))
            yield batch
            batch = Pieces([], [])
            rest = rest.behind(count)
            ends = [end - ends[count] for end in ends[count:]]
        batch.add(rest)
        size = ends[-1]
    if batch.texts:
        yield batch


def prefetch(items: Iterable[T]) -> Iterator[T]:
    """Yields the same items, each made in a thread while the one before it is being used."""
    iterator = iter(items)
    end: Any = object()
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(next, iterator, end)
        while True:
            item = coming.result()
            if item is end:
                return
            coming = thread.submit(next, iterator, end)
            yield item


def first_tokens(
    encoded: Iterable[tuple[Pieces, Encoded]], tokens: int
) -> Iterator[tuple[Pieces, Encoded]]:
    """Passes batches on up to so many tokens, and asks for no batch beyond.

    The last one ends with the piece that brings them, of which only the first ids are taken.
    """
    if not tokens:
        return
    for pieces, ids in encoded:
        taken = ids.first(tokens)
        yield pieces.first(len(taken.ends)), taken
        tokens -= len(taken.ids)
        if tokens <= 0:
            return


def tokenize(
    settings: SplitSettings,
    tokenizer_file: Path,
    output: Path,
    shard_tokens: int,
    sample: int | None = None,
    store: Store | None = None,
) -> None:
    """Writes the shards and the index of a split to the folder `output`.

    The work is done in `output`.partial; of two processes one does it and the other waits. `sample`
    is the number of documents on which the fast encoder has to agree with the reference (None: it
    is not used). If `store` has these tokens, a note that says so is all there is to write. Raises
    UserError if `output` holds shards already.
    """
    if output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output}: already holds shards; delete it to make them again")
    partial = output.with_name(f"{output.name}.partial")
    with locked(partial):
        # Whether this process waited for the other one, or came just as that one ended.
        if (output / INDEX).exists() or (output / NOTE).exists():
            log.info("the other process has finished %s", output)
            return
        tokenizer = load_tokenizer(tokenizer_file)
        tokenizer_sha256 = sha256(tokenizer_file)
        content = None
        if store:
            content = of_tokens(settings, tokenizer_sha256)
            if content and _is_kept(store, content.key, settings.split, output):
                write_note(partial, content.key)
                partial.rename(output)
                return
        token_bytes = count_token_bytes(tokenizer)
        inputs = ShardInputs(
            settings=settings, tokenizer_sha256=tokenizer_sha256, vocab_size=len(token_bytes)
        )
        writer = ShardWriter(partial, inputs, token_bytes, shard_tokens)
        earlier = writer.earlier_backend
        if earlier and earlier.name == "tokenizers":
            # The interrupted run had a reason not to use gigatoken; this one would find it again.
            encoder = Encoder(tokenizer, tokenizer_file, None, earlier.why)
        else:
            encoder = Encoder(tokenizer, tokenizer_file, sample)
        try:
            _encode(settings, Cutter(tokenizer), encoder, writer)
        except Disagreement as difference:
            log.warning("%s; making all shards again", difference)
            (partial / INDEX).unlink(missing_ok=True)
            writer = ShardWriter(partial, inputs, token_bytes, shard_tokens)
            encoder = Encoder(tokenizer, tokenizer_file, None, str(difference))
            _encode(settings, Cutter(tokenizer), encoder, writer)
        writer.finish(encoder.backend, content.settled_key() if content else None)
        partial.rename(output)
        sync_folder(output.parent)


def _is_kept(store: Store, key: str, split: str, output: Path) -> bool:
    """True if the store has these tokens, whole, and the user has not asked to make them again."""
    if kept.is_forced(_RULES[split], output):
        return False
    entry = store.find(kinds.TOKENS.name, key)
    if entry is None:
        return False
    try:
        check_kept(entry)
    except UserError as damage:
        log.warning("%s; making these tokens again", damage)
        return False
    log.info("the tokens of this text and tokenizer are there already, in %s", entry)
    return True


def _encode(settings: SplitSettings, cutter: Cutter, encoder: Encoder, writer: ShardWriter) -> None:
    """Encodes the documents that are not in shards yet and publishes them shard by shard."""
    source = settings.source
    if not isinstance(source, DocumentSplit):
        raise UserError(f"source: {source.source!r} holds no text to tokenize; give one that does")
    pieces = writer.skip(cutter.cut(source.pieces()))
    label = f"{settings.split} tokens"
    progress = Progress(label, settings.tokens, "tokens", start=writer.tokens)
    # A token is a character at least, so batches are no longer than shards, which end with a batch.
    size = min(_BATCH_CHARACTERS, writer.shard_tokens)
    encoded = encoder.encode(prefetch(batches(pieces, size)))
    wanted = (settings.tokens or sys.maxsize) - writer.tokens
    for batch, ids in prefetch(first_tokens(encoded, wanted)):
        writer.add(batch, ids)
        progress.update(writer.tokens)
        if writer.is_full():
            writer.publish(encoder.backend)
    writer.publish(encoder.backend)
    progress.finish(writer.tokens)
