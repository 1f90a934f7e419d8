"""The hypotheses of an experiment: predictions about its spectra that its runs can refute.

A prediction is about two arms (`geo_10k better than geo_500k`), or about a diagnostic of the
spectra (columns of spectra.csv) and a measure: which sign their rank correlation has.
"""

from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag
from pydantic_core import PydanticCustomError

from rope_spectra.runtime.settings import Section

# The fewest spectra of which a perfect order comes up by chance in less than 5 % (2 / 5!).
FEWEST_SPECTRA = 5

Measure: TypeAlias = Literal["degradation", "ppl", "retrieval"]
Sign: TypeAlias = Literal["positive", "negative"]

Outcome: TypeAlias = Literal["better", "worse", "equivalent"]

_BETWEEN: dict[Outcome, str] = {
    "better": " better than ",
    "worse": " worse than ",
    "equivalent": " equivalent to ",
}


class Claim(NamedTuple):
    """Two arms by their names in the config, and what the first is expected to be."""

    arm: str
    expected: Outcome
    other: str


def parse_claim(text: str) -> Claim:
    """The parts of a claim; ValueError for text that is none."""
    for expected, words in _BETWEEN.items():
        arm, between, other = text.partition(words)
        if between and arm.strip() and other.strip():
            return Claim(arm.strip(), expected, other.strip())
    raise ValueError(f"{text!r} is no claim; write `a better than b`, worse than or equivalent to")


def _is_claim(text: str) -> str:
    try:
        parse_claim(text)
    except ValueError as mistake:
        raise PydanticCustomError("mistake", "{text}", {"text": str(mistake)}) from None
    return text


class _Prediction(Section):
    source: Annotated[str, StringConstraints(min_length=1)]
    """Who predicts it, and where"""
    measure: Measure | None = None
    """What it is about: degradation, ppl, or retrieval, the accuracy of the retrieval probe (null
    is the metric of the primary endpoint, or ppl)"""
    length: Annotated[int, Field(ge=2)] | None = None
    """Evaluation length in tokens (null is that of the endpoint)"""


class ContrastHypothesis(_Prediction):
    """A prediction about two arms of the experiment."""

    claim: Annotated[str, AfterValidator(_is_claim)]
    """`a better than b`, `a worse than b` or `a equivalent to b`, of two spectra; `a+yarn` is one
    under a remap"""

    @property
    def parts(self) -> Claim:
        """The two arms and the expectation."""
        return parse_claim(self.claim)


class DiagnosticHypothesis(_Prediction):
    """A prediction about the order of all spectra of the experiment."""

    diagnostic: str
    """A column of spectra.csv"""
    sign: Sign
    """Expected sign of its rank correlation with the measure over the spectra"""


def _kind(value: Any) -> str:
    """The tag of a hypothesis, told by its keys: a mistake is then one of that kind."""
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", ())
    return "diagnostic" if {"diagnostic", "sign"} & set(keys) else "contrast"


Hypothesis: TypeAlias = Annotated[
    Annotated[ContrastHypothesis, Tag("contrast")]
    | Annotated[DiagnosticHypothesis, Tag("diagnostic")],
    Discriminator(_kind),
]
