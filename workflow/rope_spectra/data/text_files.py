"""Text files, plain or in rows, also compressed: read as a stream of documents."""

import codecs
import collections
import glob
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from rope_spectra.data.base import (
    DocumentSection,
    DocumentSplit,
    Facts,
    Pieces,
    SplitName,
    not_empty,
    piece,
    whole,
)
from rope_spectra.data.formats import (
    Compression,
    Format,
    FormatName,
    decode,
    read_blocks,
    recognize,
    without_mark,
)
from rope_spectra.data.tables import csv_texts, json_texts, parquet_texts, split_lists
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Distinct, PathText

log = logging.getLogger("rope_spectra")

_LOOKED_AT = 50  # files, before anything runs: each job reads the configuration
_WARN_BYTES = 1 << 24  # without a separator

_FormatKey: TypeAlias = Literal["auto"] | FormatName


class TextSplit(DocumentSplit):
    """Text files, in the order of `files`, which are names or patterns."""

    source: Literal["text"]
    files: list[PathText] = Field(min_length=1)
    separator: str | None = Field(min_length=1)
    text_column: str
    # Left out of frozen files while it is what older versions knew.
    format: _FormatKey = Field("auto", exclude_if=lambda value: value == "auto")

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
            "formats": [self._format(path).facts() for path in self.raw_files()],
        }

    def check_files(self) -> None:
        files = find_files(self.files)
        if not any(path.stat().st_size for path in files):
            raise UserError("all its files are empty; give files with text")
        for path in files[:_LOOKED_AT]:
            self._format(path)

    def _format(self, path: Path) -> Format:
        return recognize(path, None if self.format == "auto" else self.format)

    def pieces(self) -> Iterator[Pieces]:
        return not_empty(self._pieces(), ", ".join(self.files))

    def _pieces(self) -> Iterator[Pieces]:
        cut = _Cut(self.separator) if self.separator else None
        plain = []
        for path in find_files(self.files):
            if not path.stat().st_size:
                log.warning("%s: an empty file", path)
            form = self._format(path)
            if form.is_table:
                yield from whole(self._rows(path, form))
                continue
            plain.append(path)
            if cut is None:
                for block in decode(path, form.compression):
                    yield piece(block, is_last=False)
                yield piece("", is_last=True)
            else:
                yield from cut.documents(path, form.compression)
        if cut and plain:
            cut.check(plain)
        elif cut:
            log.warning("separator %r has no effect: no file is plain text", self.separator)
        elif plain and self.text_column != "text":
            log.warning("text_column has no effect on %s, which is plain text", plain[0])

    def _rows(self, path: Path, form: Format) -> Iterator[str]:
        if form.name == "parquet":
            return parquet_texts(path, self.text_column)
        characters = decode(path, form.compression)
        if form.name == "json":
            return json_texts(path, characters, self.text_column)
        return csv_texts(path, characters, self.text_column, form.name)


class _Cut:
    """Cuts text at a separator, and notices if that never occurs."""

    def __init__(self, separator: str) -> None:
        self._separator = separator
        self._encoded = separator.encode()
        self._is_found = False
        self._has_other_ends = False  # the separator, with the line ends of Windows
        self._seen = 0  # bytes

    def documents(self, path: Path, compression: Compression | None) -> Iterator[Pieces]:
        """Yields the documents of one file, without white space around them, empty ones left out.

        Warns once of a long text without a separator. Raises UserError as `decode`.
        """
        try:
            yield from self._decoded(self._watch(path, read_blocks(path, compression)))
        except UnicodeDecodeError:
            collections.deque(decode(path, compression), maxlen=0)  # says where
            raise

    def _decoded(self, blocks: Iterator[bytes]) -> Iterator[Pieces]:
        document = _Document()
        decoder = codecs.getincrementaldecoder("utf-8")()
        # Each document is decoded by itself: most are ASCII, which is faster, few blocks are.
        for *ended, last in split_lists(blocks, self._encoded):
            if ended:
                self._is_found = True
                yield from document.end(decoder.decode(ended[0], final=True))
                # Nearly all documents are within one block: these cost no line of Python each.
                texts = map(str.strip, map(bytes.decode, ended[1:]))
                yield Pieces.of_documents([*filter(None, texts)])
            yield from document.go_on(decoder.decode(last))
        yield from document.end(decoder.decode(b"", final=True))

    def _watch(self, path: Path, blocks: Iterator[bytes]) -> Iterator[bytes]:
        windows = self._encoded.replace(b"\n", b"\r\n")
        for block in without_mark(blocks):
            if not self._is_found:
                self._is_found = self._encoded in block
                self._has_other_ends = self._has_other_ends or windows in block
                before = self._seen
                self._seen += len(block)
                if before < _WARN_BYTES <= self._seen and not self._is_found:
                    log.warning("%s: separator %r has not occurred yet", path, self._separator)
            yield block

    def check(self, files: list[Path]) -> None:
        """Raises UserError if the separator never occurred in these files, which are read."""
        if self._is_found:
            return
        names = ", ".join(map(str, files[:3])) + (", ..." if len(files) > 3 else "")
        if self._has_other_ends:
            windows = self._separator.replace("\n", "\\r\\n")
            raise UserError(
                f"{names}: separator {self._separator!r} never occurs, but the text has the line"
                f' ends of Windows; write separator: "{windows}", or convert the text (dos2unix)'
            )
        raise UserError(
            f"{names}: separator {self._separator!r} never occurs; correct it, or write"
            " separator: null if each file is one document"
        )


