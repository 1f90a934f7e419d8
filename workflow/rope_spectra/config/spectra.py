"""What the definition of a spectrum says besides its own numbers: the spectra inside it, and what it leaves to the experiment.

A spectrum of the library serves experiments of different sizes, so `tau: null` and `length: null` are filled in for each of them;
the frozen settings of a run hold the numbers. Imports nothing heavy.
"""

import math
from collections.abc import Iterator
from typing import Any

Definition = dict[str, Any]


def completed(definition: Definition, head_dim: int, train_length: int) -> Definition:
    """The definition as one experiment means it: tau = head_dim / sqrt(train_length) and length = train_length where null."""
    left_open = {"tau": head_dim / math.sqrt(train_length), "length": train_length}
    result = {
        key: left_open.get(key) if value is None else value for key, value in definition.items()
    }
    return result | {
        key: completed(part, head_dim, train_length) for key, part in inner(definition)
    }


def inner(definition: Definition) -> Iterator[tuple[str, Definition]]:
    """The spectra that this one is made of, by key: a and b of a mix, `of` of what changes another spectrum."""
    return ((key, value) for key, value in definition.items() if isinstance(value, dict))
