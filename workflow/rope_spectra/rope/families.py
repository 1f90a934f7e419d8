"""The families of spectra: distributions of the rotary frequencies of a head.

RoPE turns pair k of a head by the angle omega_k * distance, k = 0..K-1, K = head_dim / 2. Only the
vector omega is designed here.
A family is a model of its parameters with its formula, pure and in float64. docs/protocol.md
section 2 has the definitions.

Adding one: write the class and name it in `Spectrum`. The schema, the reference and every check
learn of it from there.
"""

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias, get_args

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from pydantic_core import PydanticCustomError

from rope_spectra.rope.family import Family, OfLength, OfTheta
from rope_spectra.rope.frequencies import (
    Omega,
    end_points,
    geometric,
    midpoints,
    slowed,
    slowed_by_wavelength,
    snap,
    wavelengths,
)
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.lazy import Lazy
from rope_spectra.runtime.settings import Name, Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = Lazy("numpy")

Share = Annotated[float, Field(gt=0, le=1)]
SlowEnd = Annotated[
    float, Field(gt=0, description="Slowest frequency relative to the geometric one")
]


class Geometric(OfTheta):
    """Standard RoPE: omega_k = theta^(-k/K)"""

    # Su et al. 2021, arXiv 2104.09864.
    family: Literal["geometric"]

    def omega(self, pairs: int) -> Omega:
        return geometric(pairs, self.base)


class AnchoredPoly(OfTheta):
    """log omega falls as t^p, t = k/(K-1), from the fastest geometric pair"""

    # Both ends are anchored: omega_0 = 1, omega_{K-1} = omf times that of the geometric spectrum.
    family: Literal["anchored_poly"]
    p: float = Field(3.9, gt=0, description="Exponent: larger keeps more fast pairs")
    omf: SlowEnd = 0.3

    def omega(self, pairs: int) -> Omega:
        t = np.linspace(0.0, 1.0, pairs)
        log_a, log_b = end_points(pairs, self.base, self.omf)
        return np.exp(log_a + t**self.p * (log_b - log_a))


class Sigmoid(OfTheta):
    """log omega falls as a sigmoid of t = k/(K-1)"""

    # Not anchored: omega_0 < 1.
    family: Literal["sigmoid"]
    steepness: float = Field(8.0, description="Slope of the sigmoid")
    midpoint: float = Field(0.5, description="The t of its middle")
    omf: SlowEnd = 0.3

    def omega(self, pairs: int) -> Omega:
        t = np.linspace(0.0, 1.0, pairs)
        log_a, log_b = end_points(pairs, self.base, self.omf)
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


class Midpoint(OfTheta):
    """omega = theta^-u on the midpoints u = (k + 1/2)/K; the control for evq_cosh"""

    family: Literal["midpoint"]

    def omega(self, pairs: int) -> Omega:
        return self.base ** -midpoints(pairs)


class EvqCosh(OfTheta):
    """omega = theta^-phi, phi = 1 - asinh((1 - u) sinh tau)/tau, u = (k + 1/2)/K"""

    # The larger tau, the closer phi stays to 0 and the more pairs are fast; tau -> 0 is the
    # `midpoint` spectrum.
    family: Literal["evq_cosh"]
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
        share = np.arcsinh((1.0 - midpoints(pairs)) * np.sinh(self.tau)) / self.tau
        return self.base ** -(1.0 - share)

    def completed(self, head_dim: int, train_length: int) -> Self:
        tau = head_dim / math.sqrt(train_length) if self.tau is None else self.tau
        return super().completed(head_dim, train_length).model_copy(update={"tau": tau})


class Truncate(OfLength):
    """A spectrum whose pairs with a wavelength above a length do not rotate"""

    # In the manner of p-RoPE (Barbero et al. 2024), FoPE (Hua et al. 2024) and HoPE (Chen et al.
    # 2024).
    family: Literal["truncate"]
    of: "Spectrum" = Field(description="A spectrum (family and parameters)")
    length: int | None = Field(
        None,
        ge=1,
        description=(
            "Longest wavelength that is kept, in tokens (null is seq_len of the experiment)"
        ),
    )

    def omega(self, pairs: int) -> Omega:
        kept = self.of.omega(pairs)
        return np.where(wavelengths(kept) > self.tokens, 0.0, kept)


class Ntk(OfTheta):
    """Geometric with base theta * factor^(d/(d-2)), d = head_dim: NTK-aware scaling in training"""

    # Slows pair k by factor^(k/(K-1)): the fastest not at all, the slowest by the whole factor
    # (bloc97 2023; Peng et al. 2023).
    family: Literal["ntk"]
    factor: float = Field(ge=1, description="By how much the slowest pair is slowed")

    def omega(self, pairs: int) -> Omega:
        return slowed(geometric(pairs, self.base), self.factor)


class LogSpaced(OfTheta):
    """omega_k = theta^(-k/(K-1)): log omega in equal steps from 1 to 1/theta, both included"""

    family: Literal["log_spaced"]

    def omega(self, pairs: int) -> Omega:
        return self.base ** -np.linspace(0.0, 1.0, pairs)


