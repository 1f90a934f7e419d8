"""Diagnoses of a spectrum at a training length. Pure: frequencies in, numbers out; no training.

omega is the vector of frequencies [K], radians per token. The wavelength of a pair is 2 pi / omega
tokens, infinite at omega = 0. docs/statistics.md section 5 says what the numbers mean.
"""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rope_spectra.rope.frequencies import wavelengths

# The keys are columns of spectra.csv.
Diagnosis: TypeAlias = dict[str, int | float | None]

SHORT_WAVELENGTH = 16
SEARCH_LIMIT = 2**20
_SEARCH_BLOCK = 4096  # distances at a time: a block of cosines of 64 pairs is 2 MB


def first_negative_distance(omega: NDArray[np.floating], limit: int = SEARCH_LIMIT) -> int | None:
    """The first distance m in 1..limit, in tokens, where mean_k cos(m omega_k) < 0, or None.

    Below it, equal queries and keys on average attract each other; there the order of near and far
    first breaks down.
    """
    omega = omega.astype(np.float64)
    # Pairs that do not rotate count 1 each at every distance, the others -1 at the least.
    if np.count_nonzero(omega) <= len(omega) / 2:
        return None
    # Most spectra turn negative early: the search goes block by block and stops at the first hit.
    for start in range(1, limit + 1, _SEARCH_BLOCK):
        distances = np.arange(start, min(start + _SEARCH_BLOCK, limit + 1))
        negative = np.cos(np.outer(distances, omega)).mean(axis=1) < 0
        if negative.any():
            return int(distances[negative.argmax()])
    return None


def diagnose(omega: NDArray[np.floating], train_length: int, longest: int) -> Diagnosis:
    """The numbers that describe one spectrum [K]; lengths in tokens.

    wavelength_above_train, wavelength_above_longest, wavelength_below_16: numbers of pairs.
    pairs_up_to_twice_train: pairs with a wavelength of at most twice the training length.
    stilled: pairs that do not rotate; their wavelength is infinite.
    critical_dimension: dimensions of the head (two per pair) that complete a turn within the
    training length (Liu et al. 2023, there for geometric spectra).
    rotations_slowest, rotations_fastest: turns of the extreme pairs over the training length.
    first_negative_distance: tokens.
    """
    wavelength = wavelengths(omega)
    rotations = train_length / wavelength
    return {
        "wavelength_above_train": int(np.count_nonzero(wavelength > train_length)),
        "wavelength_above_longest": int(np.count_nonzero(wavelength > longest)),
        "wavelength_below_16": int(np.count_nonzero(wavelength < SHORT_WAVELENGTH)),
        "pairs_up_to_twice_train": int(np.count_nonzero(wavelength <= 2 * train_length)),
        "stilled": int(np.count_nonzero(omega == 0)),
        "critical_dimension": 2 * int(np.count_nonzero(wavelength <= train_length)),
        "rotations_slowest": float(rotations.min()),
        "rotations_fastest": float(rotations.max()),
        "first_negative_distance": first_negative_distance(omega),
    }


def as_text(diagnoses: Mapping[str, Diagnosis], train_length: int, longest: int) -> str:
    """The diagnoses by name of spectrum as a table for the terminal, with a legend below."""
    longer_than_training, longer_than_all = f"> {train_length}", f"> {longest}"
    up_to_twice = f"<= {2 * train_length}"
    header = ["spectrum", longer_than_training, longer_than_all, "< 16", up_to_twice, "still"]
    header += ["critical dim", "slowest", "fastest", "cos < 0"]
    rows = [header]
    rows += [[name, *map(_cell, diagnosis.values())] for name, diagnosis in diagnoses.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *numbers in rows:
        cells = [name.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])]
        lines.append("  ".join(cells))
    legend = [
        f"{longer_than_training}, {longer_than_all}, < 16, {up_to_twice}: pairs with such a"
        " wavelength (2 pi / omega, in tokens)",
        "still: pairs that do not rotate",
        f"critical dim: dimensions that complete a turn within {train_length} tokens",
        f"slowest, fastest: turns of these pairs over {train_length} tokens",
        "cos < 0: first distance m in tokens where mean_k cos(m omega_k) < 0"
        f" (-: none up to {SEARCH_LIMIT})",
    ]
    return "\n".join([*lines, "", *legend])


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3g}"
