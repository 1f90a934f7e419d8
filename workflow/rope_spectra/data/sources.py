"""The sources that a dataset of config.yaml can name, and the frozen settings of the data steps.

Adding a source: write a module with its section and its split (base.py says what they offer), and
name both in the unions below.
"""

from typing import Annotated, TypeAlias

from pydantic import Discriminator, Field, RootModel, Tag, model_validator
from pydantic_core import PydanticCustomError

from rope_spectra.data.base import (
    Budget,
    ReadyTokenizer,
    SplitName,
    TrainedTokenizer,
    kind_of_tokenizer,
)
from rope_spectra.data.hub import HubData, HubSplit
from rope_spectra.data.synthetic import SyntheticData, SyntheticSplit
from rope_spectra.data.text_files import TextData, TextSplit
from rope_spectra.data.token_files import TokensData, TokensSplit
from rope_spectra.runtime.settings import Settings

Dataset: TypeAlias = Annotated[
    HubData | TextData | TokensData | SyntheticData, Field(discriminator="source")
]
TextSource: TypeAlias = Annotated[
    HubSplit | TextSplit | SyntheticSplit, Field(discriminator="source")
]
Source: TypeAlias = Annotated[
    HubSplit | TextSplit | TokensSplit | SyntheticSplit, Field(discriminator="source")
]


class SplitSettings(Settings):
    """Frozen settings of a split: its budget in tokens (None is all there are) and its source."""

    split: SplitName
    tokens: Budget
    source: Source

    @model_validator(mode="after")
    def _ends(self) -> "SplitSettings":
        if self.tokens is None and self.source.is_endless:
            text = f"tokens is null, but {self.source.source} text never ends; give a number"
            raise PydanticCustomError("mistake", "{text}", {"text": text})
        return self


class TokenizeOptions(Settings):
    """Options that may change without making the tokens again."""

    tokenizer_check: int | None = 2000


class LearnedTokenizer(TrainedTokenizer):
    """Frozen settings of a tokenizer that is learned here: with the text that it learns from."""

    source: TextSource


TokenizerSettings: TypeAlias = Annotated[
    Annotated[LearnedTokenizer, Tag("trained")] | Annotated[ReadyTokenizer, Tag("ready")],
    Discriminator(kind_of_tokenizer),
]
TokenizerFile = RootModel[TokenizerSettings]
