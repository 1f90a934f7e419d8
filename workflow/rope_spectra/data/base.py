"""The interface of a source of data, and the tokenizers that a dataset can name.

A source is two models: the section of config.yaml that describes a dataset (`DataSection`), and
one split of it (`DataSplit`), which can give its documents, its local files and its description.
Each source has a module; sources.py lists them. None imports anything heavy at its top, because the
Snakefile reads the configuration for every job.
"""

import filecmp
from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeAlias, get_args

from pydantic import Discriminator, Field, JsonValue, Tag

from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import PathText, Settings

SplitName: TypeAlias = Literal["train", "validation"]
Budget: TypeAlias = Annotated[int, Field(ge=1)] | None
# An ISO 639 code.
Language: TypeAlias = Annotated[str, Field(pattern="^[a-z]{2,3}$")] | None
# What a text depends on, as plain values of JSON.
Facts: TypeAlias = dict[str, JsonValue]


class Piece(NamedTuple):
    """A part of a document, and if the document ends with it."""

    text: str
    is_last: bool


PLACE = "{value}"  # of the word in the sentence of the retrieval probe
# The tasks of the retrieval probe, which data/episodes.py puts into words.
Task: TypeAlias = Literal["key", "keys", "item", "variable", "pairs"]
TASKS: tuple[Task, ...] = get_args(Task)
# The probe in its first form, a sentence, and in its second one, tasks.
Probe: TypeAlias = Literal["sentence", "tasks"]


def is_local(path: str) -> bool:
    """Tells a directory of this machine from an id of the hub, which never starts like this."""
    return path.startswith(("/", ".", "~"))


class ReadyTokenizer(Settings):
    """A tokenizer that exists: taken byte for byte as it is."""

    path: PathText = Field(
        description="Hub id, or a local directory with tokenizer.json (starts with / . or ~)"
    )
    revision: str | None = Field(None, description="Commit of the tokenizer (null is the newest)")

    @property
    def description(self) -> str:
        """The tokenizer in Markdown; of a local path the name alone, for the page is published."""
        if is_local(self.path):
            return f"a local one, `{Path(self.path).name}`"
        return f"`{self.path}` at revision `{self.revision or 'main'}`"


class TrainedTokenizer(Settings):
    """A byte-level BPE that is learned here."""

    train: int = Field(
        ge=1, description="Characters of the training text a byte-level BPE learns from"
    )
    vocab_size: int = Field(
        ge=256, le=2**16, description="Size of its vocabulary (the 256 bytes included)"
    )

    @property
    def description(self) -> str:
        """The tokenizer in Markdown."""
        return f"byte-level BPE learned from {self.train:,} characters of the same source"


def kind_of_tokenizer(value: Any) -> str:
    """The tag of a tokenizer in a union, told by its keys: a mistake is then one of that kind."""
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", ())
    return "trained" if {"train", "vocab_size"} & set(keys) else "ready"


Tokenizer: TypeAlias = Annotated[
    Annotated[TrainedTokenizer, Tag("trained")] | Annotated[ReadyTokenizer, Tag("ready")],
    Discriminator(kind_of_tokenizer),
]


class DataSplit(Settings):
    """The source of one split, as its frozen settings have it: all that defines the tokens."""

    # A source that never ends has as many tokens as its budget, which must then be given.
    is_endless: ClassVar[bool] = False

    @property
    def description(self) -> str:
        """The origin in Markdown; of local paths the names alone, for the page is published."""
        raise NotImplementedError

    @property
    def hub_id(self) -> str | None:
        """The id of the dataset on the Hugging Face hub, if it is there."""
        return None

    def local_files(self) -> list[str]:
        """The user's own files that the tokens depend on; UserError where a pattern has none."""
        return []

    def raw_files(self) -> list[Path]:
        """The files of this machine that the source is read from, in the order in which they are.

        Raises UserError as `local_files` does.
        """
        return [Path(file) for file in self.local_files()]

    def facts(self) -> Facts | None:
        """All that the split depends on besides the bytes of its raw files; no path, no name.

        None if its content cannot be known from settings and files, as of a branch of the hub.
        """
        raise NotImplementedError

    def check_files(self) -> None:
        """Raises UserError, without the name of the split, where its local files are no use."""

    def known_tokens(self) -> int | None:
        """The tokens of the whole split where the files say so without being read, else None."""
        return None


