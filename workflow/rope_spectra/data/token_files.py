"""Files of token ids: raw as nanoGPT writes them, with the header of llm.c, and numpy arrays.

A file that cannot hold tokens is refused, with what it looks like. Imports nothing heavy.
"""

import ast
import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import Field

from rope_spectra.data.base import DataSection, DataSplit, Facts, SplitName
from rope_spectra.data.formats import GIT_LFS
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import PathText

if TYPE_CHECKING:
    import numpy as np

RawType: TypeAlias = Literal["uint16", "uint32"]
FormatOfTokens: TypeAlias = Literal["raw", "npy", "llm.c"]

_NPY = b"\x93NUMPY"
_BLOCK_TOKENS = 1 << 20
_LOOKED_AT = 1 << 16  # bytes at the start that show if these can be tokens
# llm.c begins a file with 256 words of 32 bits: a date, the version and the number of tokens.
_HEADER_BYTES = 1024
_DATES = range(2024_01_01, 2027_01_01)

_FOREIGN = {
    GIT_LFS: "a pointer of git-lfs, not the file itself; run git lfs pull",
    b"\x1f\x8b": "compressed with gzip; decompress it (gunzip)",
    b"\x28\xb5\x2f\xfd": "compressed with zstandard; decompress it (unzstd)",
    b"\xfd7zXZ\x00": "compressed with xz; decompress it (unxz)",
    b"PK\x03\x04": "a zip archive, as numpy.savez and torch.save write it; write the ids alone"
    " (numpy.save)",
    b"PAR1": "a parquet file; write its ids with numpy.save, or give text with source: text",
    b"MMIDIDX": "the index of a Megatron dataset; give the .bin file next to it",
    b"\x89HDF": "an HDF5 file; write its ids with numpy.save",
    b"\x80\x04\x95": "a pickle; write its ids with numpy.save",
    b"\x80\x05\x95": "a pickle; write its ids with numpy.save",
}


@dataclass(frozen=True)
class TokenLayout:
    """The tokens of a file: numpy's name of their type, the byte where they begin, their number."""

    format: FormatOfTokens
    dtype: str
    offset: int
    tokens: int


def layout_of(path: Path, given: RawType | None = None) -> TokenLayout:
    """The tokens in a file; `given` is the type of raw ids that the user names, if any.

    Reads the beginning only. Raises UserError if the file cannot hold tokens.
    """
    size = path.stat().st_size
    if not size:
        raise UserError(f"{path}: empty; give a file of token ids, such as raw uint16")
    with path.open("rb") as file:
        head = file.read(_LOOKED_AT)
    for magic, remedy in _FOREIGN.items():
        if head.startswith(magic):
            raise UserError(f"{path}: {remedy}")
    if head.startswith(_NPY):
        found = _of_array(path, head, size)
    else:
        found = _of_llm_c(path, head, size) or _of_raw(path, head, size, given or "uint16")
    if given and found.format != "raw" and found.dtype[1:] != f"u{_width(given)}":
        raise UserError(
            f"{path}: dtype is {given}, but the file says {found.dtype}; leave dtype out, which is"
            " for raw files"
        )
    return found


def _width(name: RawType) -> int:
    return {"uint16": 2, "uint32": 4}[name]


def _of_array(path: Path, head: bytes, size: int) -> TokenLayout:
    """The tokens of a .npy file (numpy.lib.format describes its header)."""
    try:
        # From version 2 on the length of the header has four bytes.
        form = "<H" if head[6] == 1 else "<I"
        (length,) = struct.unpack_from(form, head, 8)
        offset = 8 + struct.calcsize(form) + length
        header = ast.literal_eval(head[offset - length : offset].decode("latin-1").strip())
        dtype, shape = header["descr"], header["shape"]
    except (ValueError, SyntaxError, KeyError, IndexError, TypeError, struct.error) as error:
        raise UserError(
            f"{path}: a numpy array with a damaged header ({error}); write it again"
        ) from None
    if not isinstance(dtype, str) or dtype[1:] not in (f"{k}{n}" for k in "iu" for n in "1248"):
        raise UserError(
            f"{path}: a numpy array of {dtype}, not of integers; give ids (.astype('uint16'))"
        )
    if len(shape) != 1 or not shape[0]:
        raise UserError(
            f"{path}: a numpy array of shape {shape}; write the ids in one row (.reshape(-1))"
        )
    missing = offset + shape[0] * int(dtype[2:]) - size
    if missing > 0:
        raise UserError(
            f"{path}: {missing} bytes fewer than its header says; copy or write it again"
        )
    return TokenLayout("npy", dtype, offset, shape[0])


def _of_llm_c(path: Path, head: bytes, size: int) -> TokenLayout | None:
    """The tokens of a file of llm.c; None if it does not begin with a date."""
    if len(head) < _HEADER_BYTES:
        return None
    date, version, tokens = struct.unpack_from("<3i", head)
    # A tail of zeros, so that no raw tokens are taken for a date.
    if date not in _DATES or any(head[12:_HEADER_BYTES]):
        return None
    rest = size - _HEADER_BYTES
    for width in (2, 4):
        if tokens > 0 and rest == width * tokens:
            return TokenLayout("llm.c", f"<u{width}", _HEADER_BYTES, tokens)
    raise UserError(
        f"{path}: has a header of llm.c (magic {date}, version {version}) for {tokens} tokens, but"
        f" {rest} bytes follow; copy or write it again"
    )


