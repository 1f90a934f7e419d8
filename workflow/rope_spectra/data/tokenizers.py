"""Tokenizers: fetched, copied or trained here, loaded for whole documents, and sized in bytes."""

import json
import logging
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from pydantic import Field
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from rope_spectra.artifacts import kept, seal
from rope_spectra.artifacts.kept import Store
from rope_spectra.artifacts.layout import TOKENIZER_RECORD
from rope_spectra.data import kinds
from rope_spectra.data.base import Pieces, ReadyTokenizer, apart, is_local, joined, piece, whole
from rope_spectra.data.content import of_tokenizer
from rope_spectra.data.cutting import Cutter
from rope_spectra.data.sources import LearnedTokenizer, TokenizerSettings
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Record

log = logging.getLogger("rope_spectra")

MAX_VOCAB_SIZE = 1 << 16  # token ids are stored as uint16
MAX_TOKEN_BYTES = (1 << 16) - 1  # and so are their sizes

# The names that GPT-NeoX has for them.
END, PADDING = "<|endoftext|>", "<|padding|>"
_AS_IT_IS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


class TokenizerRecord(Record):
    """The record next to a tokenizer that the rule made: its settings, the hashes of its files."""

    settings: TokenizerSettings
    files: dict[str, str]
    content_key: str | None = Field(None, exclude_if=lambda key: key is None)


def record_path(path: Path) -> Path:
    """The record of a tokenizer.json or a token_bytes.npy: in the same folder."""
    return path.with_name(Path(TOKENIZER_RECORD).name)


def check_record(path: Path) -> None:
    """Refuses a tokenizer.json or token_bytes.npy that is not what its record certifies.

    A file without a record is the user's own, and taken as it is.
    """
    record = record_path(path)
    if record.exists():
        seal.check(record, seal.load_record(record, TokenizerRecord).files, path)


def load_tokenizer(path: Path) -> Tokenizer:
    """Loads a tokenizer.json for whole documents; UserError if it is missing, damaged or unfit."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; make it with rope_spectra.tokenizer")
    check_record(path)
    return parse_tokenizer(path.read_bytes(), str(path))


def parse_tokenizer(content: bytes, where: str) -> Tokenizer:
    """Makes a tokenizer, which never truncates and never pads, of what a tokenizer.json holds.

    Raises UserError, naming `where`, if it cannot be read, is empty, is not byte-level, or has ids
    or tokens whose size does not fit in uint16.
    """
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises nothing more specific
        raise UserError(
            f"{where}: not a tokenizer.json that can be read ({error}); fetch it again"
        ) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if getattr(tokenizer.model, "dropout", None):
        tokenizer.model.dropout = None  # it makes other tokens of the same text each time
    if not isinstance(tokenizer.decoder, decoders.ByteLevel):
        raise UserError(
            f"{where}: not a byte-level tokenizer;"
            " choose one that is, such as EleutherAI/gpt-neox-20b"
        )
    size = vocab_size(tokenizer)
    if not size:
        raise UserError(f"{where}: its vocabulary is empty; choose another tokenizer")
    if size > MAX_VOCAB_SIZE:
        raise UserError(
            f"{where}: {size} tokens, but ids are stored as uint16;"
            f" choose one of at most {MAX_VOCAB_SIZE}"
        )
    longest = max(_byte_counts(tokenizer).values())
    if longest > MAX_TOKEN_BYTES:
        raise UserError(
            f"{where}: a token of {longest} bytes, but sizes are stored as uint16;"
            f" choose a tokenizer of tokens of at most {MAX_TOKEN_BYTES}"
        )
    return tokenizer


def vocab_size(tokenizer: Tokenizer) -> int:
    """One more than the largest id, added tokens included; 0 if there are no tokens."""
    return max(_byte_counts(tokenizer), default=-1) + 1


def count_token_bytes(tokenizer: Tokenizer) -> np.ndarray:
    """Bytes of UTF-8 that each token decodes to: uint16 [vocab_size], 0 for an unused id.

    The sum over the tokens of a document is the size of the document as the tokenizer normalizes it
    (NeoX: NFC).
    """
    counts = _byte_counts(tokenizer)
    sizes = np.zeros(vocab_size(tokenizer), np.uint16)
    sizes[[*counts]] = [*counts.values()]
    return sizes


@lru_cache(maxsize=1)  # a large vocabulary takes a while to come out of the library
def _byte_counts(tokenizer: Tokenizer) -> dict[int, int]:
    """Bytes of UTF-8 by token id."""
    # A character of the byte-level alphabet stands for one byte.
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    counts = {index: len(token) for token, index in vocabulary.items()}
    # Added tokens are plain text, not in that alphabet.
    for index, added in tokenizer.get_added_tokens_decoder().items():
        counts[index] = len(added.content.encode())
    return counts


def publish(
    settings: TokenizerSettings,
    content: bytes,
    output: Path,
    token_bytes: Path,
    content_key: str | None = None,
) -> None:
    """Writes a tokenizer.json with this content, its bytes per token, and their record.

    Raises UserError as `parse_tokenizer`.
    """
    where = settings.path if isinstance(settings, ReadyTokenizer) else str(output)
    tokenizer = parse_tokenizer(content, where)
    record = TokenizerRecord(settings=settings, files={}, content_key=content_key).content()
    with seal.publishing(record_path(output), record, output, token_bytes) as (json_file, sizes):
        json_file.write_bytes(content)
        # An open file, because np.save would put .npy behind the name of a temporary one.
        with sizes.open("wb") as file:
            np.save(file, count_token_bytes(tokenizer))
    log.info("%s: %d tokens", output, vocab_size(tokenizer))


def learn_once(store: Store, settings: LearnedTokenizer, output: Path, token_bytes: Path) -> None:
    """Publishes the tokenizer that was learned from the same text before; else learns and keeps it.

    Raises UserError if the text changes meanwhile.
    """
    source = of_tokenizer(settings)
    if source is None:
        publish(settings, make_tokenizer(settings), output, token_bytes)
        return

    def adopt(entry: Path) -> None:
        known = seal.load_record(entry / kinds.TOKENIZER_RECORD, TokenizerRecord)
        if known.content_key != entry.name:
            raise UserError(f"{entry}: holds another tokenizer than its name says; delete it")
        tokenizer_file = entry / kinds.TOKENIZER
        seal.check(entry / kinds.TOKENIZER_RECORD, known.files, tokenizer_file)
        publish(settings, tokenizer_file.read_bytes(), output, token_bytes, source.key)

    def learn() -> None:
        content = make_tokenizer(settings)
        if source.settled_key() is None:
            raise UserError(f"{output}: its text has changed while it was read; run again")
        publish(settings, content, output, token_bytes, source.key)

    paths = {
        kinds.TOKENIZER: output,
        kinds.TOKEN_BYTES: token_bytes,
        kinds.TOKENIZER_RECORD: record_path(output),
    }
    store.make_once(
        kinds.TOKENIZERS.name,
        source.key,
        paths,
        adopt=adopt,
        make=learn,
        what=str(output),
        is_forced=kept.is_forced("tokenizer", *paths.values()),
    )


def make_tokenizer(settings: TokenizerSettings) -> bytes:
    """The tokenizer.json that the settings ask for."""
    if isinstance(settings, ReadyTokenizer):
        return fetch(settings.path, settings.revision)
    log.info("learning %d tokens from %d characters", settings.vocab_size, settings.train)
    texts = joined(first_characters(settings.source.pieces(), settings.train))
    return train_bpe(texts, settings.vocab_size).to_str(pretty=True).encode()


def train_bpe(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learns a byte-level BPE without special tokens: 256 bytes and `vocab_size` - 256 merges.

    There are fewer merges if the text has no more.
    """
    tokenizer = _untrained()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    # In pieces of whole words, of which alone it learns, it needs less memory.
    # (The one that learns is locked.)
    pieces = Cutter(_untrained()).cut(whole(texts))
    tokenizer.train_from_iterator((text for text, _ in apart(pieces)), trainer)
    return tokenizer


