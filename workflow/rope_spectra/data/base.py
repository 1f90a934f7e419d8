"""The interface of a source of data, and the tokenizers that a dataset can name.

A source is two models: the section of config.yaml that describes a dataset (`DataSection`), and
one split of it (`DataSplit`), which can give its documents, its local files and its description.
Each source has a module; sources.py lists them. None imports anything heavy at its top, because the
Snakefile reads the configuration for every job.
"""

import filecmp
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, get_args

from pydantic import Discriminator, Field, JsonValue, Tag

from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import PathText, Settings

SplitName: TypeAlias = Literal["train", "validation"]
Budget: TypeAlias = Annotated[int, Field(ge=1)] | None
# An ISO 639 code.
Language: TypeAlias = Annotated[str, Field(pattern="^[a-z]{2,3}$")] | None
# What a text depends on, as plain values of JSON.
Facts: TypeAlias = dict[str, JsonValue]

_GROUP_CHARACTERS = 1 << 16  # of documents that are passed on together


@dataclass(frozen=True)
class Pieces:
    """Parts of documents in their order; `are_last` says which of them end their document.

    They travel in groups, so that no line of Python is run for each of many short documents.
    """

    texts: list[str]
    are_last: list[bool]

    @classmethod
    def of_documents(cls, texts: list[str]) -> "Pieces":
        """Whole documents."""
        return cls(texts, [True] * len(texts))

    def __iter__(self) -> Iterator[tuple[str, bool]]:
        return zip(self.texts, self.are_last, strict=True)

    def add(self, others: "Pieces") -> None:
        """Appends others, in place."""
        self.texts.extend(others.texts)
        self.are_last.extend(others.are_last)

    def first(self, count: int) -> "Pieces":
        """The first so many of them."""
        return Pieces(self.texts[:count], self.are_last[:count])

    def behind(self, count: int) -> "Pieces":
        """Those that follow the first so many."""
        return Pieces(self.texts[count:], self.are_last[count:])


PLACE = "{value}"  # of the word in the sentence of the retrieval probe
# The tasks of the retrieval probe, which data/episodes.py puts into words.
Task: TypeAlias = Literal["key", "keys", "item", "variable", "pairs"]
TASKS: tuple[Task, ...] = get_args(Task)
# The probe in its first form, a sentence, and in its second one, tasks.
Probe: TypeAlias = Literal["sentence", "tasks"]


def is_local(path: str) -> bool:
    """True for a path of this machine: an id of the hub never starts with / . or ~."""
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

    def pieces(self) -> Iterator[Pieces]:
        """Yields the documents in order, in pieces of which few are in memory at a time.

        Raises UserError where the source cannot be read (missing, undecodable, malformed, offline)
        or holds no text at all.
        """
        raise NotImplementedError


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


def piece(text: str, is_last: bool) -> Pieces:
    """A single piece."""
    return Pieces([text], [is_last])


def groups(texts: Iterable[str], characters: int) -> Iterator[list[str]]:
    """Yields the texts in lists, each of which ends with the one that brings it to `characters`."""
    group: list[str] = []
    size = 0
    for text in texts:
        group.append(text)
        size += len(text)
        if size >= characters:
            yield group
            group = []
            size = 0
    if group:
        yield group


def whole(texts: Iterable[str]) -> Iterator[Pieces]:
    """Passes documents on whole, some at a time."""
    return map(Pieces.of_documents, groups(texts, _GROUP_CHARACTERS))


def apart(pieces: Iterable[Pieces]) -> Iterator[tuple[str, bool]]:
    """Yields each piece by itself: its text, and if its document ends with it."""
    return chain.from_iterable(pieces)


def joined(pieces: Iterable[Pieces]) -> Iterator[str]:
    """Yields documents that come in pieces."""
    parts: list[str] = []
    for text, is_last in apart(pieces):
        parts.append(text)
        if is_last:
            yield "".join(parts)
            parts = []


def not_empty(pieces: Iterable[Pieces], name: str) -> Iterator[Pieces]:
    """Passes pieces on; UserError at the end if none of them held a character."""
    pieces = iter(pieces)
    for some in pieces:
        yield some
        if any(some.texts):
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
