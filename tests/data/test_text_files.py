"""Text files: the documents they hold, in which order, and what is said about bad ones."""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.data import formats, tables, text_files
from rope_spectra.data.base import joined
from rope_spectra.data.text_files import TextSplit
from rope_spectra.runtime.errors import UserError
from support.data_steps import text_source


def documents(source: dict[str, Any]) -> Iterator[str]:
    return joined(TextSplit.model_validate(source).pieces())


def error_of(source: dict[str, Any]) -> str:
    """The one line that a source is refused with."""
    with pytest.raises(UserError) as caught:
        list(documents(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_whole_files_keep_every_character(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbf one\r\n\ntwo \n")
    with gzip.open(tmp_path / "a.txt.gz", "wb") as file:
        file.write("zurück\n".encode())
    assert list(documents(text_source(tmp_path / "*.txt*"))) == ["zurück\n", " one\r\n\ntwo \n"]


def test_separated_documents_are_stripped_and_empty_ones_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("<eot>\n one \n<eot>\n \n<eot>two<eo<eot>")
    assert list(documents(text_source(tmp_path / "a.txt", separator="<eot>"))) == ["one", "two<eo"]


@given(st.text("ab<>", max_size=60), st.sampled_from(["<", "<>", "ab", "<a>"]), st.integers(1, 7))
def test_splitting_does_not_depend_on_the_blocks(content: str, separator: str, size: int) -> None:
    blocks = [content[i : i + size] for i in range(0, len(content), size)]
    assert list(tables.split_blocks(blocks, separator)) == content.split(separator)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50), st.integers(1, 5))
def test_decoding_does_not_depend_on_the_blocks(
    tmp_path_factory: pytest.TempPathFactory, content: str, size: int
) -> None:
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_bytes(content.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "_BLOCK", size)
        # A byte order mark at the very start, three bytes, is not text; real blocks hold it whole.
        assert "".join(formats.decode(path)) == (
            content.removeprefix("\ufeff") if size >= 3 else content
        )


@given(
    st.text(" a\u3000é漢<>", max_size=40),
    st.sampled_from(["<", "a<", "é", "<漢>"]),
    st.integers(3, 9),
)
def test_documents_do_not_depend_on_the_blocks(
    tmp_path_factory: pytest.TempPathFactory, content: str, separator: str, size: int
) -> None:
    content = f"x{separator}{content}"
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_bytes(content.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "_BLOCK", size)
        found = list(documents(text_source(path, separator=separator)))
    assert found == [text.strip() for text in content.split(separator) if text.strip()]


def test_json_lines_plain_and_gzip_in_pattern_order(tmp_path: Path) -> None:
    (tmp_path / "z.jsonl").write_text(
        '{"story": "one\\u2028still one", "id": 1}\r\n\n{"story": "two"}\n'
    )
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write('{"story": "three"}')
    source = text_source(tmp_path / "z.jsonl", tmp_path / "*.jsonl*") | {"text_column": "story"}
    assert list(documents(source)) == ["one\u2028still one", "two", "three"]


def test_file_names_with_pattern_characters_are_taken_literally(tmp_path: Path) -> None:
    (tmp_path / "[a].txt").write_text("brackets")
    assert list(documents(text_source(tmp_path / "[a].txt"))) == ["brackets"]


def test_the_byte_of_undecodable_text_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "_BLOCK", 4)
    content = "\ufeffgrün und ".encode() + b"\xff und mehr"
    (tmp_path / "bad.txt").write_bytes(content)
    (tmp_path / "cut.txt").write_bytes("grün und grü".encode()[:-1])
    for separator in (None, " ", "u", "never"):
        for name, at in (("bad.txt", content.index(255)), ("cut.txt", 12)):
            message = error_of(text_source(tmp_path / name, separator=separator))
            assert f"{name}: not UTF-8 at byte {at};" in message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "one"}\n{"text": \n', "a.jsonl:2: not a JSON object with text"),
        ("a.jsonl", b'{"text": "one"}\n["two"]\n', "a.jsonl:2: not a JSON object;"),
        (
            "a.jsonl",
            b'{"body": "one", "id": 3}\n',
            "a.jsonl:1: no column 'text'; text_column should be one of: body, id",
        ),
        ("a.jsonl", b'{"text": 3}\n', "a.jsonl:1: column 'text' holds int, not text"),
        (
            "a.jsonl",
            b'{"text": "one"}\n{"text": ' + b"[" * 100_000,
            "a.jsonl:2: not a JSON object with text",
        ),
        ("a.jsonl", b'{"text": "\\ud83d"}\n', "a.jsonl:1: not a JSON object with text"),
        ("a.txt.gz", b"not gzip", "a.txt.gz: not a whole gzip file"),
        ("a.txt.gz", gzip.compress(b"one" * 99, mtime=0)[:-9], "a.txt.gz: not a whole gzip file"),
        ("a.txt", b"", "a.txt: an empty corpus"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert message in error_of(text_source(tmp_path / name))


def test_a_pattern_without_files_is_named(tmp_path: Path) -> None:
    assert "*.txt: no such file" in error_of(text_source(tmp_path / "*.txt"))


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("text")
    (tmp_path / "c.txt").symlink_to(tmp_path / "gone.txt")
    (tmp_path / "d.txt").symlink_to("d.txt")
    for pattern in ("*.txt", "**"):
        message = error_of(text_source(tmp_path / pattern))
        assert "2 of" in message
        assert "c.txt" in message
        assert "fetch these files or remove the links" in message
    assert "c.txt" in error_of(text_source(tmp_path / "c.txt"))
    assert documents(text_source(tmp_path / "[ab].txt"))


def test_a_folder_is_told_from_a_file(tmp_path: Path) -> None:
    assert "it is a folder" in error_of(text_source(tmp_path))


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/gr\xfcn.txt"))).write_text("text")
    message = error_of(text_source(tmp_path / "*.txt"))
    assert "not UTF-8; rename the file" in message
    message.encode()


@pytest.mark.parametrize(
    ("separator", "content", "message"),
    [
        ("\n\n", b"one\r\n\r\ntwo\r\n", r'write separator: "\r\n\r\n"'),
        ("<eot>", b"one<|eot|>two", "'<eot>' never occurs; correct it"),
        ("<eot>", b"one", "separator: null if each file is one document"),
    ],
)
def test_a_separator_that_never_occurs_is_said(
    tmp_path: Path, separator: str, content: bytes, message: str
) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    (tmp_path / "b.txt").write_text("")
    assert message in error_of(text_source(tmp_path / "*.txt", separator=separator))
    (tmp_path / "b.txt").write_text(f"two{separator}three")
    assert len(list(documents(text_source(tmp_path / "*.txt", separator=separator)))) == 3


def test_a_separator_may_lie_across_two_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "_BLOCK", 4)
    (tmp_path / "a.txt").write_text("one<eot>two")
    assert list(documents(text_source(tmp_path / "a.txt", separator="<eot>"))) == ["one", "two"]


def test_settings_without_effect_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(text_files, "_WARN_BYTES", 4)
    monkeypatch.setattr(formats, "_BLOCK", 2)
    (tmp_path / "a.txt").write_text("one and <eot> two")
    (tmp_path / "a.jsonl").write_text('{"text": "one"}')
    (tmp_path / "b.jsonl").write_text("")
    list(documents(text_source(tmp_path / "a.txt", separator="<eot>")))
    assert "separator '<eot>' has not occurred yet" in caplog.text
    list(documents(text_source(tmp_path / "*.jsonl", separator="<eot>")))
    assert "separator '<eot>' has no effect: no file is plain text" in caplog.text
    assert "b.jsonl: an empty file" in caplog.text
    list(documents(text_source(tmp_path / "a.txt") | {"text_column": "body"}))
    assert "text_column has no effect" in caplog.text
