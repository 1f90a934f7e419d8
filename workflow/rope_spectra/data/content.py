"""Keys of data by content: equal text, read and encoded alike, has one key under any name.

The key of tokens is a SHA-256 over the bytes of the raw files (of a dataset of the hub its commit,
of generated text its settings), how they are read, the budget and the tokenizer; that of a learned
tokenizer likewise. No path, no name and no time is in it.
"""

import hashlib
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from rope_spectra.artifacts import files
from rope_spectra.data.base import DataSplit, Facts
from rope_spectra.data.sources import LearnedTokenizer, SplitSettings
from rope_spectra.runtime.errors import UserError

log = logging.getLogger("rope_spectra")

# Raise it after a change of code that makes other documents, tokens or tokenizers of the same text.
_RECIPE = 1

# The files of a source are hashed up to so many bytes, or so many for each token or character of
# the budget: to read all of a huge corpus would cost more than to encode a small part of it.
_ALWAYS_BYTES = 4 << 30
_BYTES_PER_UNIT = 64
# Two changes within one tick of the clock leave the same time stamp.
_YOUNG_SECONDS = 2


@dataclass(frozen=True)
class _RawFile:
    """A file as it was when it was hashed."""

    path: Path
    stamp: tuple[int, ...]
    is_young: bool
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "_RawFile":
        stamp = _stamp(path)
        is_young = time.time() - path.stat().st_ctime < _YOUNG_SECONDS
        return cls(path, stamp, is_young, files.sha256(path))

    def is_unchanged(self) -> bool:
        if _stamp(self.path) == self.stamp and not self.is_young:
            return True
        return files.sha256(self.path) == self.sha256


@dataclass(frozen=True)
class Content:
    """The key of what is made from a source, and the raw files as they were at that time."""

    key: str
    _source: DataSplit
    _files: list[_RawFile]

    def settled_key(self) -> str | None:
        """The key, if the raw files still hold what it stands for; to be asked once they are read.

        None, with a warning, if they have changed: which content was read cannot be told.
        """
        if self._is_unchanged():
            return self.key
        log.warning("the files of this text have changed while they were read; run again")
        return None

    def _is_unchanged(self) -> bool:
        try:
            if self._source.raw_files() != [file.path for file in self._files]:
                return False
            return all(file.is_unchanged() for file in self._files)
        except (FileNotFoundError, UserError):
            return False


def of_tokens(settings: SplitSettings, tokenizer_sha256: str | None) -> Content | None:
    """The key of the tokens of a split; the tokenizer is None where the source is tokens.

    None if there is no key: what the source holds cannot be known, or to know it would take longer
    than to encode it.
    """
    making: Facts = {"tokens": settings.tokens, "tokenizer": tokenizer_sha256}
    return _content(settings.source, settings.tokens, making)


def of_tokenizer(settings: LearnedTokenizer) -> Content | None:
    """The key of a tokenizer that is learned; None as in `of_tokens`."""
    making: Facts = {"train": settings.train, "vocab_size": settings.vocab_size}
    return _content(settings.source, settings.train, making)


def _content(source: DataSplit, budget: int | None, making: Facts) -> Content | None:
    facts = source.facts()
    if facts is None:
        return None
    raw = source.raw_files()
    most = max(_ALWAYS_BYTES, _BYTES_PER_UNIT * budget) if budget else None
    if most and sum(path.stat().st_size for path in raw) > most:
        return None
    hashed = [_RawFile.of(path) for path in raw]
    _tell_of_copies(hashed)
    content: Facts = {
        "recipe": _RECIPE,
        "source": facts,
        "files": [file.sha256 for file in hashed],
        **making,
    }
    text = json.dumps(content, sort_keys=True)
    return Content(hashlib.sha256(text.encode()).hexdigest(), source, hashed)


def _tell_of_copies(raw: list[_RawFile]) -> None:
    """Warns of files with the same content, which is trained on more than once."""
    first: dict[str, Path] = {}
    for file in raw:
        known = first.setdefault(file.sha256, file.path)
        is_empty = file.stamp[0] == 0
        if known != file.path and not is_empty:
            log.warning("%s: the same content as %s; both are used", file.path, known)


def _stamp(path: Path) -> tuple[int, ...]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino
