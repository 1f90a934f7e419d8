"""Numbers and names as researchers write them: each means what was written, or is one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rope_spectra.config import files
from rope_spectra.config.sections import Config
from rope_spectra.runtime.errors import UserError
from support.checkout import ROOT

# A line of a configuration file that changes the demo, and a value that it gives or parts of the
# refusal: the line of the file, the reading, the remedy.
RATE = "training: {{tiny: {{learning_rate: {} }}}}"
SEEDS = "experiments: {{demo: {{seeds: {} }}}}"
TOKENS = "training: {{tiny: {{tokens: {} }}}}"
LENGTHS = "evaluation: {{tiny: {{lengths: {} }}}}"
OFTEN = "training: {{tiny: {{log_every: {} }}}}"
DETERMINISTIC = "training: {{tiny: {{deterministic: {} }}}}"
PLACES: dict[str, Callable[[Config], Any]] = {
    RATE: lambda config: config.training["tiny"].learning_rate,
    TOKENS: lambda config: config.training["tiny"].tokens,
    OFTEN: lambda config: config.training["tiny"].log_every,
    DETERMINISTIC: lambda config: config.training["tiny"].deterministic,
    SEEDS: lambda config: config.experiments["demo"].seeds,
    LENGTHS: lambda config: config.evaluation["tiny"].lengths,
}


def separator(config: Config) -> Any:
    return config.datasets["my-books"].separator


RIGHT: list[tuple[str, str, Any]] = [
    (RATE, "6.0e-3", 0.006),
    (RATE, "6.0E-3", 0.006),
    (RATE, ".006", 0.006),
    (RATE, "0.006", 0.006),
    (RATE, "1", 1.0),
    (RATE, "00.5", 0.5),
    (TOKENS, "400_000", 400_000),
    (TOKENS, "400000", 400_000),
    (TOKENS, "400_000.0", 400_000),
    (TOKENS, "4.0e+5", 400_000),
    (TOKENS, "0x61a80", 400_000),
    (TOKENS, "0x6_1a80", 400_000),
    (TOKENS, "null", None),
    (TOKENS, "~", None),
    (DETERMINISTIC, "no", False),
    (DETERMINISTIC, "on", True),
    (SEEDS, "[0, 10, +7]", [0, 10, 7]),
    (LENGTHS, "[1_024, 128]", [128, 1024]),
]
WRONG: list[tuple[str, str, tuple[str, ...]]] = [
    (SEEDS, "[007, 42]", ("YAML reads 007 as 7 (octal)", "write 7,")),
    (SEEDS, "[42, 010]", ("YAML reads 010 as 8 (octal)", "write 10,")),
    (LENGTHS, "[0100, 1024]", ("YAML reads 0100 as 64 (octal)", "write 100,")),
    (LENGTHS, "[0_200, 1024]", ("YAML reads 0_200 as 128 (octal)", "write 200,")),
    (LENGTHS, "[0o200, 1024]", ("'0o200' is text", "a whole number")),
    (SEEDS, "[1:30, 42]", ("YAML reads 1:30 to base 60", "a plain number")),
    (RATE, "0:0.5", ("YAML reads 0:0.5 to base 60", "a plain number")),
    (OFTEN, "1_0", ("YAML reads 1_0 as 10;", "write 10,")),
    (TOKENS, "40_0000", ("YAML reads 40_0000 as 400000;", "write 400000,")),
    (TOKENS, "400__000", ("YAML reads 400__000 as 400000;", "write 400000,")),
    (TOKENS, "-0400000", ("YAML reads -0400000 as -131072 (octal)", "write -400000,")),
    (RATE, "0.00_6", ("YAML reads 0.00_6 as 0.006;", "write 0.006,")),
    (RATE, "6e-3", ("'6e-3' is text, not a number", "6.0e-3")),
    (RATE, "1e-3", ("'1e-3' is text, not a number", "1.0e-3")),
    (RATE, "6.0e3", ("'6.0e3' is text, not a number", "6.0e+3")),
    (RATE, "6/1000", ("'6/1000' is text, not a number", "")),
    (RATE, "10^-3", ("'10^-3' is text, not a number", "")),
    (RATE, "${RATE}", ("", "")),
    (RATE, ".inf", ("infinite or undefined, not a number", "")),
    (RATE, "-6.0e-3", ("too small", "above 0")),
    (RATE, "yes", ("true is a truth value, not a number", "")),
    (RATE, "2026-11-26", ("is a date, not a number", "")),
    (RATE, "", ("empty", "give a number")),
    (TOKENS, "400k", ("'400k' is text", "whole number")),
    (TOKENS, "400 000", ("'400 000' is text", "whole number")),
    (TOKENS, "400.000", ("training.tiny.tokens: 400 is less than one step", "")),
    (TOKENS, "08", ("'08' is text", "write 8")),
    (DETERMINISTIC, "'no'", ("'no' is text", "true or false")),
    (DETERMINISTIC, "0", ("0 is a whole number", "true or false")),
    (SEEDS, "42", ("42 is a whole number, not a list", "write [42]")),
    (SEEDS, "range(3)", ("'range(3)' is text, not a list", "")),
    (SEEDS, "[1-3]", ("'1-3' is text", "a whole number")),
    (SEEDS, "{1, 2}", ("mapping of keys to values is given", "a list")),
]


def config_of(tmp_path: Path, content: str, *typed: str) -> Config:
    changes = tmp_path / "changes.yaml"
    changes.write_text(f"\n{content}\n")
    return files.read([ROOT / "config.yaml", changes], typed)


def one_line(tmp_path: Path, content: str, *typed: str) -> str:
    with pytest.raises(UserError) as caught:
        config_of(tmp_path, content, *typed)
    (line,) = str(caught.value).removeprefix(f"{tmp_path}/").split("\n")
    return line


@pytest.mark.parametrize(("place", "written", "value"), RIGHT)
def test_a_number_means_what_was_written(
    tmp_path: Path, place: str, written: str, value: Any
) -> None:
    assert PLACES[place](config_of(tmp_path, place.format(written))) == value


@pytest.mark.parametrize(("place", "written", "said"), WRONG)
def test_what_yaml_reads_otherwise_is_one_line(
    tmp_path: Path, place: str, written: str, said: tuple[str, str]
) -> None:
    lines = one_line(tmp_path, place.format(written))
    assert all(part in lines for part in said)
    if "YAML reads" in lines:
        assert lines.startswith("changes.yaml:2: ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("spectra: {on: *s}", "the name on as True; put it in quotes"),
        ("spectra: {007: *s}", "the name 007 as 7; put it in quotes"),
        ("spectra: {1.50: *s}", "the name 1.50 as 1.5; put it in quotes"),
        ("spectra: {null: *s}", "the name null as None; put it in quotes"),
        ("experiments: {demo: {spectra: [on]}}", "put it in quotes, as YAML reads yes, no"),
        ("experiments: {demo: {dataset: no}}", "put it in quotes, as YAML reads yes, no"),
        ("datasets: {tinystories: {revision: 2026-11-26}}", "is a date"),
        ("datasets: {tinystories: {revision: 2026-11-26}}", "put it in quotes"),
        ("datasets: {tinystories: {revision: 0123456}}", "or '0123456' for text"),
        ("datasets: {tinystories: {revision: 1234567}}", "put it in quotes"),
    ],
)
def test_a_name_that_yaml_reads_otherwise_is_one_line(
    tmp_path: Path, content: str, said: str
) -> None:
    shape = "{family: geometric, theta: 5}"
    assert said in one_line(tmp_path, content.replace("*s", shape))


def test_names_in_quotes_and_names_of_digits_are_names(tmp_path: Path) -> None:
    content = "spectra: {'on': &s {family: geometric, theta: 5}, '007': *s, 350: *s, 1.5: *s}"
    assert {"on", "007", "350", "1.5"} <= config_of(tmp_path, content).spectra.keys()


TYPED: list[tuple[str, Callable[[Config], Any], Any]] = [
    ("training={tiny: {learning_rate: 0.01}}", PLACES[RATE], 0.01),
    ("training={tiny: {learning_rate: 1e-2}}", PLACES[RATE], 0.01),
    ("training={tiny: {learning_rate: 1}}", PLACES[RATE], 1.0),
    ("training={tiny: {tokens: 4e5}}", PLACES[TOKENS], 400_000),
    ("training={tiny: {tokens: 0400000}}", PLACES[TOKENS], 400_000),
    ("training={tiny: {tokens: 400_000}}", PLACES[TOKENS], 400_000),
    ("training={tiny: {tokens: null}}", PLACES[TOKENS], None),
    ("training={tiny: {deterministic: false}}", PLACES[DETERMINISTIC], False),
    ("training={tiny: {micro_batch_size: 4}}", lambda c: c.training["tiny"].micro_batch_size, 4),
    ("training={tiny: {compile: auto}}", lambda c: c.training["tiny"].compile, "auto"),
    ("training={tiny: {compile: true}}", lambda c: c.training["tiny"].compile, True),
    ("training={tiny: {betas: [0.9, .99]}}", lambda c: c.training["tiny"].betas, [0.9, 0.99]),
    ("experiments={demo: {seeds: [1, 007]}}", PLACES[SEEDS], [1, 7]),
    ("evaluation={tiny: {lengths: [128, 1024]}}", PLACES[LENGTHS], [128, 1024]),
    (
        "datasets={tinystories: {revision: 1234567}}",
        lambda c: c.datasets["tinystories"].revision,
        "1234567",
    ),
    ("datasets={my-books: {separator: 7}}", lambda c: c.datasets["my-books"].separator, "7"),
    ("datasets={my-books: {separator: null}}", lambda c: c.datasets["my-books"].separator, None),
    ("spectra={geo_500k: {theta: 4e5}}", lambda c: c.spectra["geo_500k"].theta, 4e5),
    ("run=demo", lambda c: c.run, ["demo"]),
    ("run=[demo, ten_seeds_small]", lambda c: c.run, ["demo", "ten_seeds_small"]),
    ("run=demo,ten_seeds_small", lambda c: c.run, ["demo", "ten_seeds_small"]),
]
MISTYPED = [
    ("training={tiny: {learning_rate: fast}}", "training.tiny.learning_rate: 'fast' is text"),
    ("training={tiny: {learning_rate: nan}}", "training.tiny.learning_rate: 'nan' is text"),
    ("training={tiny: {betas: 0.9}}", "training.tiny.betas: 0.9 is a number, not a list"),
    ("experiments={demo: {seeds: 3}}", "experiments.demo.seeds: 3 is a whole number, not a list"),
    ("colors=[1,2]", "config: unknown key 'colors'; choose from: run"),
    ("run=7", "run: unknown experiment '7'; choose from: demo"),
    ("training=5", "training: 5 is a whole number, not a mapping"),
    ("training=[a", "--config training=[a: the value is not valid YAML"),
    ("demo", "--config demo: should be KEY=VALUE"),
]


@pytest.mark.parametrize(("entry", "get", "value"), TYPED, ids=[entry[0] for entry in TYPED])
def test_the_schema_reads_what_is_typed_after_config(
    tmp_path: Path, entry: str, get: Callable[[Config], Any], value: Any
) -> None:
    found = get(config_of(tmp_path, "{}", entry))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("entry", "said"), MISTYPED)
def test_a_mistake_after_config_is_one_line(tmp_path: Path, entry: str, said: str) -> None:
    assert one_line(tmp_path, "{}", entry).startswith(said)
