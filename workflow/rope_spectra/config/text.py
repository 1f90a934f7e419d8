"""Configuration files as text: what is no YAML, and what YAML takes in silence (a key given twice), with line numbers."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from rope_spectra.runtime.errors import UserError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check(paths: list[Path]) -> None:
    """Raise a UserError for each file's first syntax error, or for its keys that are given twice; one line per mistake."""
    if lines := [line for path in paths for line in _mistakes(path)]:
        raise UserError("\n".join(lines))


def _mistakes(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8")
        root, tagged = yaml.compose(text, Loader=_LOADER), list(_tagged(text))
    except UnicodeDecodeError as error:
        yield f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8"
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        yield f"{path}:{line}: not valid YAML ({error.problem}); look for a missing bracket, quote or indentation, and for tabs"
    except yaml.YAMLError as error:
        yield f"{path}: not valid YAML ({' '.join(str(error).split())}); save it as plain text"
    else:
        yield from (f"{path}:{line}" for line in [*tagged, *_repeated(root, "", set())])


def _tagged(text: str) -> Iterator[str]:
    """What plain YAML has no value for: tags that name objects, and the key that makes Snakemake run a file as a template."""
    for event in yaml.parse(text, Loader=_LOADER):
        line = event.start_mark.line + 1
        if (tag := getattr(event, "tag", None)) and tag not in yaml.SafeLoader.yaml_constructors:
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
                line, name = key.start_mark.line + 1, f"{prefix}{names[index]}"
                yield f"{line}: {name} is given twice, and YAML takes the last in silence; remove one"
            yield from _repeated(value, f"{prefix}{names[index]}.", visited)
