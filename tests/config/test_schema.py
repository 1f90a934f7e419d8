"""The JSON schema for editors: made from the models, and as strict as they are."""

import json
from typing import Any

from jsonschema import Draft202012Validator

from rope_spectra.config import schema
from rope_spectra.config.load import plain
from rope_spectra.config.sections import Config
from rope_spectra.rope.families import families
from support.checkout import ROOT
from support.configs import SHIPPED, edited

SCHEMA = schema.json_schema()


def described_keys(
    schema: Any, where: str = "config"
) -> list[tuple[str, str, dict[str, Any], list[str]]]:
    """(where, key, definition, required keys next to it) of every key the schema describes."""
    if isinstance(schema, list):
        return [found for item in schema for found in described_keys(item, where)]
    if not isinstance(schema, dict):
        return []
    own = [
        (where, key, definition, schema.get("required", []))
        for key, definition in schema.get("properties", {}).items()
    ]
    return own + [
        found
        for key, item in schema.items()
        if key != "if"
        for found in described_keys(item, f"{where}/{key}")
    ]


def test_schema_is_valid_and_describes_every_key() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    keys = described_keys(SCHEMA)
    assert len(keys) > 80
    assert [
        f"{where}: {key}" for where, key, definition, _ in keys if not definition.get("description")
    ] == []


def test_every_key_is_either_required_or_has_a_default() -> None:
    discriminators = {"source", "family"}
    unclear = [
        f"{where}: {key}"
        for where, key, definition, required in described_keys(SCHEMA)
        if key not in discriminators and (key in required) == ("default" in definition)
    ]
    assert unclear == []


def test_every_mapping_of_keys_is_closed() -> None:
    def mappings(schema: Any) -> list[dict[str, Any]]:
        children = (
            schema.values()
            if isinstance(schema, dict)
            else schema
            if isinstance(schema, list)
            else []
        )
        found = (
            [schema]
            if isinstance(schema, dict) and isinstance(schema.get("properties"), dict)
            else []
        )
        return found + [mapping for child in children for mapping in mappings(child)]

    open_ones = [
        set(mapping["properties"])
        for mapping in mappings(SCHEMA)
        if mapping.get("additionalProperties") is not False
    ]
    assert open_ones == []


def test_the_shipped_schema_is_made_from_the_models() -> None:
    shipped = (ROOT / "workflow/schemas/config.schema.json").read_text(encoding="utf-8")
    assert shipped == schema.as_text(SCHEMA)
    assert json.loads(shipped) == SCHEMA


def test_the_schema_accepts_what_is_shipped_and_refuses_mistakes() -> None:
    """Editors see the mistakes of single keys, though not all of those that loading finds."""
    validator = Draft202012Validator(SCHEMA)
    shipped = Config.model_validate(plain(SHIPPED)).content()
    assert list(validator.iter_errors(shipped)) == []
    assert list(validator.iter_errors(edited("training/tiny/learning_rat", 1.0, shipped)))
    assert list(validator.iter_errors(edited("spectra/geo_10k/theta", 1, shipped)))
    assert list(validator.iter_errors(edited("models/a b", shipped["models"]["tiny"], shipped)))
    assert list(validator.iter_errors(edited("datasets/toy-stories/source", "hubb", shipped)))


def test_config_yaml_names_the_schema_in_its_first_line() -> None:
    first = (ROOT / "config.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=workflow/schemas/config.schema.json"


def test_every_family_has_its_parameters_in_the_schema() -> None:
    for family in families():
        parameters = set(family.model_fields)
        assert set(SCHEMA["$defs"][family.__name__]["properties"]) == parameters
