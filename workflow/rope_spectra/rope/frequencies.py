"""Vectors of rotary frequencies: the formulas that families and remaps share. Pure, in float64.

omega is the vector of the frequencies of a head [K], in radians per token, from fast to slow. A
pair of frequency 0 does not rotate.
"""

from typing import TYPE_CHECKING, TypeAlias

from rope_spectra.runtime.lazy import Lazy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = Lazy("numpy")

Omega: TypeAlias = "NDArray[np.float64]"


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


def slowed_by_wavelength(
    omega: Omega, factor: float, length: int, low: float = 1.0, high: float = 4.0
) -> Omega:
    """(1 - gamma) omega/factor + gamma omega, gamma = clamp((r - low) / (high - low), 0, 1).

    r = length omega/(2 pi) is the number of turns over `length` tokens: what turns less than `low`
    times is slowed by the whole factor, what turns more than `high` times not at all (Llama 3.1,
    there with 1 and 4).
    """
    turns = length * omega / (2 * np.pi)
    gamma = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return (1.0 - gamma) * omega / factor + gamma * omega


def geometric(pairs: int, theta: float) -> Omega:
    """theta^(-k/K), standard RoPE (Su et al. 2021, arXiv 2104.09864)."""
    return theta ** -(np.arange(pairs) / pairs)


def end_points(pairs: int, theta: float, omf: float) -> tuple[float, float]:
    """Logarithms of the fastest frequency, 1, and of the slowest, omf times the geometric one."""
    omega = geometric(pairs, theta)
    return float(np.log(omega[0])), float(np.log(omf * omega[-1]))


def midpoints(pairs: int) -> Omega:
    """u_k = (k + 1/2)/K, the middles of K equal parts of 0..1."""
    return (np.arange(pairs) + 0.5) / pairs
