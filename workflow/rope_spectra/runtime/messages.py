"""Mistakes in settings in words that a user can act on.

For example `training.tiny.learning_rate: '6e-4' is text, not a number; in YAML write 6.0e-4`.

pydantic finds the mistakes; this module says them, with what the models know of their keys. Imports
nothing heavy.
"""

import difflib
import math
import reprlib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, RootModel, Tag, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from rope_spectra.runtime import names

# The facts that pydantic gives with a mistake; their keys depend on its kind.
_Context: TypeAlias = Mapping[str, Any]

_MAPPING = "a mapping of keys to values"
_EXPECTED = {
    list: "a list",
    bool: "true or false",
    int: "a whole number",
    NoneType: "null",
    float: "a number",
    dict: _MAPPING,
    str: "text",
}
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


@dataclass(frozen=True)
class _Place:
    """The place of a mistake: its path, the type wanted there, the model of its last key."""

    path: tuple[str | int, ...]
    wanted: Any
    owner: type[BaseModel]


def in_words(model: type[BaseModel], error: ValidationError) -> list[str]:
    """One line per mistake that `model` has found: its key, what is wrong, what would be right."""
    by_place: dict[tuple[str | int, ...], list[tuple[_Place, ErrorDetails]]] = {}
    for details in error.errors(include_url=False):
        place = _place(model, details["loc"])
        by_place.setdefault(place.path, []).append((place, details))
    misspelt = _misspelt(by_place)
    lines = []
    for path, found in by_place.items():
        place, details = _most_telling(found)
        if details["type"] == "missing" and (path[:-1], path[-1]) in misspelt:
            continue  # the misspelt key is the one mistake
        if details["type"] in _OF_A_KEY:
            path = path[:-1]
        elif details["type"] == "union_tag_invalid":
            path = (*path, details["ctx"]["discriminator"].strip("'"))
        lines.append(f"{_dotted(path) or 'config'}: {_text(place, details)}")
    return lines


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """`unknown spectrum 'geo_50k'; did you mean 'geo_500k'?`."""
    return f"unknown {kind} {_shown(name)}; {remedy(name, known)}"


def remedy(name: str, known: Iterable[str]) -> str:
    """The known name that is probably meant, or all there is to choose from."""
    known = list(known)
    suggestion = nearest(name, known)
    if suggestion:
        return f"did you mean {suggestion!r}?"
    return f"choose from: {', '.join(known) or '(none is defined)'}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` is probably a misspelling of."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


# --- where ----------------------------------------------------------------------------------------


def _place(model: type[BaseModel], location: tuple[str | int, ...]) -> _Place:
    """Follows a location of pydantic through the models.

    It names the members of unions too, which are no part of the user's path.
    """
    path: list[str | int] = []
    wanted: Any = model
    if issubclass(model, RootModel):
        # A file that is one of several models; pydantic's locations do not mention the root.
        wanted = _field_type(model.model_fields["root"])
    owner = model
    for part in location:
        wanted = _without_null(wanted)
        origin = get_origin(wanted)
        if part == "[key]":
            path.pop()  # a mistake in a name is one of the mapping that has it
            continue
        if _is_model(wanted):
            owner = wanted
            path.append(part)
            field = wanted.model_fields.get(str(part))
            wanted = _field_type(field) if field else Any
        elif origin is dict:
            path.append(part)
            wanted = get_args(wanted)[1]
        elif origin is list:
            path.append(part)
            wanted = get_args(wanted)[0]
        else:
            wanted = _member(wanted, part)
    return _Place(tuple(path), wanted, owner)


def _field_type(field: FieldInfo) -> Any:
    """The type of a field with its metadata: a discriminator tells which model is meant."""
    return Annotated[field.annotation, *field.metadata, field]


