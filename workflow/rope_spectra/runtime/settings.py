"""The base of all typed settings: unknown keys are errors, nothing is converted in silence.

The models that describe config.yaml and the frozen files of jobs are made of these. Imports nothing
heavy.
"""

import os
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from rope_spectra.runtime.foreign import printable
from rope_spectra.runtime.names import OF_EXPERIMENT, PATTERN

S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """One mapping of keys to values; each field describes its key: default, limits, meaning."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        regex_engine="python-re",  # the pattern of names looks ahead, which pydantic's own cannot
    )

    def content(self) -> dict[str, Any]:
        """The plain values as JSON and YAML hold them: equal settings give equal content."""
        return self.model_dump(mode="json")

    def as_yaml(self) -> str:
        """The values as config.yaml could have them."""
        import yaml

        return yaml.safe_dump(
            self.content(), sort_keys=False, allow_unicode=True, default_flow_style=None, width=90
        ).rstrip()

    def part(self, model: type[S]) -> S:
        """The keys that `model`, a base class of this one, describes."""
        return model(**{key: getattr(self, key) for key in model.model_fields})


class Section(Settings, use_attribute_docstrings=True):
    """A mapping of config.yaml; the text below a key is its description on the page and schema."""


class Record(BaseModel):
    """The report of a step about its work; keys that this version does not know are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def content(self) -> dict[str, Any]:
        """The plain values as JSON holds them."""
        return self.model_dump(mode="json")


def _distinct(values: list[Any]) -> list[Any]:
    for index, value in enumerate(values):
        if value in values[:index]:
            text = f"{value!r} is given twice; give it once"
            raise PydanticCustomError("mistake", "{text}", {"text": text})
    return values


def _label(text: str) -> str:
    if not text.strip() or len(text) > 60 or not text.isprintable():
        mistake = f"{text!r:.80} is no label; give it 1 to 60 letters in one line"
        raise PydanticCustomError("mistake", "{text}", {"text": mistake})
    return text.strip()


Distinct = AfterValidator(_distinct)
Name = Annotated[str, StringConstraints(pattern=PATTERN)]
# Of an experiment, or of a part of a search: `search/round0`.
ExperimentName = Annotated[str, StringConstraints(pattern=OF_EXPERIMENT)]
# Unlike Path.expanduser this leaves ./ and an unknown ~user as they are.
PathText = Annotated[
    str, StringConstraints(pattern=r"^[^\x00]+$"), AfterValidator(os.path.expanduser)
]
Printable = Annotated[str, AfterValidator(printable)]
Label = Annotated[str, AfterValidator(_label)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
