"""What the tables and figures of an experiment are made of: the JSON that config.experiment_settings gives."""

import json
from typing import Any

from rope_spectra.runtime import names
from rope_spectra.runtime.errors import UserError

Definition = dict[str, Any]

_NAMES = ("experiment", "dataset", "model", "training")


def parse(text: str, *required: str) -> Definition:
    """The definition given as --definition; UserError if it lacks a key or holds a name that cannot be part of a path."""
    try:
        definition = json.loads(text)
    except ValueError as error:
        raise UserError(f"--definition: not valid JSON ({error})") from None
    if not isinstance(definition, dict):
        raise UserError("--definition: not a mapping; give the experiment's settings as JSON")
    if missing := [key for key in ("experiment", "spectra", *required) if key not in definition]:
        raise UserError(f"--definition: lacks {', '.join(missing)}")
    for key in _NAMES:
        if key in definition:
            names.check(definition[key], f"--definition: {key}")
    for spectrum in _items(definition, "spectra"):
        names.check(
            spectrum.get("name") if isinstance(spectrum, dict) else spectrum,
            "--definition: spectra",
        )
    for seed in _items(definition, "seeds"):
        if type(seed) is not int or seed < 0:
            raise UserError(
                f"--definition: seeds: {seed!r:.120} is not a seed; give whole numbers from 0"
            )
    return definition


def _items(definition: Definition, key: str) -> list[Any]:
    value = definition.get(key, [])
    if not isinstance(value, list):
        raise UserError(f"--definition: {key}: not a list")
    return value