def _bare(kind: Any) -> Any:
    """A type without its annotations."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind


def _members(kind: Any) -> list[Any]:
    """The members of a union, with their annotations; any other type is its only member."""
    bare = _bare(kind)
    return list(get_args(bare)) if get_origin(bare) in (Union, UnionType) else [kind]


def _without_null(kind: Any) -> Any:
    members = [member for member in _members(kind) if _bare(member) is not NoneType]
    return _bare(members[0]) if len(members) == 1 else kind


def _member(union: Any, tag: str | int) -> Any:
    """The member of a union that pydantic calls `tag`, or the union if none is called so."""
    for member in _members(union):
        tags = [note.tag for note in getattr(member, "__metadata__", ()) if isinstance(note, Tag)]
        if tag in tags:
            return member
        bare = _bare(member)
        if _is_model(bare) and any(
            get_origin(field.annotation) is Literal and tag in get_args(field.annotation)
            for field in bare.model_fields.values()
        ):
            return member
    return union


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _dotted(path: tuple[str | int, ...]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{repr(part)[1:-1]}" for part in path]
    return "".join(parts).lstrip(".")


# --- what -----------------------------------------------------------------------------------------


def _misspelt(
    by_place: Mapping[tuple[str | int, ...], list[tuple[_Place, ErrorDetails]]],
) -> set[tuple[tuple[str | int, ...], str | int]]:
    """The keys, by path and name, that an unknown key is probably a misspelling of."""
    meant: set[tuple[tuple[str | int, ...], str | int]] = set()
    for path, [(place, details), *_] in by_place.items():
        if details["type"] == "extra_forbidden":
            suggestion = nearest(str(path[-1]), place.owner.model_fields)
            if suggestion:
                meant.add((path[:-1], suggestion))
    return meant


def _most_telling(found: list[tuple[_Place, ErrorDetails]]) -> tuple[_Place, ErrorDetails]:
    """The mistake that says most, of those that the members of a union find in one value.

    A value of the right type that is out of bounds comes first, then a word that is no choice.
    """
    for place, details in found:
        if not details["type"].endswith("_type") and details["type"] != "literal_error":
            return place, details
    for place, details in found:
        if details["type"] == "literal_error" and isinstance(details["input"], str):
            return place, details
    return found[0]


def _text(place: _Place, details: ErrorDetails) -> str:
    kind = details["type"]
    value = details["input"]
    if kind in _TEXTS:
        return _TEXTS[kind](place, value, details.get("ctx", {}))
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return f"{_shown(value)} is too large"
    if value is None:
        return f"empty; give {_wanted_words(place.wanted)}"
    return f"{_described(value)}, not {_wanted_words(place.wanted)}{_hint(value, place.wanted)}"


def _unknown_key(place: _Place, *_: Any) -> str:
    return unknown("key", str(place.path[-1]), place.owner.model_fields)


def _missing_key(place: _Place, *_: Any) -> str:
    key = str(place.path[-1])
    # Its line breaks are those of the code.
    description = " ".join((place.owner.model_fields[key].description or "").split())
    return f"missing key {key!r}" + (f": {description}" if description else "")


def _missing_tag(place: _Place, value: Mapping[str, Any], context: _Context) -> str:
    """A mapping that does not say its kind: the key that would is missing, or misspelt."""
    key = context["discriminator"].strip("'")
    for given in value:
        if nearest(str(given), [key]):
            return unknown("key", str(given), [key])
    return f"missing key {key!r}; choose from: {', '.join(_tags(place.wanted, key))}"


def _unknown_tag(place: _Place, value: Mapping[str, Any], context: _Context) -> str:
    key = context["discriminator"].strip("'")
    choices = ", ".join(_tags(place.wanted, key))
    return f"unknown value {_shown(value[key])}; choose from: {choices}"


def _tags(union: Any, key: str) -> list[str]:
    """The kinds of a union of models that `key` tells apart."""
    fields = [_bare(member).model_fields[key] for member in _members(union)]
    return [get_args(field.annotation)[0] for field in fields]


def _choice(place: _Place, value: Any, *_: Any) -> str:
    choices = [choice for member in _members(place.wanted) for choice in _literals(member)]
    words = [choice if isinstance(choice, str) else _shown(choice) for choice in choices]
    if value in words:
        return f"{_shown(value)} is text; write it without quotes"
    return f"unknown value {_shown(value)}; choose from: {', '.join(words)}"


def _literals(kind: Any) -> list[Any]:
    if _bare(kind) is bool:
        return [True, False]
    return list(get_args(_bare(kind))) if get_origin(_bare(kind)) is Literal else []


def _wanted_words(wanted: Any) -> str:
    words = []
    for member in _members(wanted):
        bare = _bare(member)
        if _is_model(bare):
            words.append(_MAPPING)
        elif get_origin(bare) is Literal:
            words += [
                choice if isinstance(choice, str) else _shown(choice) for choice in get_args(bare)
            ]
        else:
            words.append(_EXPECTED.get(get_origin(bare) or bare, "something else"))
    return " or ".join(dict.fromkeys(words))


def _described(value: Any) -> str:
    match value:
        case list():
            return "a list is given"
        case dict():
            return f"{_MAPPING} is given"
        case bool():
            return f"{_shown(value)} is a truth value"
        case str():
            return f"{_shown(value)} is text"
        case int():
            return f"{_shown(value)} is a whole number"
        case float() if not math.isfinite(value):
            return f"{value} is infinite or undefined"
        case float():
            return f"{value} is a number"
    return f"{value} is a {type(value).__name__}"


def _hint(value: Any, wanted: Any) -> str:
    kinds = {get_origin(_bare(member)) or _bare(member) for member in _members(wanted)}
    if kinds & {int, float}:
        return _number_hint(value, whole=int in kinds) if isinstance(value, str) else ""
    if str in kinds:
        return "; put it in quotes" if isinstance(value, int | float) else ""
    if list in kinds and isinstance(value, str | int) and str(value).isprintable():
        return f"; write [{value}]"
    return ""


def _number_hint(text: str, whole: bool) -> str:
    """A hint how YAML wants a number that it takes for text.

    6e-4 lacks a point, 5.0e7 the sign of its exponent.
    """
    try:
        number = float(text)
    except ValueError:
        return ""
    if not math.isfinite(number) or (whole and not number.is_integer()):
        return ""
    if whole:
        return f"; in YAML write {int(number)}"
    mantissa, has_exponent, exponent = text.strip().lower().partition("e")
    if not has_exponent:
        return f"; in YAML write {mantissa}"
    point = "" if "." in mantissa else ".0"
    sign = "" if exponent[0] in "+-" else "+"
    return f"; in YAML write {mantissa}{point}e{sign}{exponent}"


def _pattern(_: _Place, value: Any, context: _Context) -> str:
    if context["pattern"] == names.PATTERN:
        return f"{_shown(value)} cannot be a name; {names.RULE}"
    return f"{_shown(value)} cannot be a path; give the name of a file, a directory or a hub id"


def _too_short(_: _Place, value: Any, context: _Context) -> str:
    count = f"{len(value)} given" if len(value) else "empty"
    return f"{count}; give at least {context['min_length']}"


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else _SHORT.repr(value)


_OF_A_KEY = ("missing", "extra_forbidden")
_TEXTS: dict[str, Callable[[_Place, Any, _Context], str]] = {
    "missing": _missing_key,
    "extra_forbidden": _unknown_key,
    "union_tag_not_found": _missing_tag,
    "union_tag_invalid": _unknown_tag,
    "literal_error": _choice,
    "greater_than_equal": lambda _, value, ctx: (
        f"{_shown(value)} is too small; the least is {_short(ctx['ge'])}"
    ),
    "less_than_equal": lambda _, value, ctx: (
        f"{_shown(value)} is too large; the most is {_short(ctx['le'])}"
    ),
    "greater_than": lambda _, value, ctx: (
        f"{_shown(value)} is too small; it must be above {_short(ctx['gt'])}"
    ),
    "less_than": lambda _, value, ctx: (
        f"{_shown(value)} is too large; it must be below {_short(ctx['lt'])}"
    ),
    "multiple_of": lambda _, value, __: f"{_shown(value)} is odd; rotary pairs need an even number",
    "too_short": _too_short,
    "too_long": lambda _, value, ctx: f"{len(value)} given; give at most {ctx['max_length']}",
    "string_too_short": lambda *_: "empty; write null for none",
    "string_pattern_mismatch": _pattern,
    "mistake": lambda _, __, ctx: ctx["text"],
    "repeated": lambda _, __, ctx: f"{_shown(ctx['value'])} is given twice; give it once",
}


def _short(limit: float) -> str:
    """A limit as a user would write it: 1 and not 1.0."""
    return f"{limit:.10g}" if isinstance(limit, float) else str(limit)