def _untrained() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def marked(tokenizer: Tokenizer) -> Tokenizer:
    """A copy of a tokenizer that was learned here, with an end and a padding token.

    They take the ids of two bytes that no text in UTF-8 has, so a model needs no rows for them, and
    every text has the tokens that it had: also one in which their names stand.
    """
    content = json.loads(tokenizer.to_str())
    vocabulary = content["model"]["vocab"]
    for name, byte in ((END, 0xFF), (PADDING, 0xFE)):
        # In the byte-level alphabet these two bytes stand for themselves.
        index = vocabulary.pop(chr(byte))
        vocabulary[name] = index
        content["added_tokens"].append({"id": index, "content": name, "special": True, **_AS_IT_IS})
    copy = Tokenizer.from_str(json.dumps(content))
    copy.encode_special_tokens = True
    return copy


def first_characters(pieces: Iterable[Pieces], characters: int) -> Iterator[Pieces]:
    """Yields the first documents up to so many characters, the last document shortened."""
    for text, is_last in apart(pieces):
        is_enough = len(text) >= characters
        yield piece(text[:characters], is_last or is_enough)
        characters -= len(text)
        if is_enough:
            return


def fetch(path: str, revision: str | None) -> bytes:
    """The tokenizer.json of a local folder or a hub repository; UserError if there is none."""
    if Path(path).is_dir() or is_local(path):
        file = Path(path) / "tokenizer.json"
        if not file.is_file():
            raise UserError(
                f"{file}: no such file;"
                " tokenizer.path should be a folder with a tokenizer.json, or a hub id"
            )
        return file.read_bytes()
    from huggingface_hub import hf_hub_download

    shown = revision or "main"
    log.info("fetching the tokenizer %s at revision %s", path, shown)
    try:
        return Path(hf_hub_download(path, "tokenizer.json", revision=revision)).read_bytes()
    # The layers below (HTTP, hub, cache) each have errors of their own.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: cannot fetch tokenizer.json at revision {shown} ({reason});"
            " check the name, the revision and the network, or give a folder that holds a copy"
        ) from None