def _of_raw(path: Path, head: bytes, size: int, dtype: RawType) -> TokenLayout:
    width = _width(dtype)
    if size % width:
        raise UserError(
            f"{path}: {size} bytes, an odd size for {dtype}; a raw token file holds little-endian"
            f" {dtype} token ids"
        )
    found = _looks_like(head, dtype)
    if found:
        raise UserError(f"{path}: {found}")
    return TokenLayout("raw", f"<u{width}", 0, size // width)


def _looks_like(head: bytes, dtype: RawType) -> str | None:
    """The other thing than raw ids of this type that a file begins like, and the remedy."""
    if len(head) >= 32 and _is_text(head):
        return "looks like text; give it with source: text and a tokenizer"
    words = array("H", head[: len(head) // 2 * 2])
    if sys.byteorder == "big":
        words.byteswap()
    if len(words) < 64 or not any(words):
        return None
    if not any(words[1::4]) and not any(words[2::4]) and not any(words[3::4]):
        return (
            "looks like ids of 64 bits (of four uint16, three are 0);"
            " write them as .npy, or with .astype('uint16').tofile"
        )
    if dtype == "uint16" and not any(words[1::2]):
        return "looks like uint32 (every second uint16 is 0); write dtype: uint32"
    return None


def _is_text(head: bytes) -> bool:
    """True for UTF-8 without the control characters that no text has."""
    if any(byte < 9 or 13 < byte < 27 or 27 < byte < 32 for byte in head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return len(head) == _LOOKED_AT and error.start > len(head) - 4  # the last one is cut
    return True


def read_ids(
    path: Path, layout: TokenLayout, tokens: int, vocab_size: int
) -> Iterator["np.ndarray"]:
    """Yields the first ids of a file in blocks: little-endian uint16.

    Raises UserError at an id beyond the vocabulary.
    """
    import numpy as np

    dtype = np.dtype(layout.dtype)
    with path.open("rb") as file:
        file.seek(layout.offset)
        for start in range(0, tokens, _BLOCK_TOKENS):
            count = min(_BLOCK_TOKENS, tokens - start)
            block = np.frombuffer(file.read(count * dtype.itemsize), dtype)
            if len(block) < count:
                raise UserError(f"{path}: has become shorter while it was read; run again")
            least, largest = int(block.min()), int(block.max())
            wrong = largest if largest >= vocab_size else least
            if not 0 <= wrong < vocab_size:
                hint = _other_type(block, vocab_size) if layout.format == "raw" else ""
                raise UserError(
                    f"{path}: holds id {wrong}, but vocab_size is {vocab_size};"
                    f" correct vocab_size or the file{hint}"
                )
            yield block.astype("<u2", copy=False)


def _other_type(block: "np.ndarray", vocab_size: int) -> str:
    """The type of which the ids fit the vocabulary, where there is another; in words."""
    if block.dtype.itemsize == 4 and (block.view("<u2") < vocab_size).all():
        return " (as uint16 all fit: leave dtype out)"
    if (block.byteswap() < vocab_size).all():
        return " (as big-endian numbers all fit: swap their bytes)"
    return ""


class TokensSplit(DataSplit):
    """A file of token ids."""

    source: Literal["tokens"]
    file: PathText
    vocab_size: int = Field(ge=1, le=2**16)
    dtype: RawType | None = Field(None, exclude_if=lambda value: value is None)

    @property
    def description(self) -> str:
        return f"token ids in `{Path(self.file).name}`"

    @property
    def layout(self) -> TokenLayout:
        """The tokens in the file; UserError if it cannot hold tokens."""
        return layout_of(Path(self.file), self.dtype)

    def local_files(self) -> list[str]:
        return [self.file]

    def facts(self) -> Facts:
        facts: Facts = {"source": self.source, "vocab_size": self.vocab_size}
        layout = self.layout
        if (layout.format, layout.dtype) == ("raw", "<u2"):
            return facts  # as the first versions wrote it
        return facts | {"format": layout.format, "dtype": layout.dtype}

    def check_files(self) -> None:
        if not Path(self.file).is_file():
            raise UserError(f"no file {self.file!r}")
        _ = self.layout

    def known_tokens(self) -> int:
        return self.layout.tokens


class TokensData(DataSection):
    """Token ids: raw little-endian uint16 or uint32 (nanoGPT), with llm.c's header, or .npy"""

    source: Literal["tokens"]
    train: PathText = Field(description="File of tokens to train on")
    validation: PathText = Field(description="File of tokens to evaluate on")
    vocab_size: int = Field(ge=1, le=2**16, description="Ids are below this")
    dtype: RawType | None = Field(
        None, description="Type of raw ids (null: uint16; .npy and llm.c files say their own)"
    )

    def split(self, split: SplitName) -> TokensSplit:
        file = self.train if split == "train" else self.validation
        return TokensSplit(source="tokens", file=file, vocab_size=self.vocab_size, dtype=self.dtype)
