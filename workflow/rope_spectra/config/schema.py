"""The JSON schema of config.yaml, for editors that complete and check while one types.

It is made from the models: `python -m rope_spectra.config_reference --schema` writes
workflow/schemas/config.schema.json.
"""

import json
from typing import Any

from rope_spectra.config.sections import Config


def json_schema() -> dict[str, Any]:
    """The schema as JSON schema draft 2020-12."""
    schema = Config.model_json_schema()
    _tidy(schema)
    for section in schema["$defs"].values():
        for key in ("source", "family"):
            value = section["properties"].get(key, {})
            if "const" in value:
                # A key that tells the kind of its mapping means what the whole mapping is.
                value["description"] = section["description"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "rope-spectra configuration",
        **schema,
    }


def as_text(schema: dict[str, Any]) -> str:
    """The schema as a file: a line for each definition, so that a change shows where it is."""
    definitions = schema["$defs"]
    rest = {key: value for key, value in schema.items() if key != "$defs"}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in definitions.items()]
    head = json.dumps(rest)[:-1]
    return head + ',\n"$defs": {\n' + ",\n".join(lines) + "\n}}\n"


def _tidy(schema: Any) -> None:
    """Drops the titles, which pydantic makes of the names, and closes mappings to other names.

    Descriptions lose the line breaks that they have in the code.
    """
    if isinstance(schema, list):
        for item in schema:
            _tidy(item)
    elif isinstance(schema, dict):
        if isinstance(schema.get("title"), str):
            del schema["title"]
        if isinstance(schema.get("description"), str):
            schema["description"] = " ".join(schema["description"].split())
        if "patternProperties" in schema:
            schema["additionalProperties"] = False
        for value in schema.values():
            _tidy(value)
