"""Prints the configuration reference, in English or Chinese, or the JSON schema that editors read.

All are made from the models of config.yaml. The meanings in Chinese are in
config/reference.zh-CN.yaml; one that is missing there stays English.

    python -m rope_spectra.config_reference > docs/configuration.md
    python -m rope_spectra.config_reference --chinese > docs/configuration.zh-CN.md
    python -m rope_spectra.config_reference --schema > workflow/schemas/config.schema.json
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml

from rope_spectra.config import schema
from rope_spectra.config.sections import Config
from rope_spectra.data.sources import Dataset
from rope_spectra.rope.families import families
from rope_spectra.runtime import cli

Schema = dict[str, Any]  # a piece of JSON schema, which has no model

LANGUAGES = "[English](configuration.md) | [中文](configuration.zh-CN.md)"
CHINESE = Path(__file__).parent / "config" / "reference.zh-CN.yaml"
INTRODUCTION = f"""# Configuration reference

{LANGUAGES}

Made from the models that start in
[config/sections.py](../workflow/rope_spectra/config/sections.py), by
`python -m rope_spectra.config_reference`.

`config.yaml` is the file to edit; `--configfile mine.yaml` adds to it or overrides parts of it.
So does `--config 'training={{tiny: {{learning_rate: 1e-2}}}}'` for a few keys. Numbers must mean to
YAML what stands there: `0100`, `1:30` and `1_0` are refused, `50_000_000` and `6.0e-4` are right.
Unknown keys are errors. A key without a default must be given. `<name>` is a name of your choice:
up to 100 letters, digits, `.`, `_` and `-`, a letter or a digit first, no two dots in a row."""


class Words(NamedTuple):
    """The text of the page in one language; meanings: of English ones, where they differ."""

    introduction: str
    run: str
    header: str
    meanings: Mapping[str, str]


ENGLISH = Words(
    INTRODUCTION,
    ": a list, or on the command line `--config run=a,b`.",
    "| key | meaning | values | default |",
    {},
)


def chinese() -> Words:
    """The words of the Chinese page."""
    return Words(**yaml.safe_load(CHINESE.read_text(encoding="utf-8")))


def _sources() -> dict[str, str]:
    """Heading and model of each source that a dataset can have."""
    result = {}
    for model in get_args(get_args(Dataset)[0]):
        (source,) = get_args(model.model_fields["source"].annotation)
        result[f"datasets.<name>, source: {source}"] = model.__name__
    return result


# Heading and model of each table, in the order of config.yaml.
SECTIONS = {
    "experiments.<name>": "Experiment",
    "experiments.<name>.selection": "Selection",
    "experiments.<name>.primary": "Primary",
    "experiments.<name>.hypotheses.<name>, of two spectra": "ContrastHypothesis",
    "experiments.<name>.hypotheses.<name>, of a diagnostic": "DiagnosticHypothesis",
    "experiments.<name>.retrieval": "RetrievalEndpoint",
    "searches.<name>": "Search",
    "searches.<name>.space": "Space",
    "searches.<name>.objective": "Objective",
    "searches.<name>.rounds": "Round",
    "searches.<name>.confirmation": "Confirmation",
    **_sources(),
    "datasets.<name>.tokenizer, ready made": "ReadyTokenizer",
    "datasets.<name>.tokenizer, trained here": "TrainedTokenizer",
    "models.<name>": "ModelConfig",
    "training.<name>": "Training",
    "training.<name>.retrieval_share, by task": "TaskShares",
    "evaluation.<name>": "Evaluation",
    "evaluation.<name>.retrieval": "Retrieval",
    "cluster": "Cluster",
}
_BOUNDS = {
    "minimum": ">=",
    "exclusiveMinimum": ">",
    "maximum": "<=",
    "exclusiveMaximum": "<",
    "multipleOf": "a multiple of",
    "minItems": "items >=",
    "maxItems": "items <=",
}
_KINDS = {"array": "list", "object": "mapping"}


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--schema", action="store_true", help="print the JSON schema instead")
    parser.add_argument("--chinese", action="store_true", help="print the reference in Chinese")
    arguments = cli.parse(parser)
    made = schema.json_schema()
    if arguments.schema:
        print(schema.as_text(made), end="")
    else:
        print("\n".join(page(made, chinese() if arguments.chinese else ENGLISH)))


def page(made: Schema, words: Words = ENGLISH) -> Iterator[str]:
    """The lines of the page."""
    yield words.introduction
    description = str(Config.model_fields["run"].description)
    yield from ("", "## run", "")
    yield words.meanings.get(description, description) + words.run
    sections = dict(SECTIONS)
    for model in families():
        family = get_args(model.model_fields["family"].annotation)[0]
        sections[f"spectra.<name>, family: {family}"] = model.__name__
    for heading, name in sections.items():
        yield from ("", f"## {heading}", "")
        yield from table(made["$defs"][name], words)


def table(section: Schema, words: Words = ENGLISH) -> Iterator[str]:
    """A Markdown table of the keys of one section."""
    yield from (words.header, "|---|---|---|---|")
    # The key that tells the kind comes first; that of a base class would come before it.
    keys = sorted(section["properties"], key=lambda key: key not in ("source", "family"))
    for key in keys:
        value = section["properties"][key]
        default = _yaml(value["default"]) if "default" in value else ""
        meaning = words.meanings.get(value["description"], value["description"])
        meaning = meaning.replace("|", "\\|")
        yield f"| `{key}` | {meaning} | {values(value)} | {default} |"


def values(piece: Schema) -> str:
    """The values that a key may hold, in a few words."""
    if "const" in piece:
        return f"`{_yaml(piece['const'])}`"
    if "enum" in piece:
        return ", ".join(f"`{_yaml(choice)}`" for choice in piece["enum"])
    members = piece.get("anyOf") or piece.get("oneOf") or []
    if members:
        # Two mappings with different keys read the same.
        return " or ".join(dict.fromkeys(map(values, members)))
    kind: str = piece.get("type", "object")
    words = _KINDS.get(kind, kind)
    if "items" in piece:
        words += f" of {values(piece['items'])}"
    bounds = [f"{sign} {_yaml(piece[key])}" for key, sign in _BOUNDS.items() if key in piece]
    return ", ".join([words, *bounds])


def _yaml(value: Any) -> str:
    """A value as config.yaml would have it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    return str(value) or '""'


if __name__ == "__main__":
    cli.run(main)
