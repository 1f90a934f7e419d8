"""Formats of text files: recognized by content, and by name where the content leaves it open.

A file that is not read is refused with the remedy that fits. Imports nothing heavy.
"""

import bz2
import codecs
import gzip
import json
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rope_spectra.data.base import Facts
from rope_spectra.runtime.errors import UserError

FormatName: TypeAlias = Literal["text", "json", "csv", "tsv", "parquet"]
Compression: TypeAlias = Literal["gzip", "zstandard", "bzip2", "xz"]

# Bytes. Text of this size stays in a cache and within the memory that Python has; with blocks of
# 1 MB, for which the kernel gives new memory each time, reading takes twice as long.
_BLOCK = 1 << 16
_HEAD = 1 << 16  # bytes that tell the format
_LINES = 5  # of JSON that make a file JSON lines

_BY_SUFFIX: dict[str, FormatName] = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
}
_COMPRESSED_SUFFIXES: dict[str, Compression] = {
    ".gz": "gzip",
    ".zst": "zstandard",
    ".zstd": "zstandard",
    ".bz2": "bzip2",
    ".xz": "xz",
}
_GZIP = b"\x1f\x8b"
_BZIP2 = b"1AY&SY"  # after BZh and a digit
_XZ = b"\xfd7zXZ\x00"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
_SKIPPED_FRAME = b"\x2a\x4d\x18"  # in front of the frames of zstandard, after a byte 0x5?
_PARQUET = b"PAR1"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

GIT_LFS = b"version https://git-lfs.github.com/spec/"
# What begins like this is not read; the remedy.
_FOREIGN = {
    GIT_LFS: "a pointer of git-lfs, not the file itself; run git lfs pull",
    b"PK\x03\x04": "a zip archive; unpack it and give the files in it",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it and give the files in it",
    b"Rar!": "a rar archive; unpack it and give the files in it",
    b"\x04\x22\x4d\x18": "compressed with lz4; compress it with zstd or gzip instead",
    b"%PDF": "a PDF; extract its text (pdftotext)",
    b"\x89PNG": "an image; give files of text",
    b"\xff\xd8\xff": "an image; give files of text",
    b"GIF8": "an image; give files of text",
    b"\x7fELF": "a program; give files of text",
    b"\x89HDF": "an HDF5 file; write its text as JSON lines or parquet",
    b"SQLite format 3\x00": "a database; write its text as JSON lines or parquet",
    b"ARROW1": "an Arrow file; write it as parquet (Dataset.to_parquet)",
    b"\x93NUMPY": "a numpy array; token ids are read with source: tokens",
    b"\x80\x03": "a pickle; write its text as JSON lines or parquet",
    b"\x80\x04": "a pickle; write its text as JSON lines or parquet",
    b"\x80\x05": "a pickle; write its text as JSON lines or parquet",
}


@dataclass(frozen=True)
class Format:
    """The format of a file, and its compression if it has one."""

    name: FormatName
    compression: Compression | None = None

    @property
    def is_table(self) -> bool:
        """True for a file of rows, of which one column holds the text."""
        return self.name != "text"

    def facts(self) -> Facts:
        """The part of a key of content that says how a file is read."""
        if self.name in ("text", "json") and self.compression in (None, "gzip"):
            # As the first versions wrote it: finished tokens have this in their keys.
            return {"json": self.name == "json", "gzip": self.compression == "gzip"}
        return {"format": self.name, "compression": self.compression}


def recognize(path: Path, wanted: FormatName | None = None) -> Format:
    """The format of a text file; `wanted` is the one that the user names, if any.

    Raises UserError, with the remedy, for a file that is not read.
    """
    compression = _compression(path)
    head = read_head(path, compression)
    is_parquet = head.startswith(_PARQUET)
    if not is_parquet:
        _refuse_foreign(path, head)
    named = _named(path)
    if is_parquet and wanted in (None, "parquet"):
        if compression:
            raise UserError(f"{path}: parquet within {compression}; decompress the file")
        return Format("parquet")
    if (wanted or named) == "parquet":
        raise UserError(f"{path}: not a parquet file; download or write it again")
    if wanted:
        return Format(wanted, compression)
    if named in (None, "text") and _is_json_lines(head):
        if named:
            raise UserError(
                f"{path}: holds JSON lines; write format: json to train on the text in them,"
                " or format: text to train on the file as it is"
            )
        return Format("json", compression)
    return Format(named or "text", compression)


