"""Mistakes in the text of configuration files, with line numbers.

They are what is no YAML, and what YAML accepts in silence, such as a key given twice.
"""

from collections.abc import Iterator
from pathlib import Path

import yaml

from rope_spectra.runtime.errors import UserError

# The one written in C, where PyYAML has it: it is much faster.
SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check(paths: list[Path]) -> None:
    """Raises a UserError, one line per mistake, unless all files are plain YAML without mistakes.

    Of the syntax errors of a file only the first is known.
    """
    lines = [line for path in paths for line in _mistakes(path)]
    if lines:
        raise UserError("\n".join(lines))


def _mistakes(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=SafeLoader)
        tagged = list(_tagged(text))
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
    else:
        yield from (f"{path}:{line}" for line in [*tagged, *_repeated(root, "", set())])


def _tagged(text: str) -> Iterator[str]:
    """Tags that name objects, and the key that makes Snakemake run a file as a template."""
    for event in yaml.parse(text, Loader=SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        tag = getattr(event, "tag", None)
        if tag and tag not in yaml.SafeLoader.yaml_constructors:
            yield f"{line}: the tag {tag!r} is no plain YAML; write the value itself"
        if getattr(event, "value", None) == "__use_yte__":
            yield f"{line}: __use_yte__ would let this file run code; remove it"


def _repeated(node: yaml.Node | None, prefix: str, visited: set[int]) -> Iterator[str]:
    """Keys given twice, each mapping once: an alias may name it again, even from within itself."""
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
