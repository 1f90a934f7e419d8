"""The text of configuration files: YAML's own mistakes, and those that YAML takes in silence."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rope_spectra.config import text
from rope_spectra.runtime.errors import UserError
from support.checkout import ROOT


def bomb(wrapped: str) -> str:
    """Lines each of which names the one before nine times, from `a` on."""
    return "".join(
        f"{name}: &{name} {wrapped.format(', '.join([f'*{before}'] * 9))}\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )


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
        ("a: &a {x: 1, self: *a}\n", "config.yaml:1: *a stands for itself"),
        ("a: &a [1]\n" + bomb("[{}]"), "config.yaml:7: stands for more than 1,000,000 values"),
        ("a: &a {x: 1}\n" + bomb("{{<<: [{}]}}"), "config.yaml:7: stands for more than"),
        ("a: " + "[" * 100_000, "config.yaml:1: nested more than 50 deep"),
        ("\n".join(" " * n + "a:" for n in range(900)), "config.yaml:51: nested more than"),
        ("- " * 10_000, "config.yaml:1: nested more than 50 deep"),
        ("a: 1\nseed: " + "9" * 5000, "config.yaml:2: a number of 5,000 characters; put it"),
        ("seed: 0x" + "f" * 5000, "config.yaml:1: a number of 5,002 characters"),
        ("seed: 1" + ":59" * 5000, "config.yaml:1: a number of 15,001 characters"),
        ("day: 2026-13-01", "config.yaml: YAML cannot read a number or date (month must be"),
        ("a: !!int x", "config.yaml: YAML cannot read a number or date ("),
        ("? [a]\n: 1", "config.yaml:1: not valid YAML (found unhashable key)"),
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


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_regular_file_is_named_and_not_opened(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "config.yaml")
    with pytest.raises(UserError, match=r"config\.yaml: not a regular file; give a text file$"):
        text.check([tmp_path / "config.yaml"])


def test_merges_aliases_and_the_shipped_file_repeat_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: &a {x: 1, y: [1]}\nb: {<<: *a, x: 2}\nc: [*a, *a]\n")
    text.check([tmp_path / "config.yaml", ROOT / "config.yaml"])
