"""Changes of a trained spectrum at evaluation time, for lengths beyond that of training. Pure.

A remap takes the trained frequencies omega [K] in radians per token and a scale s > 1, and gives
the frequencies to evaluate with. Its name says where the scale comes from: `yarn` takes
s = L / L_train at each length, which only an oracle knows; `yarn@8` has the factor 8 whatever the
length, as models are deployed.

float64 throughout; the result is rounded to fp32 once and not snapped, for it is never exported. On
geometric spectra they equal transformers' ROPE_INIT_FUNCTIONS; on others they do the same to each
pair. docs/protocol.md section 2 has the definitions.
"""

from typing import TYPE_CHECKING

from rope_spectra.rope.frequencies import Omega, slowed, slowed_by_wavelength
from rope_spectra.runtime import messages
from rope_spectra.runtime.lazy import Lazy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = Lazy("numpy")

METHODS = ("none", "pi", "ntk", "dynamic_ntk", "yarn", "yarn_untruncated", "llama3")
MAX_FACTOR = 1024.0
# The names of METHODS but `none`, with a factor, as editors check them.
PATTERN = rf"^({'|'.join(METHODS[1:])})@[0-9]+(\.[0-9]+)?$"

# YaRN's beta_slow and beta_fast, in turns over the training length: a pair below the first is
# interpolated in full, one above the second is left alone.
SLOW_TURNS = 1.0
FAST_TURNS = 32.0


def parse(name: str) -> tuple[str, float | None]:
    """The method of a remap, and its factor; None where the factor follows the length.

    Raises ValueError, which says what would be right.
    """
    method, at, text = name.partition("@")
    if method not in METHODS:
        raise ValueError(messages.unknown("remap", method, METHODS))
    if not at:
        return method, None
    if method == "none":
        raise ValueError(f"{name!r}: none has no factor; write none")
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    # One remap, one name: eval.csv and the contrasts find it by that.
    if not 1.0 < factor <= MAX_FACTOR or text != f"{factor:g}":
        raise ValueError(
            f"{name!r}: the factor is not a plain number above 1, at most {MAX_FACTOR:g};"
            f" write it as {method}@8 or {method}@2.5"
        )
    return method, factor


def position_interpolation(omega: Omega, scale: float) -> Omega:
    """omega / s: the positions of a text are squeezed into those of training (Chen et al. 2023)."""
    return omega / scale


def ntk_aware(omega: Omega, scale: float) -> Omega:
    """omega_k * s^(-2k/(d-2)), d = 2K (bloc97 2023).

    Of a geometric spectrum it is theta -> theta * s^(d/(d-2)), as the method was first defined;
    pair by pair it applies to all spectra.
    """
    return slowed(omega, scale)


def dynamic_ntk(omega: Omega, scale: float, stretch: float) -> Omega:
    """NTK-aware with s L/L_train - (s - 1) in place of s (emozilla 2023).

    stretch: L / L_train. It is transformers' `dynamic`, whose `factor` is s. Without a fixed factor
    s is the stretch too. With factor 1 it would be ntk_aware.
    """
    return slowed(omega, scale * stretch - scale + 1.0)


def yarn(omega: Omega, scale: float, train_length: int, truncate: bool = True) -> Omega:
    """(1 - gamma) omega/s + gamma omega: fast pairs stay, slow ones slow down (Peng et al. 2023).

    r = L_train omega/(2 pi) is the number of turns over the training length. gamma is linear in
    log r, from 1 at the slowest pair that turns at least 32 times (the fastest pair if none does)
    to 0 at the fastest pair that turns at most once; where none is that slow, the spectrum is
    continued at its last ratio, up to 2K pairs. That is transformers' ramp over the pairs of a
    geometric spectrum. Without `truncate` the ramp runs from 32 turns to 1, as far as pairs do.
    """
    rotating = np.sort(omega[omega > 0])[::-1]
    if not len(rotating):
        return omega
    log_turns = np.log(train_length / (2 * np.pi) * rotating)
    continued = _continued(log_turns, 2 * len(omega))
    fast, slow = np.log(FAST_TURNS), np.log(SLOW_TURNS)
    if truncate:
        fast = continued[max(int(np.count_nonzero(log_turns >= fast)) - 1, 0)]
        slow = continued[min(int(np.count_nonzero(continued > slow)), len(continued) - 1)]
    else:
        fast, slow = min(fast, continued[0]), max(slow, continued[-1])
    with np.errstate(divide="ignore"):
        log_each = np.log(train_length / (2 * np.pi) * omega)
    if slow < fast:
        gamma = np.clip((log_each - slow) / (fast - slow), 0.0, 1.0)
    else:
        gamma = (log_each >= fast).astype(np.float64)
    return (1.0 - gamma) * omega / scale + gamma * omega


def _continued(log_turns: Omega, count: int) -> Omega:
    """The descending logarithms, continued to `count` with the step between the last two."""
    step = log_turns[-2] - log_turns[-1] if len(log_turns) > 1 else 0.0
    more = np.arange(1, count - len(log_turns) + 1)
    return np.concatenate([log_turns, log_turns[-1] - step * more])


def attention_factor(method: str, scale: float) -> float:
    """The factor of cos and sin: 0.1 ln s + 1 for YaRN, which sharpens attention; 1 otherwise."""
    return 0.1 * float(np.log(scale)) + 1.0 if method.startswith("yarn") else 1.0


def changes(remap: str, length: int, train_length: int) -> bool:
    """True if a remap does anything at a length.

    Beyond the training length all but `none` do. Up to it those with a fixed factor do, except
    dynamic_ntk, for a deployed model has its factor at every length.
    """
    method, factor = parse(remap)
    if method == "none":
        return False
    return length > train_length or (factor is not None and method != "dynamic_ntk")


def remapped(
    trained: "NDArray[np.float32]", remap: str, length: int, train_length: int
) -> "tuple[NDArray[np.float32], float]":
    """The frequencies [K] in fp32 and the attention factor for an evaluation at `length` tokens."""
    if not changes(remap, length, train_length):
        return trained, 1.0
    omega = trained.astype(np.float64)
    stretch = length / train_length
    method, factor = parse(remap)
    scale = stretch if factor is None else factor
    match method:
        case "pi":
            omega = position_interpolation(omega, scale)
        case "ntk":
            omega = ntk_aware(omega, scale)
        case "dynamic_ntk":
            omega = dynamic_ntk(omega, scale, stretch)
        case "yarn":
            omega = yarn(omega, scale, train_length)
        case "yarn_untruncated":
            omega = yarn(omega, scale, train_length, truncate=False)
        case "llama3":
            omega = slowed_by_wavelength(omega, scale, train_length)
    return omega.astype(np.float32), attention_factor(method, scale)
