"""Mistakes in a configuration in words a user can act on: `training.tiny.learning_rate: '6e-4' is text, not a number`."""

import difflib
import math
import reprlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jsonschema import ValidationError

from rope_spectra.runtime import names

_EXPECTED = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "a mapping of keys to values",
    "string": "text",
}
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def in_words(errors: Iterable[ValidationError]) -> Iterator[str]:
    """One line per mistake: the key's path, what is wrong, what would be right."""
    for error in errors:
        path = "".join(
            f"[{part}]" if isinstance(part, int) else f".{repr(part)[1:-1]}"
            for part in error.absolute_path
        )
        texts = (
            _key_texts(error)
            if error.validator in ("required", "additionalProperties")
            else [_value_text(error)]
        )
        yield from (f"{path.lstrip('.') or 'config'}: {text}" for text in texts)


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """`unknown spectrum 'geo_50k'; did you mean 'geo_500k'?`."""
    return f"unknown {kind} {_shown(name)}; {remedy(name, known)}"


def remedy(name: str, known: Iterable[str]) -> str:
    """The known name that is probably meant, or all there is to choose from."""
    suggestion = nearest(name, known)
    return (
        f"did you mean {suggestion!r}?"
        if suggestion
        else f"choose from: {', '.join(known) or '(none is defined)'}"
    )


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` is probably a misspelling of."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def _key_texts(error: ValidationError) -> Iterator[str]:
    """Unknown and missing keys of one mapping together, so that a misspelt key is one mistake and not two."""
    given, known = error.instance, error.schema["properties"]
    meant = {key: nearest(key, known) for key in given if key not in known}
    closed = error.schema.get("additionalProperties") is False
    yield from (
        unknown("key", key, known) for key, suggestion in meant.items() if suggestion or closed
    )
    for key in error.schema.get("required", ()):
        if key not in given and key not in meant.values():
            yield f"missing key {key!r}: {known[key]['description']}"


def _value_text(error: ValidationError) -> str:
    if error.validator == "pattern" and "propertyNames" in error.absolute_schema_path:
        return f"{_shown(error.instance)} cannot be a name; {names.RULE}"
    return _TEXTS[error.validator](error.instance, error.validator_value)


def _type_text(value: Any, allowed: str | list[str]) -> str:
    types = [allowed] if isinstance(allowed, str) else allowed
    expected = " or ".join(_EXPECTED[name] for name in types)
    return (
        f"{_described(value)}, not {expected}{_hint(value, types)}"
        if value is not None
        else f"empty; give {expected}"
    )


def _described(value: Any) -> str:
    match value:
        case list():
            return "a list is given"
        case dict():
            return "a mapping of keys to values is given"
        case bool():
            return f"{_shown(value)} is a truth value"
        case str():
            return f"{_shown(value)} is text"
        case int():
            return f"{_shown(value)} is a whole number"
        case float() if not math.isfinite(value):
            return f"{value} is infinite or undefined"
    return f"{value} is a {'number' if isinstance(value, float) else type(value).__name__}"


def _hint(value: Any, types: list[str]) -> str:
    if {"integer", "number"} & set(types):
        return _number_hint(value, whole="integer" in types) if isinstance(value, str) else ""
    if "string" in types:
        return "; put it in quotes" if isinstance(value, int | float) else ""
    return (
        f"; write [{value}]"
        if "array" in types and isinstance(value, str | int) and str(value).isprintable()
        else ""
    )


def _number_hint(text: str, whole: bool) -> str:
    """How YAML wants a number that it takes for text: 6e-4 lacks a point, 5.0e7 the sign of its exponent."""
    try:
        number = float(text)
    except ValueError:
        return ""
    if not math.isfinite(number) or (whole and not number.is_integer()):
        return ""
    mantissa, has_exponent, exponent = text.strip().lower().partition("e")
    if whole or not has_exponent:
        return f"; in YAML write {int(number) if whole else mantissa}"
    return f"; in YAML write {mantissa}{'' if '.' in mantissa else '.0'}e{'' if exponent[0] in '+-' else '+'}{exponent}"


def _choice_text(value: Any, choices: list[Any]) -> str:
    words = [choice if isinstance(choice, str) else _shown(choice) for choice in choices]
    if value in words:
        return f"{_shown(value)} is text; write it without quotes"
    return f"unknown value {_shown(value)}; choose from: {', '.join(words)}"


def _repeated(values: list[Any]) -> str:
    repeated = (value for index, value in enumerate(values) if value in values[:index])
    return _shown(
        next(repeated, values[-1])
    )  # jsonschema takes more for equal than Python does: [] and b""


def _count(values: list[Any]) -> str:
    return f"{len(values)} given" if values else "empty"


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else _SHORT.repr(value)


_TEXTS: dict[str, Callable[[Any, Any], str]] = {
    "type": _type_text,
    "enum": _choice_text,
    "minimum": lambda value, limit: f"{_shown(value)} is too small; the least is {limit}",
    "maximum": lambda value, limit: f"{_shown(value)} is too large; the most is {limit}",
    "exclusiveMinimum": lambda value, limit: (
        f"{_shown(value)} is too small; it must be above {limit}"
    ),
    "exclusiveMaximum": lambda value, limit: (
        f"{_shown(value)} is too large; it must be below {limit}"
    ),
    "multipleOf": lambda value, _: f"{_shown(value)} is odd; rotary pairs need an even number",
    "minItems": lambda value, limit: f"{_count(value)}; give at least {limit}",
    "maxItems": lambda value, limit: f"{_count(value)}; give at most {limit}",
    "uniqueItems": lambda value, _: f"{_repeated(value)} is given twice; give it once",
    "minLength": lambda *_: "empty; write null for none",
    "pattern": lambda value, _: (
        f"{_shown(value)} cannot be a path; give the name of a file, a directory or a hub id"
    ),
}
