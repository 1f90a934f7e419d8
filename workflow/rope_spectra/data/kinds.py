"""Finished tokens and tokenizers in the store of results, each by the key of its content.

The Snakefile collects and restores them, so this imports nothing heavy.
"""

from pathlib import Path

from rope_spectra.artifacts import kept, layout, seal
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Record

# The names of the files in the store.
CACHE = "tokens.npy"
MANIFEST = "manifest.json"
TOKENIZER = Path(layout.TOKENIZER).name
TOKEN_BYTES = Path(layout.TOKEN_BYTES).name
TOKENIZER_RECORD = Path(layout.TOKENIZER_RECORD).name


class _Keyed(Record):
    """A record with a key. Older versions wrote none: that is made once more, to the same bits."""

    content_key: str


def key_of(record: Path) -> str:
    """The key of the content that a record describes; UserError if it has none."""
    return seal.load_record(record, _Keyed).content_key


def token_files(cache: Path, manifest: Path) -> dict[str, Path]:
    """The files of a token cache by their names in the store."""
    return {CACHE: cache, MANIFEST: manifest}


def tokenizer_files(record: Path) -> dict[str, Path]:
    """The files of a tokenizer by their names in the store."""
    return {name: record.with_name(name) for name in (TOKENIZER, TOKEN_BYTES, TOKENIZER_RECORD)}


def _of_manifest(manifest: Path) -> dict[str, Path]:
    return token_files(manifest.with_suffix(".npy"), manifest)


def _restore(entry: Path, record_name: str, settings: Path, paths: dict[str, Path]) -> None:
    """Puts an entry back, byte for byte, if it was made with the settings that are frozen there."""
    if seal.read(entry / record_name)["settings"] != seal.read(settings):
        raise UserError(f"{settings}: {entry} was made with other settings; run snakemake again")
    for name, path in paths.items():
        kept.place(entry / name, path, as_link=name == CACHE)


def _restore_tokens(entry: Path, record: Path) -> None:
    _restore(entry, MANIFEST, record.with_suffix(".config.json"), _of_manifest(record))


def _restore_tokenizer(entry: Path, record: Path) -> None:
    settings = record.parent.with_name("tokenizer.config.json")
    _restore(entry, TOKENIZER_RECORD, settings, tokenizer_files(record))


TOKENS = kept.Kind(
    "tokens",
    layout.MANIFEST,
    files=_of_manifest,
    key=key_of,
    restore=_restore_tokens,
)
TOKENIZERS = kept.Kind(
    "tokenizers",
    layout.TOKENIZER_RECORD,
    files=tokenizer_files,
    key=key_of,
    restore=_restore_tokenizer,
)
