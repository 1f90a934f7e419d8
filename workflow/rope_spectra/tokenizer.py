"""Fetch, copy or train the tokenizer of a data set, and count the bytes behind each of its tokens.

python -m rope_spectra.tokenizer --settings tokenizer.config.json --output tokenizer.json --token-bytes token_bytes.npy

The settings are {"path", "revision"} (a hub id, or a folder that holds a tokenizer.json), which is taken byte for byte as
it is, or {"train": characters to learn from, "vocab_size", "source"} for a byte-level BPE learned here.
"""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np

from rope_spectra.artifacts import seal
from rope_spectra.artifacts.layout import TOKENIZER_RECORD
from rope_spectra.data.corpus import check_keys, check_source, documents
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

log = logging.getLogger("rope_spectra")

MAX_VOCAB_SIZE = 1 << 16  # token ids are stored as uint16
_RECORD = Path(TOKENIZER_RECORD).name


def check_record(path: Path) -> None:
    """Refuse a tokenizer.json or token_bytes.npy that is not what its record vouches for; without a record it is the user's."""
    record = path.with_name(_RECORD)
    if record.exists():
        seal.check(record, seal.read(record, "settings", "files"), path)


def load_tokenizer(path: Path) -> "Tokenizer":
    """Load a tokenizer.json for encoding whole documents; UserError if it is missing, damaged or unfit."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; make it with rope_spectra.tokenizer")
    check_record(path)
    return parse_tokenizer(path.read_bytes(), str(path))


def parse_tokenizer(content: bytes, where: str) -> "Tokenizer":
    """Make a tokenizer of the content of a tokenizer.json: one that never truncates and never pads.

    Raises UserError, naming `where`, if it cannot be read, is not byte-level, or has ids that do not fit in uint16.
    """
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel

    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises nothing more specific
        raise UserError(
            f"{where}: not a tokenizer.json that can be read ({error}); fetch it again"
        ) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if not isinstance(tokenizer.decoder, ByteLevel):
        raise UserError(
            f"{where}: not a byte-level tokenizer; choose one that is, such as EleutherAI/gpt-neox-20b"
        )
    if vocab_size(tokenizer) > MAX_VOCAB_SIZE:
        raise UserError(
            f"{where}: {vocab_size(tokenizer)} tokens, but ids are stored as uint16; choose one of at most 65536"
        )
    return tokenizer


def vocab_size(tokenizer: "Tokenizer") -> int:
    """One more than the largest id, added tokens included."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1


def count_token_bytes(tokenizer: "Tokenizer") -> np.ndarray:
    """Bytes of UTF-8 that each token of a byte-level tokenizer decodes to: uint16 [vocab_size], 0 for an unused id.

    The sum over the tokens of a document is the size of the document as the tokenizer normalises it (NeoX: NFC).
    """
    result = np.zeros(vocab_size(tokenizer), np.uint16)
    for token, index in tokenizer.get_vocab(with_added_tokens=False).items():
        result[index] = len(token)  # one character of the byte-level alphabet stands for one byte
    for index, token in tokenizer.get_added_tokens_decoder().items():
        result[index] = len(token.content.encode())
    return result


def train_bpe(texts: Iterable[str], vocab_size: int) -> "Tokenizer":
    """Learn a byte-level BPE without special tokens: all 256 bytes, then at most `vocab_size` - 256 merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size, initial_alphabet=alphabet, special_tokens=[], show_progress=False
        ),
    )
    return tokenizer


def first_characters(texts: Iterable[str], characters: int) -> Iterator[str]:
    """Yield the first documents until `characters` characters are out; the last one is cut."""
    for text in texts:
        yield text[:characters]
        characters -= len(text)
        if characters <= 0:
            return


def fetch(path: str, revision: str | None) -> bytes:
    """The bytes of the tokenizer.json of a local folder or a hub repository; UserError if there is none to be had."""
    folder = Path(path).expanduser()
    if folder.is_dir() or path.startswith((".", "/", "~")):
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise UserError(
                f"{file}: no such file; tokenizer.path should be a folder with a tokenizer.json, or a hub id"
            )
        return file.read_bytes()
    from huggingface_hub import hf_hub_download

    log.info("fetching the tokenizer %s at revision %s", path, revision or "main")
    try:
        return Path(hf_hub_download(path, "tokenizer.json", revision=revision)).read_bytes()
    except Exception as error:  # the layers below (HTTP, hub, cache) each have errors of their own
        raise UserError(
            f"{path}: cannot fetch tokenizer.json at revision {revision or 'main'} ({' '.join(str(error).split())}); "
            "check the name, the revision and the network, or give a folder that holds a copy"
        ) from None


def read_settings(path: Path) -> dict[str, Any]:
    """Read and check the frozen settings of a tokenizer."""
    settings = seal.read_if_sealed(path)
    if not isinstance(settings, dict) or "train" not in settings:
        check_keys(settings, str(path), {"path": (str,), "revision": (str, NoneType)})
        return settings
    check_keys(settings, str(path), {"train": (int,), "vocab_size": (int,), "source": (dict,)})
    check_source(settings["source"], f"{path}: source")
    if settings["train"] < 1:
        raise UserError(
            f"{path}: 'train' is {settings['train']}; it should be the number of characters to learn from"
        )
    if not 256 <= settings["vocab_size"] <= MAX_VOCAB_SIZE:
        raise UserError(
            f"{path}: 'vocab_size' is {settings['vocab_size']}; it should be 256 (the bytes) to 65536 (uint16)"
        )
    return settings


def make(settings: dict[str, Any]) -> bytes:
    """The tokenizer.json that the settings ask for."""
    if "path" in settings:
        return fetch(settings["path"], settings["revision"])
    log.info("learning %d tokens from %d characters", settings["vocab_size"], settings["train"])
    texts = first_characters(documents(settings["source"]), settings["train"])
    return train_bpe(texts, settings["vocab_size"]).to_str(pretty=True).encode()


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--settings", type=Path, required=True, help="frozen settings of the tokenizer (JSON)"
    )
    parser.add_argument("--output", type=Path, required=True, help="tokenizer.json to write")
    parser.add_argument(
        "--token-bytes",
        type=Path,
        required=True,
        help="token_bytes.npy to write: bytes per token, uint16",
    )
    arguments = cli.parse(parser)
    settings = read_settings(arguments.settings)
    content = make(settings)
    tokenizer = parse_tokenizer(content, settings.get("path", str(arguments.output)))
    paths, record = (arguments.output, arguments.token_bytes), arguments.output.with_name(_RECORD)
    with (
        seal.publishing(record, {"settings": settings}, *paths) as (json_file, bytes_file),
        bytes_file.open("wb") as file,
    ):
        json_file.write_bytes(content)
        np.save(file, count_token_bytes(tokenizer))
    log.info("%s: %d tokens", arguments.output, vocab_size(tokenizer))


if __name__ == "__main__":
    cli.run(main)
