"""Mistakes in settings in words that a user can act on.

For example `training.tiny.learning_rate: '6e-4' is text, not a number; in YAML write 6.0e-4`.

pydantic finds the mistakes; this module says them, with what the models know of their keys. Imports
nothing heavy.
"""

import datetime
import difflib
import math
import re
import reprlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, RootModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from rope_spectra.runtime import names

_Path: TypeAlias = tuple[str | int, ...]

_WORDS = {
    list: "a list",
    dict: "a mapping of keys to values",
    str: "text",
    int: "a whole number",
    float: "a number",
    NoneType: "null",
}
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


@dataclass(frozen=True)
class _Mistake:
    """A mistake at its place: what pydantic says of it, and what the models say of the place.

    path: the user's keys, without the members of unions that pydantic counts as places too.
    wanted: the type of the value there. owner: the model that has the last key, or lacks it.
    kind, value, facts: pydantic's name for the mistake, the input, and what depends on the kind.
    """

    path: _Path
    wanted: Any
    owner: type[BaseModel]
    kind: str
    value: Any
    facts: dict[str, Any]


def places(model: type[BaseModel], error: ValidationError) -> set[tuple[str | int, ...]]:
    """The user's keys at which `model` has found mistakes."""
    return {_located(model, details).path for details in error.errors(include_url=False)}


def in_words(model: type[BaseModel], error: ValidationError) -> list[str]:
    """One line per mistake that `model` has found: its key, what is wrong, what would be right."""
    by_path: dict[_Path, list[_Mistake]] = {}
    for details in error.errors(include_url=False):
        mistake = _located(model, details)
        by_path.setdefault(mistake.path, []).append(mistake)
    mistakes = [_most_telling(found) for found in by_path.values()]
    # Where a key is misspelt, pydantic also misses the right one, but that is the same mistake.
    misspelt = set()
    for mistake in mistakes:
        if mistake.kind == "extra_forbidden":
            *parents, key = mistake.path
            misspelt.add((*parents, nearest(str(key), mistake.owner.model_fields)))
    lines = []
    for mistake in mistakes:
        if mistake.kind == "missing" and mistake.path in misspelt:
            continue
        is_of_a_key = mistake.kind in ("missing", "extra_forbidden")
        path = mistake.path[:-1] if is_of_a_key else mistake.path
        lines.append(f"{_dotted(path) or 'config'}: {_text(mistake)}")
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


def number_hint(text: str, whole: bool) -> str:
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
    with_point = re.sub(r"^([^.]*)e", r"\1.0e", text.strip().lower())
    with_sign = re.sub(r"e(\d)", r"e+\1", with_point)
    return f"; in YAML write {with_sign}"


# --- where ----------------------------------------------------------------------------------------


def _located(model: type[BaseModel], details: ErrorDetails) -> _Mistake:
    """Follows the location of a mistake through the types of the models."""
    path: list[str | int] = []
    facts = details.get("ctx", {})
    # pydantic's locations do not mention the root of a file that is one of several models.
    wanted: Any = model.model_fields["root"].annotation if issubclass(model, RootModel) else model
    owner = model
    for part in details["loc"]:
        wanted = _without_null(wanted)
        if part == "[key]":
            path.pop()  # a mistake in a name is one of the mapping that has it
        elif _is_model(wanted):
            owner = wanted
            path.append(part)
            field = wanted.model_fields.get(str(part))
            wanted = field.annotation if field else Any
        elif get_origin(wanted) in (dict, list):
            path.append(part)
            wanted = get_args(wanted)[-1]
        else:
            wanted = _member(wanted, part)
    if details["type"] == "union_tag_invalid":
        path.append(facts["discriminator"].strip("'"))
    return _Mistake(tuple(path), wanted, owner, details["type"], details["input"], facts)


