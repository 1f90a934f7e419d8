"""Changes of a trained spectrum at evaluation time, for lengths beyond that of training. Pure.

Each takes the trained frequencies omega [K] in radians per token and the scale s = L / L_train > 1,
and gives the frequencies to evaluate with. float64 throughout; the result is rounded to fp32 once
and not snapped, for it is never exported. On geometric spectra they equal transformers'
ROPE_INIT_FUNCTIONS; on others they do the same to each pair. docs/protocol.md section 2 has the
definitions.
"""

import numpy as np
from numpy.typing import NDArray

from rope_spectra.rope.families import Omega, slowed

# YaRN's beta_slow and beta_fast, in turns over the training length: a pair below the first is
# interpolated in full, one above the second is left alone.
SLOW_TURNS = 1.0
FAST_TURNS = 32.0


def position_interpolation(omega: Omega, scale: float) -> Omega:
    """omega / s: the positions of a text are squeezed into those of training (Chen et al. 2023)."""
    return omega / scale


def ntk_aware(omega: Omega, scale: float) -> Omega:
    """omega_k * s^(-2k/(d-2)), d = 2K (bloc97 2023).

    Of a geometric spectrum it is theta -> theta * s^(d/(d-2)), as the method was first defined;
    pair by pair it applies to all spectra.
    """
    return slowed(omega, scale)


def dynamic_ntk(omega: Omega, scale: float) -> Omega:
    """NTK-aware with s L/L_train - (s - 1) = s^2 - s + 1 in place of s: stronger (emozilla 2023).

    It is transformers' `dynamic`. There `factor` is what the model was set up for and L the length
    of the text; here both are the evaluated length. With factor 1 it would be ntk_aware.
    """
    return slowed(omega, scale**2 - scale + 1.0)


def yarn(omega: Omega, scale: float, train_length: int) -> Omega:
    """(1 - gamma) omega/s + gamma omega, gamma = clamp(log r / log 32, 0, 1) (Peng et al. 2023).

    r = L_train omega/(2 pi) is the number of turns over the training length: fast pairs stay, slow
    ones are interpolated. transformers (truncate: false) bounds the ramp by the ends of a geometric
    spectrum: it is equal where those turn more than 32 times and less than once.
    """
    turns = np.maximum(train_length * omega / (2 * np.pi), SLOW_TURNS)
    gamma = np.minimum(np.log(turns / SLOW_TURNS) / np.log(FAST_TURNS / SLOW_TURNS), 1.0)
    return (1.0 - gamma) * omega / scale + gamma * omega


def attention_factor(remap: str, scale: float) -> float:
    """The factor of cos and sin: 0.1 ln s + 1 for yarn, which sharpens attention; 1 otherwise."""
    return 0.1 * float(np.log(scale)) + 1.0 if remap == "yarn" else 1.0


def changes(remap: str, length: int, train_length: int) -> bool:
    """True if a remap does anything at a length: all but `none` do, beyond the training length."""
    return remap != "none" and length > train_length


def remapped(
    trained: NDArray[np.float32], remap: str, length: int, train_length: int
) -> tuple[NDArray[np.float32], float]:
    """The frequencies [K] in fp32 and the attention factor for an evaluation at `length` tokens."""
    if not changes(remap, length, train_length):
        return trained, 1.0
    omega = trained.astype(np.float64)
    scale = length / train_length
    match remap:
        case "pi":
            omega = position_interpolation(omega, scale)
        case "ntk":
            omega = ntk_aware(omega, scale)
        case "dynamic_ntk":
            omega = dynamic_ntk(omega, scale)
        case "yarn":
            omega = yarn(omega, scale, train_length)
        case _:
            raise ValueError(f"unknown remap {remap!r}")
    return omega.astype(np.float32), attention_factor(remap, scale)
