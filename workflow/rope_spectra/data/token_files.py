"""Raw files of token ids, little-endian uint16, as nanoGPT writes them."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from rope_spectra.data.base import DataSection, DataSplit, Facts, SplitName
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import PathText


def count_tokens(path: Path) -> int:
    """The tokens of a raw file; UserError if it is empty or of odd size."""
    size = path.stat().st_size
    if size and size % 2 == 0:
        return size // 2
    found = f"{size} bytes, an odd size" if size else "empty"
    raise UserError(f"{path}: {found}; a token file holds little-endian uint16 token ids")


class TokensSplit(DataSplit):
    """A raw file of token ids."""

    source: Literal["tokens"]
    file: PathText
    vocab_size: int = Field(ge=1, le=2**16)

    @property
    def description(self) -> str:
        return f"token ids in `{Path(self.file).name}`"

    def local_files(self) -> list[str]:
        return [self.file]

    def facts(self) -> Facts:
        return {"source": self.source, "vocab_size": self.vocab_size}

    def check_files(self) -> None:
        if not Path(self.file).is_file():
            raise UserError(f"no file {self.file!r}")
        count_tokens(Path(self.file))

    def known_tokens(self) -> int:
        return count_tokens(Path(self.file))


class TokensData(DataSection):
    """Raw little-endian uint16 tokens, as nanoGPT writes them"""

    source: Literal["tokens"]
    train: PathText = Field(description="File of tokens to train on")
    validation: PathText = Field(description="File of tokens to evaluate on")
    vocab_size: int = Field(ge=1, le=2**16, description="Ids are below this")

    def split(self, split: SplitName) -> TokensSplit:
        file = self.train if split == "train" else self.validation
        return TokensSplit(source="tokens", file=file, vocab_size=self.vocab_size)
