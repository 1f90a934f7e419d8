"""Where text comes from: the sources that a dataset of config.yaml can name, and the frozen settings of one split of each.

A source is two models: the section of config.yaml (`HubData`), and what defines the text of one split (`HubSplit`), which can
say its documents, its local files and its description. Adding one: write both and name them in `Dataset` and `Source`.
Imports nothing heavy, because the Snakefile reads the configuration for every job.
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag

from rope_spectra.runtime.settings import Distinct, PathText, Seed, Settings, Whole

SplitName: TypeAlias = Literal["train", "validation"]
Budget: TypeAlias = Annotated[Whole, Field(ge=1)] | None

PLACE = "{value}"  # of the value in the sentence of the retrieval probe


class HubSplit(Settings):
    """A split of a dataset of the Hugging Face hub."""

    source: Literal["hub"]
    path: PathText
    revision: str | None
    text_column: str
    split: str


class TextSplit(Settings):
    """Text files, in the order of `files`."""

    source: Literal["text"]
    files: list[PathText] = Field(min_length=1)
    separator: str | None = Field(min_length=1)
    text_column: str


class TokensSplit(Settings):
    """A raw file of token ids."""

    source: Literal["tokens"]
    file: PathText
    vocab_size: Whole = Field(ge=1, le=2**16)


class SyntheticSplit(Settings):
    """Generated stories."""

    source: Literal["synthetic"]
    seed: Seed
    split: SplitName


Source: TypeAlias = Annotated[
    HubSplit | TextSplit | TokensSplit | SyntheticSplit, Field(discriminator="source")
]


class SplitSettings(Settings):
    """Frozen settings of a split: its budget in tokens (None is all there are) and its source."""

    split: SplitName
    tokens: Budget
    source: Source


class ReadyTokenizer(Settings):
    """A tokenizer that exists: taken byte for byte as it is."""

    path: PathText = Field(
        description="Hub id, or a local directory with tokenizer.json (starts with / . or ~)"
    )
    revision: str | None = Field(None, description="Commit of the tokenizer (null is the newest)")


class TrainedTokenizer(Settings):
    """A byte-level BPE that is learned here."""

    train: Whole = Field(
        ge=1, description="Characters of the training text a byte-level BPE learns from"
    )
    vocab_size: Whole = Field(
        ge=256, le=2**16, description="Size of its vocabulary (the 256 bytes included)"
    )


class LearnedTokenizer(TrainedTokenizer):
    """Frozen settings of a tokenizer that is learned here: with the text that it learns from."""

    source: Source


def _kind_of_tokenizer(value: Any) -> str:
    keys = set(value) if isinstance(value, dict) else set(type(value).model_fields)
    return "trained" if keys & {"train", "vocab_size"} else "ready"


# Told apart by their keys, so that a mistake is one of the kind that is meant.
Tokenizer: TypeAlias = Annotated[
    Annotated[TrainedTokenizer, Tag("trained")] | Annotated[ReadyTokenizer, Tag("ready")],
    Discriminator(_kind_of_tokenizer),
]
TokenizerSettings: TypeAlias = Annotated[
    Annotated[LearnedTokenizer, Tag("trained")] | Annotated[ReadyTokenizer, Tag("ready")],
    Discriminator(_kind_of_tokenizer),
]


class _Data(Settings):
    """What the sources of text have in common."""

    train_tokens: Budget = Field(None, description="Training tokens to use at most (null is all)")
    validation_tokens: Budget = Field(
        None, description="Validation tokens to use at most (null is all)"
    )
    tokenizer: Tokenizer = Field(description="How text becomes tokens")
    tokenizer_check: Annotated[Whole, Field(ge=1)] | None = Field(
        2000,
        description="Documents on which a fast tokenizer must agree with the exact one to be used (null is never);"
        " changes no token",
    )
    retrieval_sentence: str = Field(
        "Key: {value}.",
        description="Sentence of the retrieval probe, in the language of the text; {value} is where the word to be"
        " found stands",
    )


class HubData(_Data):
    """A dataset of the Hugging Face hub"""

    source: Literal["hub"]
    path: PathText = Field(
        description="Hub id, or a local directory in the same layout (starts with / . or ~)"
    )
    revision: str | None = Field(None, description="Commit of the dataset (null is the newest)")
    text_column: str = Field("text", description="Column that holds the text")
    train_split: str = Field("train", description="Split to train on")
    validation_split: str = Field("validation", description="Split to evaluate on")

    def split(self, split: SplitName) -> HubSplit:
        """What defines the text of a split."""
        return HubSplit(
            source="hub",
            path=self.path,
            revision=self.revision,
            text_column=self.text_column,
            split=self.train_split if split == "train" else self.validation_split,
        )


Files: TypeAlias = Annotated[
    list[PathText],
    Field(min_length=1),
    Distinct,
    BeforeValidator(
        lambda value: [value] if isinstance(value, str) else value,
        json_schema_input_type=str | list[str],
    ),
]


class TextData(_Data):
    """Text files: plain, .gz, .jsonl or .jsonl.gz"""

    source: Literal["text"]
    train: Files = Field(description="Files or globs to train on")
    validation: Files = Field(description="Files or globs to evaluate on")
    separator: str | None = Field(
        None,
        min_length=1,
        description="Text between two documents of a file, such as <|endoftext|> (null makes every file one document)",
    )
    text_column: str = Field("text", description="Key that holds the text in JSON lines")

    def split(self, split: SplitName) -> TextSplit:
        """What defines the text of a split."""
        return TextSplit(
            source="text",
            files=self.train if split == "train" else self.validation,
            separator=self.separator,
            text_column=self.text_column,
        )


class TokensData(Settings):
    """Raw little-endian uint16 tokens, as nanoGPT writes them"""

    source: Literal["tokens"]
    train: PathText = Field(description="File of tokens to train on")
    validation: PathText = Field(description="File of tokens to evaluate on")
    vocab_size: Whole = Field(ge=1, le=2**16, description="Ids are below this")
    train_tokens: Budget = Field(None, description="Training tokens to use at most (null is all)")
    validation_tokens: Budget = Field(
        None, description="Validation tokens to use at most (null is all)"
    )

    def split(self, split: SplitName) -> TokensSplit:
        """What defines the tokens of a split."""
        file = self.train if split == "train" else self.validation
        return TokensSplit(source="tokens", file=file, vocab_size=self.vocab_size)


class SyntheticData(_Data):
    """Generated stories in which names and things recur"""

    source: Literal["synthetic"]
    seed: Seed = Field(0, description="Which stories")
    train_tokens: Whole = Field(ge=1, description="Training tokens to generate")
    validation_tokens: Whole = Field(ge=1, description="Validation tokens to generate")

    def split(self, split: SplitName) -> SyntheticSplit:
        """What defines the text of a split."""
        return SyntheticSplit(source="synthetic", seed=self.seed, split=split)


Dataset: TypeAlias = Annotated[
    HubData | TextData | TokensData | SyntheticData, Field(discriminator="source")
]