class DocumentSplit(DataSplit):
    """A split of text."""

    def pieces(self) -> Iterator[Piece]:
        """Yields the documents in order, in pieces of which few are in memory at a time.

        Raises UserError where the source cannot be read (missing, undecodable, malformed, offline)
        or holds no text at all.
        """
        raise NotImplementedError

    def documents(self) -> Iterator[str]:
        """Yields the documents in order, each whole. Raises UserError as `pieces`."""
        return joined(self.pieces())


class DataSection(Settings):
    """The keys that all datasets of config.yaml have in common."""

    train_tokens: Budget = Field(None, description="Training tokens to use at most (null is all)")
    validation_tokens: Budget = Field(
        None, description="Validation tokens to use at most (null is all)"
    )

    def budget(self, split: SplitName) -> int | None:
        """The most tokens of a split to use; None is all."""
        return self.train_tokens if split == "train" else self.validation_tokens

    def split(self, split: SplitName) -> DataSplit:
        """The source of one split."""
        raise NotImplementedError

    def file_mistakes(self, split: SplitName) -> Iterator[str]:
        """Yields what is wrong with the local files of a split, as `key: mistake; remedy`."""
        try:
            self.split(split).check_files()
            if split == "validation":
                yield from self._shared_text()
        except UserError as error:
            yield f"{split}: {error}"
        except OSError as error:
            yield f"{split}: {error.filename}: {error.strerror}; make the file readable"

    def _shared_text(self) -> Iterator[str]:
        try:
            train = self.split("train").raw_files()
            equal = _equal_files(train, self.split("validation").raw_files())
        except (OSError, UserError):
            return  # a mistake of the training split, which is told there
        if equal:
            yield (
                f"validation: {equal[1]} has the content of {equal[0]}, which is trained on;"
                " give other text to evaluate on"
            )


class DocumentSection(DataSection):
    """The keys that all datasets of text have in common."""

    tokenizer: Tokenizer = Field(description="How text becomes tokens")
    tokenizer_check: Annotated[int, Field(ge=1)] | None = Field(
        2000,
        description="Documents on which a fast tokenizer must agree with the exact one to be used"
        " (null is never); changes no token",
    )
    language: Language = Field(
        None,
        description="Language of the text, as ISO 639 code, for the model card (null: unknown)",
    )
    retrieval_sentence: str = Field(
        "Key: {value}.",
        description="Sentence of the retrieval probe, in the language of the text; {value} is where"
        " the word to be found stands",
    )


def _equal_files(train: Iterable[Path], validation: Iterable[Path]) -> tuple[Path, Path] | None:
    """A file of each that have the same content, under whatever names; None if there are none."""
    by_size: dict[int, list[Path]] = {}
    for path in train:
        by_size.setdefault(path.stat().st_size, []).append(path)
    for path in validation:
        size = path.stat().st_size
        for other in by_size.get(size, []):
            if size and _is_equal(path, other):
                return other, path
    return None


def _is_equal(one: Path, other: Path) -> bool:
    # Stops at the first difference: files of one size are often different from the start.
    return one.samefile(other) or filecmp.cmp(one, other, shallow=False)


def whole(texts: Iterable[str]) -> Iterator[Piece]:
    """Passes documents on as one piece each."""
    return map(Piece, texts, repeat(True))


def joined(pieces: Iterable[Piece]) -> Iterator[str]:
    """Yields documents that come in pieces."""
    parts: list[str] = []
    for piece in pieces:
        parts.append(piece.text)
        if piece.is_last:
            yield "".join(parts)
            parts = []


def not_empty(pieces: Iterable[Piece], name: str) -> Iterator[Piece]:
    """Passes pieces on; UserError at the end if none of them held a character."""
    pieces = iter(pieces)
    for piece in pieces:
        yield piece
        if piece.text:
            yield from pieces
            return
    raise UserError(f"{name}: an empty corpus; name a source with text in it")


def text_of(row: Any, column: str, where: str) -> str:
    """The text of a row of a table; UserError, which begins with `where`, if it has none."""
    if not isinstance(row, dict):
        raise UserError(
            f"{where}: not a JSON object; each line should be one, with the text in '{column}'"
        )
    if column not in row:
        columns = ", ".join(map(str, row)) or "none"
        raise UserError(f"{where}: no column '{column}'; text_column should be one of: {columns}")
    text = row[column]
    if text is None:
        raise UserError(f"{where}: '{column}' is null; leave out the rows without text")
    if not isinstance(text, str):
        raise UserError(
            f"{where}: column '{column}' holds {type(text).__name__}, not text;"
            " choose another text_column"
        )
    return text
