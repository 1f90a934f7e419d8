"""Join the shards of a split (or take a raw token file) into one .npy file to be memory-mapped, with a manifest beside it.

python -m rope_spectra.memmap_cache --settings train.config.json --shards shards/train --output train.npy --manifest train.json

The cache is a plain numpy array, uint16 [tokens], exactly as long as its tokens. Same shards in, same bytes out.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rope_spectra.artifacts import seal
from rope_spectra.artifacts.files import atomic, atomic_all
from rope_spectra.data.cache import Manifest, header
from rope_spectra.data.corpus import check_keys, read_split_settings
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.progress import Progress

_BLOCK_TOKENS = 1 << 20


def read_tokens(path: Path, tokens: int) -> Iterator[np.ndarray]:
    """The first `tokens` tokens of a raw little-endian uint16 file, in blocks."""
    with path.open("rb") as file:
        for start in range(0, tokens, _BLOCK_TOKENS):
            yield np.frombuffer(file.read(2 * min(_BLOCK_TOKENS, tokens - start)), "<u2")


def read_index(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Read the index of a folder of shards; UserError unless they were made with these settings and have their full size."""
    index = seal.read(folder / "index.json")
    keys = {
        "settings": (dict,),
        "tokenizer_sha256": (str,),
        "vocab_size": (int,),
        "shards": (list,),
        "backend": (dict,),
    }
    check_keys(index, str(folder / "index.json"), keys)
    if index["settings"] != settings:
        raise UserError(
            f"{folder}: these shards were made with other settings; delete the folder and run again"
        )
    for shard in index["shards"]:
        file = folder / shard["file"]
        if not file.is_file() or file.stat().st_size != 2 * shard["tokens"]:
            raise UserError(
                f"{file}: not the {shard['tokens']} tokens that index.json lists; delete {folder} and run again"
            )
    return index


def read_shards(folder: Path, index: dict[str, Any]) -> Iterator[np.ndarray]:
    """The tokens of all shards in blocks; UserError at the end of a shard whose content is not what its hash says."""
    for shard in index["shards"]:
        digest = hashlib.sha256()
        for block in read_tokens(folder / shard["file"], shard["tokens"]):
            digest.update(block)
            yield block
        if digest.hexdigest() != shard["sha256"]:
            raise UserError(
                f"{folder / shard['file']}: damaged (sha256 differs from index.json); delete {folder} and run again"
            )


def count_raw_tokens(path: Path, budget: int | None) -> int:
    """How many tokens a raw token file gives; UserError if it is empty or of odd size."""
    size = path.stat().st_size
    if size == 0:
        raise UserError(f"{path}: empty; a token file holds little-endian uint16 token ids")
    if size % 2:
        raise UserError(
            f"{path}: {size} bytes, an odd size; a token file holds little-endian uint16 token ids"
        )
    return min(size // 2, budget or size)


def read_raw(path: Path, tokens: int, vocab_size: int) -> Iterator[np.ndarray]:
    """The first tokens of a raw token file in blocks; UserError at an id that is not in the vocabulary."""
    for block in read_tokens(path, tokens):
        if block.max() >= vocab_size:
            raise UserError(
                f"{path}: holds id {block.max()}, but vocab_size is {vocab_size}; correct vocab_size or the file"
            )
        yield block


def write_cache(path: Path, blocks: Iterator[np.ndarray], tokens: int) -> str:
    """Publish blocks of tokens as one .npy file of shape (tokens,); return the sha256 of the tokens' bytes."""
    digest = hashlib.sha256()
    progress = Progress("token cache", tokens, "tokens")
    done = 0
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write(header(tokens))
        for block in blocks:
            file.write(block)
            digest.update(block)
            done += len(block)
            progress.update(done)
    progress.finish(done)
    return digest.hexdigest()


def build(settings: dict[str, Any], shards: Path, output: Path) -> Manifest:
    """Write the cache of a split; return its manifest."""
    source = settings["source"]
    if source["source"] == "tokens":
        tokens = count_raw_tokens(shards, settings["tokens"])
        blocks = read_raw(shards, tokens, source["vocab_size"])
        made = {
            "tokenizer_sha256": None,
            "vocab_size": source["vocab_size"],
            "documents": None,
            "bytes": None,
        }
    else:
        index = read_index(shards, settings)
        tokens = sum(shard["tokens"] for shard in index["shards"])
        blocks = read_shards(shards, index)
        made = {key: index[key] for key in ("tokenizer_sha256", "vocab_size")}
        made |= {
            key: sum(shard[key] for shard in index["shards"]) for key in ("documents", "bytes")
        }
    digest = write_cache(output, blocks, tokens)
    return Manifest(settings=settings, **made, tokens=tokens, dtype="<u2", sha256=digest)


def publish(settings: dict[str, Any], shards: Path, output: Path, manifest: Path) -> None:
    """Write the cache of a split and its sealed manifest, both or neither."""
    with atomic_all(output, manifest) as (cache, record):
        seal.write(record, build(settings, shards, cache).content())


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--settings", type=Path, required=True, help="frozen settings of the split (JSON)"
    )
    parser.add_argument(
        "--shards",
        type=Path,
        required=True,
        help="folder of shards; for source 'tokens' the raw uint16 file",
    )
    parser.add_argument("--output", type=Path, required=True, help="token cache to write (.npy)")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest to write (.json)")
    arguments = cli.parse(parser)
    settings = read_split_settings(arguments.settings)
    publish(settings, arguments.shards, arguments.output, arguments.manifest)


if __name__ == "__main__":
    cli.run(main)
