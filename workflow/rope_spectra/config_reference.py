"""The configuration reference, made from the schema: every key with its type, default and limits.

python -m rope_spectra.config_reference > docs/configuration.md
"""

from collections.abc import Iterator
from typing import Any

from rope_spectra.config import schema as config_schema
from rope_spectra.runtime import cli

Schema = dict[str, Any]

INTRODUCTION = """# Configuration reference

Made from [config.schema.yaml](../workflow/schemas/config.schema.yaml) by `python -m rope_spectra.config_reference`.

`config.yaml` is the file to edit; `--configfile mine.yaml` adds to it or overrides parts of it. Unknown keys are errors. A key
without a default must be given. `<name>` is a name of your choice: up to 100 letters, digits, `.`, `_` and `-`, a letter or
a digit first, no two dots in a row."""

# Heading and definition of each table, in the order of config.yaml.
SECTIONS = {
    "experiments.<name>": "experiment",
    "datasets.<name>, source: hub": "hub",
    "datasets.<name>, source: text": "text",
    "datasets.<name>, source: tokens": "tokens",
    "datasets.<name>, source: synthetic": "synthetic",
    "datasets.<name>.tokenizer, ready made": "ready_tokenizer",
    "datasets.<name>.tokenizer, trained here": "trained_tokenizer",
    "models.<name>": "model",
    "training.<name>": "training",
    "evaluation.<name>": "evaluation",
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


def main() -> None:
    cli.parse(cli.parser(__doc__))
    print("\n".join(page(config_schema.schema())))


def page(schema: Schema) -> Iterator[str]:
    """The lines of the page."""
    definitions = schema["$defs"]
    yield INTRODUCTION
    yield from (
        "",
        "## run",
        "",
        f"{schema['properties']['run']['description']}: a list, or on the command line `--config run=a,b`.",
    )
    families = definitions["spectrum"]["properties"]["family"]["enum"]
    for heading, name in (
        SECTIONS | {f"spectra.<name>, family: {family}": family for family in families}
    ).items():
        yield from ("", f"## {heading}", "")
        yield from table(definitions[name], definitions)
        for key, value in definitions[name]["properties"].items():
            if "properties" in value:
                yield from ("", f"## {heading}.{key}", "")
                yield from table(value, definitions)


def table(section: Schema, definitions: Schema) -> Iterator[str]:
    """A Markdown table of the keys of one section."""
    yield from ("| key | meaning | values | default |", "|---|---|---|---|")
    for key, value in section["properties"].items():
        merged = definitions.get(value.get("$ref", "").rpartition("/")[2], {}) | value
        default = _yaml(value["default"]) if "default" in value else ""
        meaning = value.get("description", "").replace("|", "\\|")
        yield f"| `{key}` | {meaning} | {values(merged)} | {default} |"


def values(schema: Schema) -> str:
    """What a key may hold, in a few words."""
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{_yaml(choice)}`" for choice in schema["enum"])
    kinds = schema.get("type", "mapping")
    words = (
        " or ".join([kinds] if isinstance(kinds, str) else kinds)
        .replace("array", "list")
        .replace("object", "mapping")
    )
    if choices := schema.get("then", {}).get("enum"):
        words = words.replace("string", " or ".join(f"`{choice}`" for choice in choices))
    if "items" in schema and "$ref" not in schema["items"]:
        words += f" of {values(schema['items'])}"
    bounds = [f"{sign} {_yaml(schema[key])}" for key, sign in _BOUNDS.items() if key in schema]
    return ", ".join([words, *bounds])


def _yaml(value: Any) -> str:
    """A value as config.yaml would have it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    words = {None: "null", True: "true", False: "false", "": '""'}
    return words[value] if isinstance(value, bool | None) or value == "" else str(value)


if __name__ == "__main__":
    cli.run(main)
