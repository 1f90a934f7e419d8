"""Spectra by their definitions, outside a whole configuration."""

from collections.abc import Mapping

from pydantic import ValidationError

from rope_spectra.config.load import plain
from rope_spectra.rope.families import NamedSpectrum, Spectrum
from rope_spectra.runtime import messages
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Name, Settings


class _Library(Settings):
    """A section `spectra` of config.yaml."""

    spectra: dict[Name, Spectrum]


def parsed(name: str, definition: Mapping[str, object]) -> Spectrum:
    """The spectrum that a section `spectra` defines under a name; UserError for a mistake in it."""
    try:
        section = _Library.model_validate({"spectra": {name: plain(definition)}})
    except ValidationError as error:
        raise UserError(messages.in_words(_Library, error)[0]) from None
    return section.spectra[name]


def completed(name: str, shape: Spectrum, head_dim: int, train_length: int) -> NamedSpectrum:
    """A spectrum as an experiment with these sizes has it.

    Raises UserError if it is a list of numbers for another head_dim, or means no frequencies.
    """
    spectrum = NamedSpectrum(name=name, shape=shape.completed(head_dim, train_length))
    try:
        spectrum.inv_freq(head_dim)
    except ValueError as error:
        raise UserError(f"spectra.{name}: {error}") from None
    return spectrum