def _bare(kind: Any) -> Any:
    """A type without its annotations."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _members(kind: Any) -> list[Any]:
    """The members of a union, with their annotations; any other type is its only member."""
    bare = _bare(kind)
    return list(get_args(bare)) if get_origin(bare) in (Union, UnionType) else [kind]


def _without_null(kind: Any) -> Any:
    members = [member for member in _members(kind) if member is not NoneType]
    return _bare(members[0]) if len(members) == 1 else kind


def _member(union: Any, tag: str | int) -> Any:
    """The member of a union that pydantic calls `tag`, or the union if none is called so."""
    for member in _members(union):
        tags = [note.tag for note in getattr(member, "__metadata__", ()) if isinstance(note, Tag)]
        bare = _bare(member)
        if _is_model(bare):
            for field in bare.model_fields.values():
                tags += _literals(field.annotation)
        if tag in tags:
            return member
    return union


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _literals(kind: Any) -> list[Any]:
    return list(get_args(kind)) if get_origin(kind) is Literal else []


def _dotted(path: _Path) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{repr(part)[1:-1]}" for part in path]
    return "".join(parts).lstrip(".")


# --- what -----------------------------------------------------------------------------------------


def _most_telling(found: list[_Mistake]) -> _Mistake:
    """The mistake that says most, of those that the members of a union find in one value.

    A value of the right type that is out of bounds comes first, then a word that is no choice.
    """

    def rank(mistake: _Mistake) -> int:
        if mistake.kind == "literal_error":
            return 1 if isinstance(mistake.value, str) else 2
        return 2 if mistake.kind.endswith("_type") else 0

    return min(found, key=rank)


def _text(mistake: _Mistake) -> str:
    value = mistake.value
    if mistake.kind in _TEXTS:
        return _TEXTS[mistake.kind](mistake)
    if mistake.kind in _TEMPLATES:
        facts = {key: _plain(fact) for key, fact in mistake.facts.items()}
        return _TEMPLATES[mistake.kind].format(given=_shown(value), **facts)
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return f"{_shown(value)} is too large"
    wanted = " or ".join(_choices(mistake.wanted))
    if value is None:
        return f"empty; give {wanted}"
    return f"{_described(value)}, not {wanted}{_hint(value, mistake.wanted)}"


def _unknown_key(mistake: _Mistake) -> str:
    return unknown("key", str(mistake.path[-1]), mistake.owner.model_fields)


def _missing_key(mistake: _Mistake) -> str:
    key = str(mistake.path[-1])
    # Its line breaks are those of the code.
    description = " ".join((mistake.owner.model_fields[key].description or "").split())
    return f"missing key {key!r}" + (f": {description}" if description else "")


def _tag(mistake: _Mistake) -> str:
    """A mapping that does not say its kind, or says one that does not exist."""
    key = mistake.facts["discriminator"].strip("'")
    fields = [_bare(member).model_fields[key] for member in _members(mistake.wanted)]
    choices = [_literals(field.annotation)[0] for field in fields]
    if key in mistake.value:
        value = mistake.value[key]
        return f"unknown value {_shown(value)}; {remedy(str(value), choices)}"
    for given in mistake.value:
        if nearest(str(given), [key]):
            return unknown("key", str(given), [key])
    return f"missing key {key!r}; choose from: {', '.join(choices)}"


def _choice(mistake: _Mistake) -> str:
    choices = _choices(mistake.wanted)
    if mistake.value in choices:
        return f"{_shown(mistake.value)} is text; write it without quotes"
    return f"unknown value {_shown(mistake.value)}; choose from: {', '.join(choices)}"


def _choices(wanted: Any) -> list[str]:
    """All that a type allows, in words."""
    words = []
    for member in _members(wanted):
        bare = _bare(member)
        literals = [True, False] if bare is bool else _literals(bare)
        if literals:
            words += [word if isinstance(word, str) else _shown(word) for word in literals]
        else:
            kind = dict if _is_model(bare) else get_origin(bare) or bare
            words.append(_WORDS.get(kind, "something else"))
    return list(dict.fromkeys(words))


def _described(value: Any) -> str:
    if isinstance(value, list | dict):
        return f"{_WORDS[type(value)]} is given"
    if isinstance(value, bool):
        return f"{_shown(value)} is a truth value"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is infinite or undefined"
    if type(value) in _WORDS:
        return f"{_shown(value)} is {_WORDS[type(value)]}"
    return f"{value} is a {type(value).__name__}"


def _hint(value: Any, wanted: Any) -> str:
    kinds = {get_origin(_bare(member)) or _bare(member) for member in _members(wanted)}
    if kinds & {int, float}:
        return number_hint(value, whole=int in kinds) if isinstance(value, str) else ""
    if str in kinds and isinstance(value, bool):
        return "; put it in quotes, as YAML reads yes, no, on and off as truth values"
    if str in kinds:
        return "; put it in quotes" if isinstance(value, int | float | datetime.date) else ""
    if list in kinds and isinstance(value, str | int) and str(value).isprintable():
        return f"; write [{value}]"
    return ""


def _pattern(mistake: _Mistake) -> str:
    if mistake.facts["pattern"] == names.PATTERN:
        return f"{_shown(mistake.value)} cannot be a name; {names.RULE}"
    shown = _shown(mistake.value)
    return f"{shown} cannot be a path; give the name of a file, a directory or a hub id"


def _too_short(mistake: _Mistake) -> str:
    count = f"{len(mistake.value)} given" if mistake.value else "empty"
    return f"{count}; give at least {mistake.facts['min_length']}"


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else _SHORT.repr(value)


def _plain(fact: Any) -> Any:
    """A limit as a user would write it: 1 and not 1.0."""
    return f"{fact:.10g}" if isinstance(fact, float) else fact


# By pydantic's names for the kinds of mistakes. Templates are filled with the value and the facts.
_TEMPLATES = {
    "greater_than_equal": "{given} is too small; the least is {ge}",
    "less_than_equal": "{given} is too large; the most is {le}",
    "greater_than": "{given} is too small; it must be above {gt}",
    "less_than": "{given} is too large; it must be below {lt}",
    "multiple_of": "{given} is odd; rotary pairs need an even number",
    "too_long": "{actual_length} given; give at most {max_length}",
    "string_too_short": "empty; write null for none",
    "string_unicode": "{given} holds half a character (a lone surrogate); write the whole one",
    "mistake": "{text}",
}
_TEXTS: dict[str, Callable[[_Mistake], str]] = {
    "missing": _missing_key,
    "extra_forbidden": _unknown_key,
    "union_tag_not_found": _tag,
    "union_tag_invalid": _tag,
    "literal_error": _choice,
    "too_short": _too_short,
    "string_pattern_mismatch": _pattern,
}
