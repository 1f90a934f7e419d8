"""Mistakes in the text of configuration files, with line numbers.

They are what is no YAML, and what YAML accepts in silence: a key given twice, 0100 for 64.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from rope_spectra.runtime.errors import UserError

# The one written in C, where PyYAML has it: it is much faster.
SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Far beyond any real study, whose file has thousands of values, and well within memory.
_MOST_VALUES = 1_000_000
_DEEPEST = 50
_LONGEST_NUMBER = 1000
# Numbers that YAML 1.1 reads as another than is written, or in another way than people do.
_OCTAL = re.compile(r"[-+]?0[0-7_]+")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-9]+)+(\.[0-9_]*)?")
_GROUPED = re.compile(r"[-+]?[0-9]{1,3}(_[0-9]{3})*(\.[0-9]*)?([eE][-+][0-9]+)?")
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,2}(_[0-9]{3})+|[1-9][0-9]{0,99})")
_DECIMAL = re.compile(r"[-+]?([0-9]{1,99}\.?[0-9]{0,99}|\.[0-9]{1,99})([eE][-+]?[0-9]{1,3})?")
_WORDS = {"true": True, "True": True, "false": False, "False": False}
_NUMBER_TAGS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_TEXT_TAG = "tag:yaml.org,2002:str"
_MERGE_TAG = "tag:yaml.org,2002:merge"
_NUMBER = re.compile(r"[-+]?[0-9][0-9a-fA-FxX_.:+-]*")


def check(paths: list[Path]) -> None:
    """Raises a UserError, one line per mistake, unless all files are plain YAML without mistakes.

    Of the syntax errors of a file only the first is known.
    """
    lines = [line for path in paths for line in _mistakes(path)]
    if lines:
        raise UserError("\n".join(lines))


def _mistakes(path: Path) -> Iterator[str]:
    if path.exists() and not path.is_file():
        yield f"{path}: not a regular file; give a text file"
        return
    try:
        text = path.read_text(encoding="utf-8")
        mistakes = list(hostile(text))
        if mistakes:
            yield from (f"{path}:{line}" for line in mistakes)
            return
        root = yaml.compose(text, Loader=SafeLoader)
        silent = [*_repeated(root, "", set()), *_misread(root, set())]
        if root:
            SafeLoader("").construct_document(root)  # which changes the nodes
    except UnicodeDecodeError as error:
        yield f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8"
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        yield (
            f"{path}:{line}: not valid YAML ({error.problem}); look for a missing bracket,"
            " quote or indentation, and for tabs"
        )
    except yaml.YAMLError as error:
        yield f"{path}: not valid YAML ({' '.join(str(error).split())}); save it as plain text"
    except ValueError as error:  # such as a month 13
        yield f"{path}: YAML cannot read a number or date ({error}); put it in quotes"
    else:
        yield from (f"{path}:{line}" for line in silent)


def hostile(text: str) -> Iterator[str]:
    """Lines about what could run code or take all time and memory; finding it does neither.

    That is tags of objects, the key that makes Snakemake run a file as a template, deep nesting,
    numbers without end, and aliases of aliases that stand for millions of values.
    """
    # The number of values that each open collection stands for, and each anchor.
    anchors: dict[str, int] = {}
    names: list[str | None] = []
    sizes = [0]
    for event in yaml.parse(text, Loader=SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        yield from (f"{line}: {mistake}" for mistake in _odd(event))
        size = 1
        if isinstance(event, yaml.CollectionStartEvent):
            names.append(event.anchor)
            sizes.append(0)
            if len(names) > _DEEPEST:
                yield f"{line}: nested more than {_DEEPEST} deep; make it flatter"
                return
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            size += sizes.pop()
            name = names.pop()
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in names:
                yield f"{line}: *{event.anchor} stands for itself; write the value"
                return
            size += anchors.get(event.anchor or "", 0)
            name = None
        elif isinstance(event, yaml.ScalarEvent):
            name = event.anchor
        else:
            continue
        sizes[-1] += size
        if name:
            anchors[name] = size
        if sizes[-1] > _MOST_VALUES:
            yield f"{line}: stands for more than {_MOST_VALUES:,} values; use fewer aliases"
            return


def _odd(event: yaml.Event) -> Iterator[str]:
    """The mistakes of one event."""
    tag = getattr(event, "tag", None)
    value = getattr(event, "value", "")
    if tag and tag not in yaml.SafeLoader.yaml_constructors:
        yield f"the tag {tag!r} is no plain YAML; write the value itself"
    if value == "__use_yte__":
        yield "__use_yte__ would let this file run code; remove it"
    if len(value) > _LONGEST_NUMBER and _NUMBER.fullmatch(value):
        yield f"a number of {len(value):,} characters; put it in quotes if it is text"


def _repeated(node: yaml.Node | None, prefix: str, visited: set[int]) -> Iterator[str]:
    """Keys given twice, each mapping once, however many aliases name it."""
    if id(node) in visited:
        return
    visited.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item, prefix, visited)
    if isinstance(node, yaml.MappingNode):
        names = [str(key.value) for key, _ in node.value]
        for index, (key, value) in enumerate(node.value):
            if names[index] in names[:index]:
                line = key.start_mark.line + 1
                name = f"{prefix}{names[index]}"
                yield (
                    f"{line}: {name} is given twice, and YAML takes the last in silence; remove one"
                )
            yield from _repeated(value, f"{prefix}{names[index]}.", visited)


def _misread(node: yaml.Node | None, visited: set[int]) -> Iterator[str]:
    """Plain numbers and names that YAML reads as something else than what stands there."""
    if node is None or id(node) in visited:
        return
    visited.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _misread(item, visited)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            mistake = _misread_name(key)
            if mistake:
                yield f"{key.start_mark.line + 1}: {mistake}"
            yield from _misread(value, visited)
    elif node.tag in _NUMBER_TAGS:
        mistake = misread_number(node.value)
        if mistake:
            yield f"{node.start_mark.line + 1}: {mistake}"


def misread_number(written: str) -> str | None:
    """The mistake in a number that YAML reads as another one than people do, None without one."""
    plain = written.replace("_", "")
    if _OCTAL.fullmatch(written):
        octal, decimal = int(plain, 8), int(plain)
        return f"YAML reads {written} as {octal} (octal); write {decimal}, or {written!r} for text"
    if _SEXAGESIMAL.fullmatch(written):
        return (
            f"YAML reads {written} to base 60, as a time; write a plain number, or {written!r} for"
            " text"
        )
    is_in_base_ten = not written.lstrip("+-").startswith(("0x", "0b"))
    if "_" in written and is_in_base_ten and not _GROUPED.fullmatch(written):
        return f"YAML reads {written} as {plain}; write {plain}, or {written!r} for text"
    return None


def read_value(written: str) -> Any:
    """The number or truth value that was written, or the text if it is none of them.

    More generous than YAML, which takes 6e-4 for text, and 007 for octal.
    """
    if written in _WORDS:
        return _WORDS[written]
    if _WHOLE.fullmatch(written):
        return int(written)
    return float(written) if _DECIMAL.fullmatch(written) else written


def _misread_name(key: yaml.Node) -> str | None:
    """The mistake in a plain key, such as on or 007, which YAML reads as another name."""
    if not isinstance(key, yaml.ScalarNode) or key.tag in (_TEXT_TAG, _MERGE_TAG):
        return None
    read = SafeLoader("").construct_object(key)
    if str(read) == key.value:
        return None
    return f"YAML reads the name {key.value} as {read}; put it in quotes"