class Llama3(OfTheta, OfLength):
    """Geometric with its slow pairs slowed by a factor: Llama 3.1's scaling in training"""

    # Its fast pairs stay; what lies between is interpolated by the number of turns.
    family: Literal["llama3"]
    factor: float = Field(8.0, ge=1, description="By how much the slow pairs are slowed")
    low_freq_factor: float = Field(
        1.0, gt=0, description="Turns over length below which a pair is slowed by the whole factor"
    )
    high_freq_factor: float = Field(
        4.0, gt=0, description="Turns over length above which a pair stays; above low_freq_factor"
    )
    length: int | None = Field(
        None,
        ge=1,
        description=(
            "original_max_position_embeddings, in tokens (null is seq_len of the experiment)"
        ),
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high_freq_factor <= self.low_freq_factor:
            mistake = (
                f"high_freq_factor: {self.high_freq_factor:g} is too small; it must be above"
                f" low_freq_factor, {self.low_freq_factor:g}"
            )
            raise PydanticCustomError("mistake", "{text}", {"text": mistake})
        return self

    def omega(self, pairs: int) -> Omega:
        slow, fast = self.low_freq_factor, self.high_freq_factor
        omega = geometric(pairs, self.base)
        return slowed_by_wavelength(omega, self.factor, self.tokens, slow, fast)


class LongRope(OfTheta):
    """Geometric, each pair divided by a factor of its own: LongRoPE with given factors"""

    # Ding et al. 2024, arXiv 2402.13753. Factors are found by a search on one model.
    family: Literal["longrope"]
    factors: list[Annotated[float, Field(gt=0)]] = Field(
        min_length=1, description="By how much each pair is slowed, K = head_dim / 2 numbers"
    )

    def omega(self, pairs: int) -> Omega:
        if len(self.factors) != pairs:
            raise ValueError(f"{len(self.factors)} factors for {pairs} rotary pairs")
        return geometric(pairs, self.base) / np.array(self.factors, dtype=np.float64)


class Nope(Family):
    """No pair rotates: attention is told nothing of positions"""

    # Kazemnejad et al. 2023, arXiv 2305.19466.
    family: Literal["nope"]

    def omega(self, pairs: int) -> Omega:
        return np.zeros(pairs)


class _OfShare(Family):
    """A change of another spectrum that concerns a share of the pairs."""

    of: "Spectrum" = Field(description="A spectrum (family and parameters)")

    share: Share

    def count(self, pairs: int) -> int:
        """The share in whole pairs: the nearest number, half a pair is one, and at least one."""
        return max(1, math.floor(self.share * pairs + 0.5))


class Partial(_OfShare):
    """Partial rotary: a spectrum on a share of the pairs, as in a head of that size"""

    # GPT-NeoX and Pythia have 0.25. The other pairs do not rotate.
    family: Literal["partial"]
    share: Share = Field(description="Share of the pairs that rotate, to the nearest whole pair")

    def pairs_inside(self, pairs: int) -> int:
        return self.count(pairs)

    def omega(self, pairs: int) -> Omega:
        rotating = self.of.omega(self.count(pairs))
        return np.concatenate([rotating, np.zeros(pairs - len(rotating))])


class Stilled(_OfShare):
    """A spectrum whose last pairs, the slowest, do not rotate"""

    # p-RoPE (Barbero et al. 2024, arXiv 2410.06205), and the hard clip beside CoPE (arXiv
    # 2602.05258). `truncate` stills by wavelength instead.
    family: Literal["stilled"]
    share: Share = Field(description="Share of the pairs that stand still, to the nearest pair")

    def omega(self, pairs: int) -> Omega:
        last = self.count(pairs)
        return np.concatenate([self.of.omega(pairs)[:-last], np.zeros(last)])


class Taper(_OfShare):
    """A spectrum whose last pairs, the slowest, fade to 0: times (1 + cos(0..pi)) / 2"""

    # The soft clip of CoPE (arXiv 2602.05258), which tapers 20 of 64 pairs.
    family: Literal["taper"]
    share: Share = Field(description="Share of the pairs that fade, to the nearest whole pair")

    def omega(self, pairs: int) -> Omega:
        last = self.count(pairs)
        # Rounded, so that the last pair stands still whatever a platform takes for cos(pi).
        fading = np.round(0.5 * (1.0 + np.cos(np.linspace(0.0, np.pi, last))), 15)
        return self.of.omega(pairs) * np.concatenate([np.ones(pairs - last), fading])


class Resonance(OfLength):
    """A spectrum whose trained pairs have wavelengths of whole tokens"""

    # Such a pair returns to the angles seen in training after each turn (Wang et al. 2024, arXiv
    # 2403.00071).
    family: Literal["resonance"]
    of: "Spectrum" = Field(description="A spectrum (family and parameters)")
    length: int | None = Field(
        None,
        ge=1,
        description=(
            "Longest wavelength that counts as trained, in tokens (null is seq_len of"
            " the experiment)"
        ),
    )

    def omega(self, pairs: int) -> Omega:
        original = self.of.omega(pairs)
        wavelength = wavelengths(original)
        whole = np.maximum(np.round(wavelength), 1.0)
        return np.where(wavelength <= self.tokens, 2 * np.pi / whole, original)


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
    | LogSpaced
    | Llama3
    | LongRope
    | Nope
    | Partial
    | Stilled
    | Taper
    | Resonance,
    Field(discriminator="family"),
]
for _recursive in (Mix, Truncate, Partial, Stilled, Taper, Resonance):
    _recursive.model_rebuild()


def families() -> list[type[Family]]:
    """The families that `Spectrum` names, in its order."""
    return list(get_args(get_args(Spectrum)[0]))


class Proposed(Family):
    """The place of a spectrum that a search has not proposed yet; only candidates.json knows it."""

    family: Literal["proposed"] = "proposed"

    def omega(self, pairs: int) -> Omega:  # noqa: ARG002
        raise UserError(
            "family: proposed stands for a spectrum that a search has yet to propose, which has no"
            " frequencies; take the settings that Snakemake makes of its candidates.json"
        )


Shape: TypeAlias = Annotated[Spectrum | Proposed, Field(discriminator="family")]


class NamedSpectrum(Settings):
    """A complete spectrum with its name; in JSON one flat mapping {name, family, ...}."""

    name: Name
    shape: Shape

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
