"""The space of a search: curves of log wavelength as points of the unit box. Pure.

The coordinates are a step for each knot (rope/curve.py) and, unless it is fixed, the share of the
pairs that stand still.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rope_spectra.rope import curve

# A coordinate for each of `Space.names`, 0..1.
Point: TypeAlias = tuple[float, ...]

# fp32 holds seven digits; six are enough to tell spectra apart, and can be read.
_DIGITS = 6


@dataclass(frozen=True)
class Shape:
    """A candidate in the terms of its space: wavelengths at the knots in tokens, stilled share."""

    wavelengths: tuple[float, ...]
    stilled: float


@dataclass(frozen=True)
class Space:
    """Curves with so many knots between two wavelengths in tokens, and a range of stilled shares.

    A range of one number fixes the share; it is no coordinate then.
    """

    knots: int
    shortest: float
    longest: float
    stilled: tuple[float, float] = (0.0, 0.0)

    @property
    def names(self) -> list[str]:
        """The names of the coordinates, in the order of a point."""
        steps = [f"knot{number}" for number in range(self.knots)]
        return steps if self._fixed else [*steps, "stilled"]

    def shape(self, point: Sequence[float]) -> Shape:
        """The knots and the stilled share of a point."""
        wavelengths = curve.from_unit(point[: self.knots], self.shortest, self.longest)
        low, high = self.stilled
        share = low if self._fixed else low + point[self.knots] * (high - low)
        return Shape(tuple(wavelengths.tolist()), share)

    def inv_freq(self, point: Sequence[float], pairs: int) -> list[float]:
        """The frequencies of a point as family `values` takes them, [pairs], in six digits."""
        shape = self.shape(point)
        exact = curve.inv_freq(shape.wavelengths, pairs, shape.stilled)
        return [float(f"{omega:.{_DIGITS}g}") for omega in exact]

    @property
    def _fixed(self) -> bool:
        low, high = self.stilled
        return low == high
