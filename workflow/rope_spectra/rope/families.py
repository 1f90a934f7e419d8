"""The families of spectra: each one pure function in float64 of K, the number of rotary pairs, and its parameters.

RoPE turns pair k of a head by the angle omega_k * distance; a family says how omega_0..omega_{K-1} are distributed. Definitions:
protocol.md section 2. A family over another spectrum takes that one's definition, such as {family: geometric, theta: 10000.0}.
Adding one: write the function, register it in FAMILIES, describe its parameters in workflow/schemas/config.schema.yaml.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rope_spectra.rope.diagnostics import wavelengths

Spectrum = NDArray[np.float64]
Definition = dict[str, Any]


def geometric(pairs: int, theta: float) -> Spectrum:
    """omega_k = theta^(-k/K), radians per token: standard RoPE (Su et al. 2021)."""
    return theta ** -(np.arange(pairs) / pairs)


def _end_points(pairs: int, theta: float, omf: float) -> tuple[float, float]:
    """Logarithms of the fastest and the slowest frequency: 1 and omf times that of the geometric spectrum."""
    omega = geometric(pairs, theta)
    return float(np.log(omega[0])), float(np.log(omf * omega[-1]))


def anchored_poly(pairs: int, theta: float, p: float, omf: float) -> Spectrum:
    """log omega = log a + t^p (log b - log a), t = k/(K-1): keeps many fast pairs, both ends anchored."""
    t = np.linspace(0.0, 1.0, pairs)
    log_a, log_b = _end_points(pairs, theta, omf)
    return np.exp(log_a + t**p * (log_b - log_a))


def sigmoid(pairs: int, theta: float, steepness: float, midpoint: float, omf: float) -> Spectrum:
    """log omega = log a + S(t) (log b - log a), S = 1/(1 + exp(-steepness (t - midpoint))); not anchored: omega_0 < 1."""
    t = np.linspace(0.0, 1.0, pairs)
    log_a, log_b = _end_points(pairs, theta, omf)
    return np.exp(log_a + (log_b - log_a) / (1.0 + np.exp(-steepness * (t - midpoint))))


def mix(pairs: int, alpha: float, a: Definition, b: Definition) -> Spectrum:
    """omega = (1 - alpha) A + alpha B, linear in omega, of two spectra: the study's hybrid."""
    return (1.0 - alpha) * omega(a, pairs) + alpha * omega(b, pairs)


def values(pairs: int, inv_freq: list[float]) -> Spectrum:
    """A spectrum given number by number; its length must be K."""
    if len(inv_freq) != pairs:
        raise ValueError(f"{len(inv_freq)} frequencies for {pairs} rotary pairs")
    return np.array(inv_freq, dtype=np.float64)


def _midpoints(pairs: int) -> Spectrum:
    """u_k = (k + 1/2)/K, the middles of K equal parts of 0..1."""
    return (np.arange(pairs) + 0.5) / pairs


def midpoint(pairs: int, theta: float) -> Spectrum:
    """omega_k = theta^(-u), u = (k + 1/2)/K: geometric on the midpoints, not standard RoPE; the control beside evq_cosh."""
    return theta ** -_midpoints(pairs)


def evq_cosh(pairs: int, theta: float, tau: float) -> Spectrum:
    """omega = theta^(-phi), phi = 1 - asinh((1-u) sinh tau)/tau, u = (k + 1/2)/K (EVQ-Cosh, as protocol.md section 2 gives it).

    The larger tau, the closer phi stays to 0 and the more pairs are fast; tau -> 0 is the `midpoint` spectrum.
    """
    return theta ** -(1.0 - np.arcsinh((1.0 - _midpoints(pairs)) * np.sinh(tau)) / tau)


def truncate(pairs: int, of: Definition, length: int) -> Spectrum:
    """Pairs of a spectrum whose wavelength 2 pi/omega exceeds `length` tokens do not rotate (0); the others are kept.

    In the manner of p-RoPE (Barbero et al. 2024), FoPE (Hua et al. 2024) and HoPE (Chen et al. 2024), which drop the slow pairs.
    """
    kept = omega(of, pairs)
    return np.where(wavelengths(kept) > length, 0.0, kept)


def ntk(pairs: int, theta: float, factor: float) -> Spectrum:
    """The geometric spectrum of base theta * factor^(d/(d-2)), d = 2K: NTK-aware scaling, here from the first step of training.

    It slows pair k by factor^(k/(K-1)): the fastest not at all, the slowest by the whole factor (bloc97 2023; Peng et al. 2023).
    """
    return slowed(geometric(pairs, theta), factor)


def slowed(omega: Spectrum, factor: float) -> Spectrum:
    """omega_k * factor^(-k/(K-1)); of a geometric spectrum the same as theta -> theta * factor^(d/(d-2))."""
    return omega * factor ** -np.linspace(0.0, 1.0, len(omega))


def resonance(pairs: int, of: Definition, length: int) -> Spectrum:
    """The wavelengths of a spectrum's trained pairs, those up to `length` tokens, rounded to whole tokens (at least 1).

    Such a pair returns to the angles seen in training after each turn (Resonance RoPE, Wang et al. 2024, arXiv 2403.00071).
    """
    original = omega(of, pairs)
    wavelength = wavelengths(original)
    whole = np.maximum(np.round(wavelength), 1.0)
    return np.where(wavelength <= length, 2 * np.pi / whole, original)


FAMILIES: dict[str, Callable[..., Spectrum]] = {
    "geometric": geometric,
    "anchored_poly": anchored_poly,
    "sigmoid": sigmoid,
    "mix": mix,
    "values": values,
    "midpoint": midpoint,
    "evq_cosh": evq_cosh,
    "truncate": truncate,
    "ntk": ntk,
    "resonance": resonance,
}


def omega(definition: Definition, pairs: int) -> Spectrum:
    """The spectrum [K] that a complete definition means, in float64, radians per token."""
    parameters = {key: value for key, value in definition.items() if key not in ("family", "name")}
    return FAMILIES[definition["family"]](pairs, **parameters)