class _Document:
    """A document that comes in parts, without white space around it; then the next one."""

    def __init__(self) -> None:
        self._held = ""  # white space within the document, or at its end
        self._is_begun = False

    def go_on(self, text: str) -> Iterator[Pieces]:
        """Yields what the next part has, as far as it is not held."""
        text = self._held + text if self._is_begun else text.lstrip()
        body = text.rstrip()
        self._held = text[len(body) :]
        if body:
            self._is_begun = True
            yield piece(body, is_last=False)

    def end(self, text: str) -> Iterator[Pieces]:
        """Yields the last part, and the end unless the document is empty."""
        yield from self.go_on(text)
        if self._is_begun:
            yield piece("", is_last=True)
        self._held = ""
        self._is_begun = False


def find_files(patterns: list[str]) -> list[Path]:
    """The files of names and globs: pattern by pattern, sorted within each, every file once.

    Raises UserError for a pattern that matches no file, or links that lead nowhere.
    """
    found: list[Path] = []
    for pattern in patterns:
        # A file whose name only looks like a pattern is taken by its name.
        names = [pattern] if Path(pattern).is_file() else glob.glob(pattern, recursive=True)  # noqa: PTH207 (absolute patterns)
        names.sort()
        _refuse_names(pattern, names)
        files = [Path(name) for name in names if Path(name).is_file()]
        if not files:
            shown = repr(pattern)[1:-1]
            remedy = "give a text file or a pattern that matches some"
            if Path(pattern).is_dir():
                remedy = "it is a folder; give the files in it, as by a pattern that ends with /*"
            raise UserError(f"{shown}: no such file; {remedy}")
        found += files
    return list(dict.fromkeys(found))


def _refuse_names(pattern: str, names: list[str]) -> None:
    lost = [name for name in names if os.path.islink(name) and not os.path.exists(name)]  # noqa: PTH110, PTH114 (faster)
    if lost:
        shown = ", ".join(lost[:3]) + (", ..." if len(lost) > 3 else "")
        raise UserError(
            f"{pattern}: {len(lost)} of {len(names)} are links to files that are not there"
            f" ({shown}); fetch these files or remove the links"
        )
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"{pattern}: the name of {os.fsencode(name)!r} is not UTF-8; rename the file"
            ) from None


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
    """Files of text: plain, JSON lines or array, CSV, TSV or parquet; .gz, .zst, .bz2, .xz"""

    source: Literal["text"]
    train: Files = Field(description="Files or globs to train on")
    validation: Files = Field(description="Files or globs to evaluate on")
    separator: str | None = Field(
        None,
        min_length=1,
        description="Text between two documents of a plain file, such as <|endoftext|>"
        " (null makes every file one document)",
    )
    text_column: str = Field(
        "text", description="Key or column that holds the text in JSON, CSV, TSV and parquet"
    )
    format: _FormatKey = Field(
        "auto",
        description="Format of the files; auto tells it from the content and the name of each",
    )

    def split(self, split: SplitName) -> TextSplit:
        return TextSplit(
            source="text",
            files=self.train if split == "train" else self.validation,
            separator=self.separator,
            text_column=self.text_column,
            format=self.format,
        )
