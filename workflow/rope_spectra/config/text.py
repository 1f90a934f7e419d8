"""Mistakes in the text of configuration files, with line numbers.

They are what is no YAML, and what YAML accepts in silence, such as a key given twice.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from rope_spectra.runtime.errors import UserError

# The one written in C, where PyYAML has it: it is much faster.
SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Far beyond any real study, whose file has thousands of values, and well within memory.
_MOST_VALUES = 1_000_000
_DEEPEST = 50
_LONGEST_NUMBER = 1000
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
        repeated = list(_repeated(root, "", set()))
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
        yield from (f"{path}:{line}" for line in repeated)


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
