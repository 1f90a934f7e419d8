"""Text and files of others: no control character reaches a terminal, nothing hangs."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.runtime.foreign import printable, read_end


@given(st.text() | st.text(st.characters(categories=("C", "Z"))))
def test_nothing_but_line_breaks_is_left_of_control_characters(text: str) -> None:
    shown = printable(text)
    categories = {unicodedata.category(letter) for letter in shown if letter != "\n"}
    assert not {name for name in categories if name.startswith("C") or name in ("Zl", "Zp")}
    assert shown.count("\n") == text.count("\n")
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("3.2 % of Zoë's 日本語 🙂\n", "3.2 % of Zoë's 日本語 🙂\n"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\u202eb", "a\\u202eb"),
        ("a\r\tb\x7f", "a\\r\\tb\\x7f"),
        ("\ud800", "\\ud800"),
    ],
)
def test_control_characters_are_shown_as_such(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_only_the_end_of_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("0123456789")
    assert read_end(tmp_path / "a.log", 4) == b"6789"
    assert read_end(tmp_path / "a.log", 40) == b"0123456789"


def test_no_link_pipe_device_or_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "private").write_text("mine")
    (tmp_path / "link").symlink_to("private")
    (tmp_path / "zero").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "link", tmp_path / "zero", tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(OSError, match=str(path)):
            read_end(Path(path), 10)
