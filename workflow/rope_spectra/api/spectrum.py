"""A spectrum by its name in config.yaml, or by its family and parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rope_spectra.config import files
from rope_spectra.config.library import completed, parsed
from rope_spectra.rope import diagnostics
from rope_spectra.rope.diagnostics import Diagnosis
from rope_spectra.rope.families import NamedSpectrum
from rope_spectra.rope.frequencies import wavelengths
from rope_spectra.runtime import messages
from rope_spectra.runtime.errors import UserError


@dataclass(frozen=True)
class Spectrum:
    """The rotary frequencies of a head of `head_dim` dimensions, trained at `train_length` tokens.

    definition is the family with its parameters, complete for these two sizes.
    """

    definition: NamedSpectrum
    head_dim: int
    train_length: int

    @property
    def name(self) -> str:
        """The name in figures and tables."""
        return self.definition.name

    @cached_property
    def inv_freq(self) -> NDArray[np.float32]:
        """The frequencies in fp32 [head_dim / 2], radians per token, as a model has them."""
        return self.definition.inv_freq(self.head_dim)

    @property
    def wavelengths(self) -> NDArray[np.float64]:
        """The tokens of a full turn of each pair [head_dim / 2]; infinite where a pair is still."""
        return wavelengths(self.inv_freq)

    def diagnosis(self, longest: int) -> Diagnosis:
        """The columns that spectra.csv has for it; `longest` is a length in tokens."""
        return diagnostics.diagnose(self.inv_freq, self.train_length, longest)

    def __repr__(self) -> str:
        shape = ", ".join(
            f"{key}={value!r}" for key, value in self.definition.shape.content().items()
        )
        return f"<Spectrum {self.name}: {shape}; {self.head_dim // 2} pairs>"


def spectrum(
    definition: str | Mapping[str, object],
    *,
    name: str | None = None,
    head_dim: int = 64,
    train_length: int = 2048,
    config: str | Path = "config.yaml",
) -> Spectrum:
    """A spectrum for heads of `head_dim` dimensions and a training length in tokens.

    definition is a name of the library in `config`, or what stands there under a name, such as
    {"family": "geometric", "theta": 500_000}; `name` is how figures call it (default: the family).
    Raises UserError for an unknown name and for a mistake in a definition.
    """
    if head_dim < 2 or head_dim % 2:
        raise UserError(f"head_dim: {head_dim} does not make whole pairs; give an even number")
    if train_length < 1:
        raise UserError(f"train_length: {train_length} is no length; give 1 token or more")
    if isinstance(definition, str):
        library = files.read([Path(config)], reads_text=False).spectra
        if definition not in library:
            raise UserError(f"{config}: {messages.unknown('spectrum', definition, library)}")
        shape = library[definition]
        name = name or definition
    else:
        name = name or str(definition.get("family", "spectrum"))
        shape = parsed(name, definition)
    return Spectrum(completed(name, shape, head_dim, train_length), head_dim, train_length)
