"""The families of spectra: distributions of the rotary frequencies of a head.

RoPE turns pair k of a head by the angle omega_k * distance, k = 0..K-1, K = head_dim / 2. Only the
vector omega is designed here.
A family is a model of its parameters with its formula, pure and in float64. docs/protocol.md
section 2 has the definitions.

Adding one: write the class and name it in `Spectrum`. The schema, the reference and every check
learn of it from there.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias, get_args

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from rope_spectra.runtime.lazy import Lazy
from rope_spectra.runtime.settings import Name, Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = Lazy("numpy")

Omega: TypeAlias = "NDArray[np.float64]"

Theta = Annotated[float, Field(gt=1, description="Base of the rotary frequencies")]
EndsTheta = Annotated[
    float, Field(gt=1, description="Base of the geometric spectrum whose ends it takes")
]
SlowEnd = Annotated[
    float, Field(gt=0, description="Slowest frequency relative to the geometric one")
]


class Family(Settings):
    """A spectrum, defined by its family and parameters."""

    family: str

    def omega(self, pairs: int) -> Omega:
        """The frequencies [pairs] in float64, radians per token; the definition is `completed`."""
        raise NotImplementedError

    def inner(self) -> Iterator[tuple[str, "Family"]]:
        """The spectra inside this one, by key: a and b of a mix, `of` of what changes another."""
        for key in type(self).model_fields:
            value = getattr(self, key)
            if isinstance(value, Family):
                yield key, value

    def completed(self, head_dim: int, train_length: int) -> Self:
        """The definition for one experiment, whose sizes fill in the numbers left open (null)."""
        parts = {key: part.completed(head_dim, train_length) for key, part in self.inner()}
        return self.model_copy(update=parts)


class Geometric(Family):
    """Standard RoPE: omega_k = theta^(-k/K)"""

    # Su et al. 2021, arXiv 2104.09864.
    family: Literal["geometric"]
    theta: Theta

    def omega(self, pairs: int) -> Omega:
        return _geometric(pairs, self.theta)


class AnchoredPoly(Family):
    """log omega falls as t^p, t = k/(K-1), from the fastest geometric pair"""

    # Both ends are anchored: omega_0 = 1, omega_{K-1} = omf times that of the geometric spectrum.
    family: Literal["anchored_poly"]
    theta: EndsTheta
    p: float = Field(3.9, gt=0, description="Exponent: larger keeps more fast pairs")
    omf: SlowEnd = 0.3

    def omega(self, pairs: int) -> Omega:
        t = np.linspace(0.0, 1.0, pairs)
        log_a, log_b = _end_points(pairs, self.theta, self.omf)
        return np.exp(log_a + t**self.p * (log_b - log_a))


class Sigmoid(Family):
    """log omega falls as a sigmoid of t = k/(K-1)"""

    # Not anchored: omega_0 < 1.
    family: Literal["sigmoid"]
    theta: EndsTheta
    steepness: float = Field(8.0, description="Slope of the sigmoid")
    midpoint: float = Field(0.5, description="The t of its middle")
    omf: SlowEnd = 0.3

    def omega(self, pairs: int) -> Omega:
        t = np.linspace(0.0, 1.0, pairs)
        log_a, log_b = _end_points(pairs, self.theta, self.omf)
        falling = 1.0 + np.exp(-self.steepness * (t - self.midpoint))
        return np.exp(log_a + (log_b - log_a) / falling)


class Mix(Family):
    """omega = (1 - alpha) a + alpha b"""

    # Linear in omega; the study's hybrid.
    family: Literal["mix"]
    alpha: float = Field(ge=0, le=1, description="Share of b")
    a: "Spectrum" = Field(description="A spectrum (family and parameters)")
    b: "Spectrum" = Field(description="A spectrum (family and parameters)")

    def omega(self, pairs: int) -> Omega:
        return (1.0 - self.alpha) * self.a.omega(pairs) + self.alpha * self.b.omega(pairs)


class Values(Family):
    """A spectrum given number by number"""

    family: Literal["values"]
    inv_freq: list[Annotated[float, Field(ge=0)]] = Field(
        min_length=1,
        description=(
            "omega_0 to omega_{K-1} in radians per token, K = head_dim / 2; 0 is a pair"
            " that does not rotate"
        ),
    )

    def omega(self, pairs: int) -> Omega:
        if len(self.inv_freq) != pairs:
            raise ValueError(f"{len(self.inv_freq)} frequencies for {pairs} rotary pairs")
        return np.array(self.inv_freq, dtype=np.float64)


class Midpoint(Family):
    """omega = theta^-u on the midpoints u = (k + 1/2)/K; the control for evq_cosh"""

    family: Literal["midpoint"]
    theta: Theta

    def omega(self, pairs: int) -> Omega:
        return self.theta ** -_midpoints(pairs)


class EvqCosh(Family):
    """omega = theta^-phi, phi = 1 - asinh((1 - u) sinh tau)/tau, u = (k + 1/2)/K"""

    # The larger tau, the closer phi stays to 0 and the more pairs are fast; tau -> 0 is the
    # `midpoint` spectrum.
    family: Literal["evq_cosh"]
    theta: Theta
    tau: float | None = Field(
        None,
        ge=1e-6,
        le=100,
        description=(
            "The larger, the more pairs are fast (null is head_dim / sqrt(seq_len) of"
            " the experiment)"
        ),
    )

    def omega(self, pairs: int) -> Omega:
        assert self.tau is not None, "not completed"
        share = np.arcsinh((1.0 - _midpoints(pairs)) * np.sinh(self.tau)) / self.tau
        return self.theta ** -(1.0 - share)

    def completed(self, head_dim: int, train_length: int) -> Self:
        tau = head_dim / math.sqrt(train_length) if self.tau is None else self.tau
        return self.model_copy(update={"tau": tau})


class _OfLength(Family):
    """A change of another spectrum that depends on a length; null is the training length."""

    of: "Spectrum" = Field(description="A spectrum (family and parameters)")
    length: int | None = None

    def completed(self, head_dim: int, train_length: int) -> Self:
        length = train_length if self.length is None else self.length
        return super().completed(head_dim, train_length).model_copy(update={"length": length})


class Truncate(_OfLength):
    """A spectrum whose pairs with a wavelength above a length do not rotate"""

    # In the manner of p-RoPE (Barbero et al. 2024), FoPE (Hua et al. 2024) and HoPE (Chen et al.
    # 2024).
    family: Literal["truncate"]
    length: int | None = Field(
        None,
        ge=1,
        description=(
            "Longest wavelength that is kept, in tokens (null is seq_len of the experiment)"
        ),
    )

    def omega(self, pairs: int) -> Omega:
        assert self.length is not None, "not completed"
        kept = self.of.omega(pairs)
        return np.where(wavelengths(kept) > self.length, 0.0, kept)


class Ntk(Family):
    """Geometric with base theta * factor^(d/(d-2)), d = head_dim: NTK-aware scaling in training"""

    # Slows pair k by factor^(k/(K-1)): the fastest not at all, the slowest by the whole factor
    # (bloc97 2023; Peng et al. 2023).
    family: Literal["ntk"]
    theta: float = Field(gt=1, description="Base before scaling")
    factor: float = Field(ge=1, description="By how much the slowest pair is slowed")

    def omega(self, pairs: int) -> Omega:
        return slowed(_geometric(pairs, self.theta), self.factor)


class Resonance(_OfLength):
    """A spectrum whose trained pairs have wavelengths of whole tokens"""

    # Such a pair returns to the angles seen in training after each turn (Wang et al. 2024, arXiv
    # 2403.00071).
    family: Literal["resonance"]
    length: int | None = Field(
        None,
        ge=1,
        description=(
            "Longest wavelength that counts as trained, in tokens (null is seq_len of"
            " the experiment)"
        ),
    )

    def omega(self, pairs: int) -> Omega:
        assert self.length is not None, "not completed"
        original = self.of.omega(pairs)
        wavelength = wavelengths(original)
        whole = np.maximum(np.round(wavelength), 1.0)
        return np.where(wavelength <= self.length, 2 * np.pi / whole, original)


Spectrum = Annotated[
    Geometric
    | AnchoredPoly
    | Sigmoid
    | Mix
    | Values
    | Midpoint
    | EvqCosh
    | Truncate
    | Ntk
    | Resonance,
    Field(discriminator="family"),
]
for _recursive in (Mix, Truncate, Resonance):
    _recursive.model_rebuild()


def families() -> list[type[Family]]:
    """The families that `Spectrum` names, in its order."""
    return list(get_args(get_args(Spectrum)[0]))


class NamedSpectrum(Settings):
    """A complete spectrum with its name; in JSON one flat mapping {name, family, ...}."""

    name: Name
    shape: Spectrum

    @model_validator(mode="before")
    @classmethod
    def _unflatten(cls, value: Any) -> Any:
        if isinstance(value, dict) and "shape" not in value:
            return {
                "name": value.get("name"),
                "shape": {k: v for k, v in value.items() if k != "name"},
            }
        return value

    @model_serializer(mode="wrap")
    def _flatten(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        nested = handler(self)
        return {"name": nested["name"], **nested["shape"]}

    def inv_freq(self, head_dim: int) -> "NDArray[np.float32]":
        """The spectrum in fp32 [head_dim / 2], radians per token, as it is trained and exported."""
        return snap(self.shape.omega(head_dim // 2))


def snap(frequencies: "NDArray[np.floating]") -> "NDArray[np.float32]":
    """The nearest fp32 spectrum that survives export as factors 1/omega.

    See docs/protocol.md section 7.

    fp32 reciprocals are not onto: f = fp32(1/omega), omega = fp32(1/f) are two roundings, and doing
    it again changes nothing. A pair that does not rotate (0) stays 0.
    """
    rotating = frequencies > 0
    factors = (1.0 / np.where(rotating, frequencies, 1.0)).astype(np.float32)
    return np.where(rotating, np.float32(1.0) / factors, np.float32(0.0)).astype(np.float32)


def wavelengths(omega: "NDArray[np.floating]") -> Omega:
    """Tokens of one full turn of each pair, [K]; infinite for a pair that does not rotate."""
    omega = omega.astype(np.float64)
    return np.divide(2 * np.pi, omega, out=np.full_like(omega, np.inf), where=omega > 0)


def slowed(omega: Omega, factor: float) -> Omega:
    """omega_k * factor^(-k/(K-1)).

    For a geometric spectrum this is theta -> theta * factor^(d/(d-2)), d = 2K.
    """
    return omega * factor ** -np.linspace(0.0, 1.0, len(omega))


def _geometric(pairs: int, theta: float) -> Omega:
    return theta ** -(np.arange(pairs) / pairs)


def _end_points(pairs: int, theta: float, omf: float) -> tuple[float, float]:
    """Logarithms of the fastest frequency, 1, and of the slowest, omf times the geometric one."""
    omega = _geometric(pairs, theta)
    return float(np.log(omega[0])), float(np.log(omf * omega[-1]))


def _midpoints(pairs: int) -> Omega:
    """u_k = (k + 1/2)/K, the middles of K equal parts of 0..1."""
    return (np.arange(pairs) + 0.5) / pairs
