"""Text files, plain or JSON lines, also compressed with gzip: read as a stream of documents."""

import codecs
import glob
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from rope_spectra.data.base import (
    DocumentSection,
    DocumentSplit,
    Facts,
    SplitName,
    not_empty,
    text_of,
)
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Distinct, PathText

_BLOCK = 1 << 20  # bytes


class TextSplit(DocumentSplit):
    """Text files, in the order of `files`, which are names or patterns."""

    source: Literal["text"]
    files: list[PathText] = Field(min_length=1)
    separator: str | None = Field(min_length=1)
    text_column: str

    @property
    def description(self) -> str:
        return "text files " + ", ".join(f"`{Path(file).name}`" for file in self.files)

    def local_files(self) -> list[str]:
        return [str(file) for file in find_files(self.files)]

    def facts(self) -> Facts:
        return {
            "source": self.source,
            "separator": self.separator,
            "text_column": self.text_column,
            # The name of a file says how it is read.
            "formats": [
                {"json": _is_json(path), "gzip": _is_gzip(path)} for path in self.raw_files()
            ],
        }

    def check_files(self) -> None:
        if not any(Path(file).stat().st_size for file in self.local_files()):
            raise UserError("all its files are empty; give files with text")

    def documents(self) -> Iterator[str]:
        return not_empty(self._texts(), ", ".join(self.files))

    def _texts(self) -> Iterator[str]:
        for path in find_files(self.files):
            characters = decode(path)
            if _is_json(path):
                yield from json_lines(path, characters, self.text_column)
            elif self.separator is None:
                yield "".join(characters)
            else:
                for part in split_blocks(characters, self.separator):
                    document = part.strip()
                    if document:
                        yield document


def find_files(patterns: list[str]) -> list[Path]:
    """The files of names and globs: pattern by pattern, sorted within each, every file once.

    Raises UserError for a pattern that matches no file.
    """
    found: list[Path] = []
    for pattern in patterns:
        # A file whose name only looks like a pattern is taken by its name.
        names = [pattern] if Path(pattern).is_file() else glob.glob(pattern, recursive=True)  # noqa: PTH207 (absolute patterns)
        files = [Path(name) for name in sorted(names) if Path(name).is_file()]
        if not files:
            shown = repr(pattern)[1:-1]
            raise UserError(
                f"{shown}: no such file; give a text file or a pattern that matches some"
            )
        found += files
    return list(dict.fromkeys(found))


def _is_json(path: Path) -> bool:
    return path.name.endswith((".jsonl", ".jsonl.gz"))


def _is_gzip(path: Path) -> bool:
    return path.suffix == ".gz"


def _read_blocks(path: Path) -> Iterator[bytes]:
    """Yields the content of a file, uncompressed."""
    with gzip.open(path) if _is_gzip(path) else path.open("rb") as file:
        try:
            yield from iter(lambda: file.read(_BLOCK), b"")
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(f"{path}: not a whole gzip file ({error}); compress it again") from None


def decode(path: Path) -> Iterator[str]:
    """Yields the text of a UTF-8 file in blocks, without a byte order mark.

    Raises UserError, which names the byte, where it is not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    done = 0  # bytes
    # The empty block tells the decoder that no more comes, so that half a character is an error.
    for block in chain(_read_blocks(path), [b""]):
        held_back = len(decoder.getstate()[0])
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            at = done - held_back + error.start
            raise UserError(f"{path}: not UTF-8 at byte {at}; convert the file to UTF-8") from None
        yield text if done else text.removeprefix("\ufeff")
        done += len(block)


def split_blocks(blocks: Iterable[str], separator: str) -> Iterator[str]:
    """Yields what str.split gives of the joined blocks, which are never all in memory."""
    rest = ""
    for block in blocks:
        *whole, rest = (rest + block).split(separator)
        yield from whole
    yield rest


def json_lines(path: Path, blocks: Iterable[str], column: str) -> Iterator[str]:
    """Yields the text of each line; UserError, which names the line, where there is none."""
    # Not str.splitlines: JSON may hold other line ends within a text.
    for number, line in enumerate(split_blocks(blocks, "\n"), start=1):
        if not line.strip():
            continue
        try:
            text = text_of(json.loads(line), column, f"{path}:{number}")
            # An escape such as \ud83d without its other half passes as JSON but is not text.
            text.encode()
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{path}:{number}: not a JSON object with text ({error}); fix or remove the line"
            ) from None
        yield text


Files: TypeAlias = Annotated[
    list[PathText],
    Field(min_length=1),
    Distinct,
    BeforeValidator(
        lambda value: value if isinstance(value, list) else [value],
        json_schema_input_type=str | list[str],
    ),
]


class TextData(DocumentSection):
    """Text files: plain, .gz, .jsonl or .jsonl.gz"""

    source: Literal["text"]
    train: Files = Field(description="Files or globs to train on")
    validation: Files = Field(description="Files or globs to evaluate on")
    separator: str | None = Field(
        None,
        min_length=1,
        description="Text between two documents of a file, such as <|endoftext|>"
        " (null makes every file one document)",
    )
    text_column: str = Field("text", description="Key that holds the text in JSON lines")

    def split(self, split: SplitName) -> TextSplit:
        return TextSplit(
            source="text",
            files=self.train if split == "train" else self.validation,
            separator=self.separator,
            text_column=self.text_column,
        )
