"""The configuration against its schema (workflow/schemas/config.schema.yaml): what may be written, and all of its defaults."""

import sys
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from rope_spectra.config import messages

PATH = Path(__file__).parents[2] / "schemas" / "config.schema.yaml"

_STANDARD = Draft202012Validator.TYPE_CHECKER
_TYPES = _STANDARD.redefine(  # NaN and infinity are no numbers here
    "number",
    lambda _, value: _STANDARD.is_type(value, "number") and abs(value) <= sys.float_info.max,
)


def complete(config: dict[str, Any]) -> Iterator[str]:
    """Fill in the defaults of `config` in place, give numbers their canonical types, and yield one line per mistake.

    10000 and 10000.0 become the same: an int where the schema says integer, a float where it says number.
    """
    yield from messages.in_words(_validator().iter_errors(config))


def schema() -> dict[str, Any]:
    """The schema as it is written."""
    return yaml.load(PATH.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def _validator() -> Draft202012Validator:
    return extend(Draft202012Validator, {"properties": _complete_properties}, type_checker=_TYPES)(
        schema()
    )


def _complete_properties(
    validator: Any, properties: dict[str, Any], instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for key, subschema in properties.items():
            if "default" in subschema:
                instance.setdefault(key, deepcopy(subschema["default"]))
            if key in instance:
                instance[key] = _canonical(instance[key], subschema)
    yield from Draft202012Validator.VALIDATORS["properties"](
        validator, properties, instance, schema
    )


def _canonical(value: Any, schema: dict[str, Any]) -> Any:
    types = schema.get("type", [])
    if isinstance(value, list):
        return [_canonical(item, schema.get("items", {})) for item in value]
    if "integer" in types and _TYPES.is_type(value, "integer"):
        return int(value)
    return float(value) if "number" in types and _TYPES.is_type(value, "number") else value