def _named(path: Path) -> FormatName | None:
    """The format that the name of a file says, in any case and before a suffix of compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED_SUFFIXES:
        suffixes.pop()
    return _BY_SUFFIX.get(suffixes[-1]) if suffixes else None


def _compression(path: Path) -> Compression | None:
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(_GZIP):
        return "gzip"
    if start.startswith(_XZ):
        return "xz"
    if start.startswith(b"BZh") and start[4:10] == _BZIP2:
        return "bzip2"
    if start.startswith(_ZSTANDARD) or (start[1:4] == _SKIPPED_FRAME and start[0] >> 4 == 5):
        return "zstandard"
    promised = _COMPRESSED_SUFFIXES.get(path.suffix.lower())
    if promised and start and not start.startswith(GIT_LFS[: len(start)]):
        raise UserError(
            f"{path}: not a whole {promised} file (it begins otherwise);"
            " compress it again, or rename it if it is plain"
        )
    return None


def read_head(path: Path, compression: Compression | None) -> bytes:
    """The first bytes of a file, uncompressed; UserError if it is damaged there."""
    head = b""
    for block in read_blocks(path, compression, _HEAD):
        head += block
        if len(head) >= _HEAD:
            break
    return head[:_HEAD]


def read_blocks(
    path: Path, compression: Compression | None, size: int | None = None
) -> Iterator[bytes]:
    """Yields the content of a file in blocks of about `size` bytes, uncompressed.

    Raises UserError if a compressed file is damaged or incomplete.
    """
    size = size or _BLOCK
    with _open(path, compression) as file:
        try:
            yield from iter(lambda: file.read(size), b"")
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            # With a number the error is the disk's, without one that of the compression.
            if compression is None or getattr(error, "errno", None) is not None:
                raise
            reason = " ".join(str(error).split())
            raise UserError(
                f"{path}: not a whole {compression} file ({reason}); compress it again"
            ) from None


# The libraries share the methods of files but no type.
def _open(path: Path, compression: Compression | None) -> Any:
    match compression:
        case "gzip":
            return gzip.open(path)
        case "bzip2":
            return bz2.open(path)
        case "xz":
            return lzma.open(path)
        case "zstandard":
            # pyarrow is here for parquet anyway; the module of Python comes with 3.14.
            from pyarrow import CompressedInputStream, OSFile

            return CompressedInputStream(OSFile(str(path)), "zstd")
    return path.open("rb")


def _refuse_foreign(path: Path, head: bytes) -> None:
    for magic, remedy in _FOREIGN.items():
        if head.startswith(magic):
            raise UserError(f"{path}: {remedy}")
    if head[257:262] == b"ustar":
        raise UserError(f"{path}: a tar archive; unpack it and give the files in it")
    if head.startswith(_UTF_16) or _is_wide(head):
        raise UserError(
            f"{path}: UTF-16 or UTF-32 text; convert it to UTF-8"
            f" (iconv -f UTF-16 -t UTF-8 {path.name} > utf8-{path.name})"
        )


def _is_wide(head: bytes) -> bool:
    """True if every second byte of a text is zero, as UTF-16 without a mark has it."""
    some = head[:1000]
    most = 0.4 * len(some)
    return len(some) >= 8 and (some[::2].count(0) > most or some[1::2].count(0) > most)


def _is_json_lines(head: bytes) -> bool:
    """True if all lines of the beginning are JSON objects."""
    if not head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
        return False
    lines = head.removeprefix(codecs.BOM_UTF8).split(b"\n")
    if len(head) == _HEAD:
        lines.pop()  # it may go on
    lines = [line for line in lines if line.strip()][:_LINES]
    try:
        values = [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        return False
    return bool(values) and all(isinstance(value, dict) and value for value in values)


def without_mark(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Passes the blocks of a UTF-8 file on, without a byte order mark."""
    yield next(blocks, b"").removeprefix(codecs.BOM_UTF8)
    yield from blocks


def decode(path: Path, compression: Compression | None = None) -> Iterator[str]:
    """Yields the text of a UTF-8 file in blocks, without a byte order mark.

    Raises UserError, which names the byte, where it is not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    done = 0  # bytes
    # The empty block tells the decoder that no more comes, so that half a character is an error.
    for block in chain(read_blocks(path, compression), [b""]):
        held_back = len(decoder.getstate()[0])
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            at = done - held_back + error.start
            raise UserError(
                f"{path}: not UTF-8 at byte {at}; convert the file to UTF-8"
                " (iconv -f WINDOWS-1252 -t UTF-8, if it is Western European)"
            ) from None
        yield text if done else text.removeprefix("\ufeff")
        done += len(block)
