"""JSON that carries its own hash, and the hashes of the files that it certifies.

A *record* (run.json, eval.json, tables.json, a manifest ...) is written last. It certifies the
files of its step and names their inputs. A step reads the record first, and of those files only the
ones that it certifies. Any changed byte is found, white space included, because the seal covers the
text as it lies on disk.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from rope_spectra.artifacts import files
from rope_spectra.runtime import messages
from rope_spectra.runtime.errors import UserError

Content = dict[str, Any]
M = TypeVar("M", bound=BaseModel)

_KEY = "seal"
_BLANK = "0" * 64
_REMEDY = "delete it to have it made again"


def dumps(content: Mapping[str, Any], indent: int | None = None) -> str:
    """JSON with sorted keys and a seal.

    The seal is the SHA-256 of the text and a line end, taken while the seal's own digits are zeros.
    """
    text = json.dumps({**content, _KEY: _BLANK}, sort_keys=True, allow_nan=False, indent=indent)
    digest = hashlib.sha256(f"{text}\n".encode()).hexdigest()
    return text.replace(_entry(_BLANK), _entry(digest))


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Publish sealed JSON atomically."""
    files.write_text(path, text(content))


def text(content: Mapping[str, Any]) -> str:
    """The text of a record: sealed JSON for people to read, too."""
    return dumps(content, indent=2) + "\n"


def freeze(path: Path, content: Mapping[str, Any]) -> None:
    """Publish frozen settings atomically, as the rules of the workflow write them."""
    files.write_text(path, f"{dumps(content)}\n")


def read(path: Path) -> Content:
    """The content of a sealed file without its seal; UserError if it is missing or damaged."""
    content = files.read_json(path)
    if not _is_sealed(content):
        raise UserError(f"{path}: lacks {_KEY!r}, so it is another kind of file; {_REMEDY}")
    return _unsealed(path, content)


def load_settings(path: Path, model: type[M]) -> M:
    """Frozen settings, sealed by the rules or written by hand without a seal.

    Raises UserError for a seal that does not fit and for a mistake in the settings.
    """
    content = files.read_json(path)
    # Damage to the word "seal" itself does not pass: the models of settings refuse unknown keys.
    if _is_sealed(content):
        return _validated(path, model, _unsealed(path, content), _REMEDY)
    return _validated(path, model, content, f"fix it, or {_REMEDY}")


def load_record(path: Path, model: type[M]) -> M:
    """A record; UserError if it is missing, damaged or not such a record."""
    return _validated(path, model, read(path), _REMEDY)


def _validated(path: Path, model: type[M], content: Any, remedy: str) -> M:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        mistake = messages.in_words(model, error)[0].removeprefix("config: ")
        raise UserError(f"{path}: {mistake}; {remedy}") from None


@contextmanager
def publishing(record: Path, content: Mapping[str, Any], *paths: Path) -> Iterator[list[Path]]:
    """Yield a temporary path for each of `paths`; publish them and then their record, or nothing.

    The record holds `content` as it is at the end of the block. Under "files" it holds the SHA-256
    of each file, by the file's path from the record's folder.
    """
    with files.atomic_all(*paths, record) as [*temporaries, last]:
        yield temporaries
        hashes = {
            _name(record, path): files.sha256(file)
            for path, file in zip(paths, temporaries, strict=True)
        }
        last.write_text(text({**content, "files": hashes}))


def check(record: Path, hashes: Mapping[str, str], *paths: Path) -> None:
    """Raise UserError unless each of `paths` is, byte for byte, what the record certifies.

    `hashes` are those under "files" in the record.
    """
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: no such file; run snakemake to have it made")
        if files.sha256(path) != hashes.get(_name(record, path)):
            raise UserError(
                f"{path}: not the file that {record} describes (its sha256 differs); {_REMEDY}"
            )


def _name(record: Path, path: Path) -> str:
    return os.path.relpath(path, record.parent)


def _is_sealed(content: Any) -> bool:
    return isinstance(content, dict) and _KEY in content


def _unsealed(path: Path, content: Content) -> Content:
    """The content without its seal; UserError if that is not the seal of the file's text."""
    seal = str(content.pop(_KEY))
    # A damaged seal may hold half a surrogate pair, which has no encoding; it then fits nothing.
    entry = _entry(seal).encode(errors="replace")
    blank = path.read_bytes().replace(entry, _entry(_BLANK).encode())
    if hashlib.sha256(blank).hexdigest() != seal:
        raise UserError(f"{path}: damaged or edited (its seal does not fit); {_REMEDY}")
    return content


def _entry(seal: str) -> str:
    return f'"{_KEY}": "{seal}"'
