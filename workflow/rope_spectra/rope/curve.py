"""Spectra as monotone curves of log wavelength through a few knots: the shapes that a search tries.

The knots are evenly spaced over the rotating pairs, from the fastest to the slowest; between them
log wavelength is a monotone cubic (PCHIP, Fritsch and Carlson 1980). The slowest pairs may stand
still. Pure.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator

from rope_spectra.rope.frequencies import Omega

FEWEST_KNOTS = 2


def stilled_pairs(share: float, pairs: int) -> int:
    """A share of the pairs of a head in whole pairs: the nearest number, half a pair is one."""
    return math.floor(share * pairs + 0.5)


def inv_freq(knots: ArrayLike, pairs: int, stilled: float = 0.0) -> Omega:
    """The frequencies [pairs] of a curve, radians per token; the last `stilled` share of them is 0.

    knots: wavelengths [n] in tokens, n >= 2, none below the one before. A single rotating pair has
    the wavelength of the first knot. Raises ValueError for knots that are no curve.
    """
    log_wavelength = np.log(np.asarray(knots, dtype=np.float64))
    if len(log_wavelength) < FEWEST_KNOTS or (np.diff(log_wavelength) < 0).any():
        raise ValueError("a curve needs two wavelengths or more, none below the one before")
    still = stilled_pairs(stilled, pairs)
    curve = PchipInterpolator(np.linspace(0.0, 1.0, len(log_wavelength)), log_wavelength)
    rotating = 2 * np.pi / np.exp(curve(np.linspace(0.0, 1.0, pairs - still)))
    return np.concatenate([rotating, np.zeros(still)])


def from_unit(point: ArrayLike, shortest: float, longest: float) -> NDArray[np.float64]:
    """The knots [n], wavelengths in tokens, of a point [n] of the unit box.

    Every point is a curve that does not fall and lies within the two wavelengths. A coordinate u is
    the step from the knot before: the share 1 - (1 - u)^(1/m) of the room that is left, with m
    knots still to come. So points that are spread evenly over the box are curves spread evenly over
    all monotone ones (their knots are order statistics: Devroye 1986, chapter V), and the middle of
    the box is close to a geometric spectrum.
    """
    u = np.asarray(point, dtype=np.float64)
    left = (1.0 - u) ** (1.0 / np.arange(len(u), 0, -1))
    height = 1.0 - np.cumprod(left)
    return np.asarray(shortest * (longest / shortest) ** height, dtype=np.float64)
