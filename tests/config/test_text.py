"""The text of configuration files: YAML's own mistakes, and those that YAML takes in silence."""

from pathlib import Path

import pytest

from rope_spectra.config import text
from rope_spectra.runtime.errors import UserError
from support.checkout import ROOT


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a: 1\nrun: [demo\nb: 2", "config.yaml:3: not valid YAML ("),
        ("models:\n\ttiny: 1\n", "config.yaml:2: not valid YAML (found character"),
        ("a: 1\nb: 2\na: 3\n", "config.yaml:3: a is given twice"),
        (
            "spectra:\n  geo: {theta: 1}\n  geo: {theta: 2}\n",
            "config.yaml:3: spectra.geo is given twice",
        ),
        ("list:\n  - {key: 1, key: 2}\n", "config.yaml:2: list.key is given twice"),
        ("a: \x00", "config.yaml: not valid YAML"),
    ],
)
def test_yaml_itself_is_checked_with_line_numbers(
    tmp_path: Path, content: str, expected: str
) -> None:
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(UserError) as caught:
        text.check([tmp_path / "config.yaml"])
    line = str(caught.value).removeprefix(f"{tmp_path}/")
    assert line.startswith(expected)
    assert "\n" not in line


def test_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"run: [d\xe9mo]")
    with pytest.raises(UserError, match=r"config\.yaml: not UTF-8 at byte 7; save it as UTF-8"):
        text.check([tmp_path / "config.yaml"])


def test_merges_aliases_and_the_shipped_file_repeat_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "a: &a {x: 1, self: *a}\nb: {<<: *a, x: 2}\nc: [*a, *a]\n"
    )
    text.check([tmp_path / "config.yaml", ROOT / "config.yaml"])
