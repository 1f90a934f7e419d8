"""The base of all families of spectra, and the numbers that they leave to an experiment."""

import re
from collections.abc import Iterator
from typing import Annotated, Self, TypeAlias

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from rope_spectra.rope.frequencies import Omega
from rope_spectra.runtime import messages
from rope_spectra.runtime.settings import Label, Settings

_OF_TRAIN_LENGTH = r"train_length(?:([*/])([1-9][0-9]{0,5}))?"


def _base(text: str) -> str:
    if re.fullmatch(_OF_TRAIN_LENGTH, text) is None:
        hint = messages.number_hint(text, whole=False) or (
            "; write train_length, or with a whole number train_length*4 or train_length/4"
        )
        mistake = f"{text!r:.80} is text, not a number{hint}"
        raise PydanticCustomError("mistake", "{text}", {"text": mistake})
    return text


Base: TypeAlias = (
    Annotated[float, Field(gt=1)]
    | Annotated[
        str,
        AfterValidator(_base),
        WithJsonSchema({"type": "string", "pattern": f"^{_OF_TRAIN_LENGTH}$"}),
    ]
)


class Family(Settings):
    """A spectrum, defined by its family and parameters."""

    family: str
    # Never frozen: a label changes no training. That of a spectrum inside another has no effect.
    label: Label | None = Field(
        None,
        exclude=True,
        description="Shown in figures, tables and pages instead of the name",
    )

    def omega(self, pairs: int) -> Omega:
        """The frequencies [pairs] in float64, radians per token; the definition is `completed`."""
        raise NotImplementedError

    def inner(self) -> Iterator[tuple[str, "Family"]]:
        """The spectra inside this one, by key: a and b of a mix, `of` of what changes another."""
        for key in type(self).model_fields:
            value = getattr(self, key)
            if isinstance(value, Family):
                yield key, value

    def pairs_inside(self, pairs: int) -> int:
        """The number of pairs of the spectra inside this one, if it has so many itself."""
        return pairs

    def completed(self, head_dim: int, train_length: int) -> Self:
        """The definition for one experiment, whose sizes fill in the numbers left open.

        Those are null, or a theta in terms of the training length. It has no label.
        """
        inside = 2 * self.pairs_inside(head_dim // 2)
        parts = {key: part.completed(inside, train_length) for key, part in self.inner()}
        return self.model_copy(update={**parts, "label": None})


class OfTheta(Family):
    """A spectrum with a base."""

    theta: Base = Field(
        description=(
            "Base of the rotary frequencies, above 1; train_length is seq_len of the experiment,"
            " and train_length*4 or train_length/4 goes with it"
        )
    )

    @property
    def base(self) -> float:
        """theta as a number. Raises ValueError if a short training length has made it too small."""
        assert isinstance(self.theta, float), "not completed"
        if self.theta <= 1:
            raise ValueError(f"theta: {self.theta:g} is too small; it must be above 1")
        return self.theta

    def completed(self, head_dim: int, train_length: int) -> Self:
        completed = super().completed(head_dim, train_length)
        return completed.model_copy(update={"theta": in_tokens(self.theta, train_length)})


def in_tokens(theta: float | str, train_length: int) -> float:
    """A base as a number: train_length, train_length*4 and train_length/4 by the length given."""
    if not isinstance(theta, str):
        return theta
    parts = re.fullmatch(_OF_TRAIN_LENGTH, theta)
    assert parts is not None, "validated"
    sign, number = parts.groups(default="1")
    return train_length / int(number) if sign == "/" else float(train_length * int(number))


class OfLength(Family):
    """A spectrum that depends on a length in tokens; null is the training length."""

    length: int | None = None

    @property
    def tokens(self) -> int:
        """The length as a number."""
        assert self.length is not None, "not completed"
        return self.length

    def completed(self, head_dim: int, train_length: int) -> Self:
        length = train_length if self.length is None else self.length
        return super().completed(head_dim, train_length).model_copy(update={"length": length})
