"""Text files as researchers have them: read right, or refused with the remedy that fits."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import parquet

from rope_spectra.data import formats, tables
from rope_spectra.data.base import joined
from rope_spectra.data.formats import Format, recognize
from rope_spectra.data.text_files import TextSplit
from rope_spectra.runtime.errors import UserError
from support.data_steps import text_source

TEXTS = ['First, "quoted"\r\n and\n\tlong\u2028.', "zwei ü 漢字 😀", "third; the | last"]
ROWS = [{"id": number, "text": text} for number, text in enumerate(TEXTS)]


def as_lines(end: str = "\n") -> bytes:
    return "".join(json.dumps(row) + end for row in ROWS).encode()


def as_csv(delimiter: str, end: str = "\n") -> bytes:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, ["id", "text"], delimiter=delimiter, lineterminator=end)
    writer.writeheader()
    writer.writerows(ROWS)
    return file.getvalue().encode()


def as_parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns or {"id": [0, 1, 2], "text": TEXTS}), file)
    return file.getvalue()


def gzipped(content: bytes) -> bytes:
    """Without the time, so that two workers of pytest see the same."""
    return gzip.compress(content, mtime=0)


def without_content(value: Any) -> str | None:
    """The name of a parameter in that of a test: contents differ in length and may be binary."""
    return "" if isinstance(value, bytes) else None


def zstandard(content: bytes) -> bytes:
    return pyarrow.compress(content, codec="zstd", asbytes=True)


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda content: content,
    ".gz": gzipped,
    ".zst": zstandard,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
JSON = {
    "lines": as_lines(),
    "lines of Windows": as_lines("\r\n"),
    "an array": json.dumps(ROWS).encode(),
    "a pretty array": b" \n" + json.dumps(ROWS, indent=2, ensure_ascii=False).encode() + b"\n",
}
BOM = b"\xef\xbb\xbf"
CONTENTS: list[tuple[str, bytes]] = [
    *[(name, JSON["lines"]) for name in ("a.jsonl", "a.JSONL", "A.ndjson", "a.json", "a.Json")],
    *[("a.json", content) for content in JSON.values()],
    *[("a.jsonl", content) for content in (BOM + JSON["lines"], JSON["an array"])],
    ("c4-train.00000-of-01024.json", JSON["lines"]),
    ("a.csv", as_csv(",")),
    ("A.CSV", BOM + as_csv(",", "\r\n")),
    ("a.csv", as_csv(";")),
    ("a.tsv", as_csv("\t")),
    ("a.Tsv", as_csv("\t", "\r\n")),
    ("wiki_00", JSON["lines"]),
]
READ = [
    (name + suffix, compress(content))
    for name, content in CONTENTS
    for suffix, compress in COMPRESSIONS.items()
]
READ += [("A.JSONL" + suffix.upper(), make(as_lines())) for suffix, make in COMPRESSIONS.items()]
# What the name does not say.
READ += [("a.jsonl", compress(JSON["lines"])) for compress in COMPRESSIONS.values()]
READ += [(name, as_parquet()) for name in ("a.parquet", "A.PARQUET", "train-00000-of-1", "a.txt")]
READ += [("a.jsonl.gz", gzipped(as_lines()[:50]) + gzipped(as_lines()[50:]))]
READ += [("a.jsonl.zst", zstandard(as_lines()[:50]) + zstandard(as_lines()[50:]))]
READ += [("a.csv", as_csv(",").removesuffix(b"\n")), ("a.jsonl", as_lines().rstrip())]


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def documents(path: Path, **changes: Any) -> list[str]:
    return list(joined(TextSplit.model_validate(text_source(path) | changes).pieces()))


@pytest.mark.parametrize(("name", "content"), READ, ids=without_content)
def test_rows_are_read(tmp_path: Path, name: str, content: bytes) -> None:
    assert documents(write(tmp_path, name, content)) == TEXTS


@pytest.mark.parametrize("name", ["a.txt", "a", "a.TXT", "book.md", "page.html", "a.py"])
@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_plain_text_is_read(tmp_path: Path, name: str, suffix: str) -> None:
    text = '{"no": JSON lines}\r\n"at", all\n'
    path = write(tmp_path, name + suffix, COMPRESSIONS[suffix](text.encode()))
    assert documents(path) == [text]
    hidden = write(tmp_path, "hidden.txt", COMPRESSIONS[suffix](text.encode()))
    assert documents(hidden) == [text]


def test_the_format_can_be_given(tmp_path: Path) -> None:
    lines = write(tmp_path, "a.txt", as_lines())
    assert documents(lines, format="json") == TEXTS
    assert documents(lines, format="text") == [as_lines().decode()]
    assert documents(write(tmp_path, "b.json", as_lines()), format="text") == [as_lines().decode()]
    assert documents(write(tmp_path, "b.dat", as_csv(",")), format="csv") == TEXTS
    assert documents(write(tmp_path, "c.dat", as_csv("\t")), format="tsv") == TEXTS
    assert documents(write(tmp_path, "d.dat", as_parquet()), format="parquet") == TEXTS
    content = TextSplit.model_validate(text_source("a") | {"format": "auto"}).content()
    assert content == text_source("a")


def _npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, np.arange(9))
    return file.getvalue()


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "text")
    return file.getvalue()


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(9))
    return file.getvalue()


TAR = b"a.txt".ljust(257, b"\x00") + b"ustar\x0000".ljust(255, b"\x00")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
LATIN = "grün und süß".encode("latin-1")
NESTED = b'{"meta": {"text": "one"}, "id": 3}\n'
# Arrow's own schema in the footer, in base64, says that a number has 4 bits instead of 64.
HALF_BYTES = as_parquet(text=[7]).replace(b"AAFAAAAA", b"AAEEAAAA")
REFUSED = [
    ("a.txt", "text".encode("utf-16"), "a.txt: UTF-16", "iconv -f UTF-16 -t UTF-8 a.txt"),
    ("a.txt", "some longer text".encode("utf-16-le"), "UTF-16", "iconv"),
    ("a.txt", "some longer text".encode("utf-16-be"), "UTF-16", "iconv"),
    ("a.jsonl", as_lines().decode().encode("utf-16"), "UTF-16", "iconv"),
    ("a.csv", as_csv(",").decode().encode("utf-16"), "UTF-16", "iconv"),
    ("a.txt.gz", gzipped("text".encode("utf-16")), "UTF-16", "iconv"),
    ("a.txt", LATIN, "not UTF-8 at byte 2", "iconv -f WINDOWS-1252"),
    ("a.jsonl", b'{"text": "' + LATIN + b'"}', "not UTF-8 at byte 12", "iconv"),
    ("a.zip", _zip(), "a zip archive", "unpack"),
    ("a.txt", _zip(), "a zip archive", "unpack"),
    ("a.npz", _npz(), "a zip archive", "unpack"),
    ("a.txt.gz", gzipped(TAR), "a tar archive", "unpack"),
    ("a.tar", TAR, "a tar archive", "unpack"),
    ("a.7z", b"7z\xbc\xaf\x27\x1c\x00\x04", "a 7z archive", "unpack"),
    ("a.rar", b"Rar!\x1a\x07\x00", "a rar archive", "unpack"),
    ("a.txt.lz4", b"\x04\x22\x4d\x18d@", "lz4", "zstd or gzip"),
    ("a.png", b"\x89PNG\r\n\x1a\n\x00", "an image", "files of text"),
    ("a.txt", b"\xff\xd8\xff\xe0\x00\x10JFIF", "an image", "files of text"),
    ("a.pdf", b"%PDF-1.7\n", "a PDF", "pdftotext"),
    ("a.h5", b"\x89HDF\r\n\x1a\n", "an HDF5 file", "parquet"),
    ("a.pkl", pickle.dumps(TEXTS), "a pickle", "JSON lines"),
    ("data.arrow", b"ARROW1\x00\x00", "an Arrow file", "to_parquet"),
    ("train.npy", _npy(), "a numpy array", "source: tokens"),
    ("a.txt", POINTER, "a pointer of git-lfs", "git lfs pull"),
    ("a.jsonl.gz", POINTER, "a pointer of git-lfs", "git lfs pull"),
    ("a.parquet", POINTER, "a pointer of git-lfs", "git lfs pull"),
    ("a.parquet", b"id,text\n", "not a parquet file", "download or write"),
    ("a.parquet", b"", "not a parquet file", "download or write"),
    ("a.parquet", as_parquet()[:200], "cannot be read as parquet", "download or write"),
    ("a.parquet", HALF_BYTES, "cannot be read as parquet (Integers", "download or write"),
    ("a.parquet.gz", gzipped(as_parquet()), "parquet within gzip", "decompress"),
    ("a.parquet", as_parquet(body=["one"]), "row 0: no column 'text'", "one of: body"),
    ("a.parquet", as_parquet(text=["one", None]), "row 1: 'text' is null", "leave out"),
    ("a.parquet", as_parquet(text=[["one"]]), "row 0: column 'text' holds list", "another"),
    ("a.parquet", as_parquet(text=[7]), "row 0: column 'text' holds int", "another"),
    ("a.txt", as_lines(), "holds JSON lines", "format: json"),
    ("a.txt.gz", gzipped(as_lines()), "holds JSON lines", "format: json"),
    ("a.jsonl", NESTED, "a.jsonl:1: no column 'text'", "one of: meta, id"),
    ("a.json", NESTED, "a.json:1: no column 'text'", "one of: meta, id"),
    ("a.json", b"[" + NESTED + b"]", "a.json, item 1: no column 'text'", "one of: meta, id"),
    ("a.jsonl", b"{}\n", "no column 'text'", "none"),
    ("a.jsonl", as_lines() + b'{"text": null}\n', "a.jsonl:4: 'text' is null", "leave out"),
    ("a.json", b'[{"text": "a"}, {"text": null}]', "item 2: 'text' is null", "leave out"),
    ("a.json", json.dumps(ROWS[0], indent=1).encode(), "a.json:1: not a JSON object", "jq -c"),
    ("a.json", b'["one", "two"]', "item 1: not a JSON object", "object"),
    ("a.json", json.dumps(ROWS).encode()[:-20], "item 3: not JSON", "write the file again"),
    ("a.json", json.dumps(ROWS).encode()[:-1], "ends within its array", "write the file again"),
    ("a.json", b'[{"text": "a"} {"text": "b"}]', "item 2: not JSON", "write the file again"),
    ("a.json", b'[{"text": "a"}, oops' + b" " * 99 + b"]", "item 2: not JSON", "write"),
    ("a.json", b'[{"text": "a"}]\n[{"text": "b"}]', "more follows", "one array"),
    ("a.json", b"[" * 100_000, "item 1: not JSON", "write the file again"),
    ("a.json", b'[{"text": "\\ud83d"}]', "item 1: not a JSON object with text", "fix"),
    ("a.json", b'"text"', "a.json:1: not a JSON object", "object"),
    ("a.jsonl", b"id,text\n0,one\n", "a.jsonl:1: not a JSON object", "fix or remove"),
    ("a.json", b"[]", "an empty corpus", "text in it"),
    ("a.csv", b"id,body\n0,one\n", "a.csv:1: no column 'text'", "one of: id, body"),
    ("a.csv", b"id;body\n0;one\n", "a.csv:1: no column 'text'", "one of: id, body"),
    ("a.csv", b"0,a text without a header\n", "a.csv:1: no column 'text'", "one of: 0, a text"),
    ("a.csv", b"text,text\na,b\n", "a.csv:1: two columns 'text'", "rename"),
    ("a.csv", b"id,text\n0,one, two\n", "a.csv:2: 3 fields, but the header has 2", "quotes"),
    ("a.csv", b"id,text\n0\n", "a.csv:2: 1 fields", "quotes"),
    ("a.csv", b'id,text\n0,"one\n', "not CSV", "double the quotes"),
    ("a.tsv", b'id\ttext\n0\t"one" two\n1\tthree\n', "a.tsv:2: not TSV", "double the quotes"),
    ("a.csv", b"id,text\n", "an empty corpus", "text in it"),
    ("a.tsv", b"id,text\n0,one\n", "a.tsv:1: no column 'text'", "one of: id,text"),
    ("a.txt.gz", b"plain text", "not a whole gzip file", "rename"),
    ("a.jsonl.zst", as_lines(), "not a whole zstandard file", "rename"),
    ("a.jsonl.gz", gzipped(as_lines())[:-9], "not a whole gzip file", "compress it again"),
    ("a.jsonl.zst", zstandard(as_lines())[:-9], "not a whole zstandard file", "again"),
    ("a.jsonl.bz2", bz2.compress(as_lines())[:-9], "not a whole bzip2 file", "again"),
    ("a.jsonl.xz", lzma.compress(as_lines())[:-9], "not a whole xz file", "again"),
    ("a.gz", gzipped(b"one")[:12] + b"\xff" * 20, "not a whole gzip file", "again"),
    ("a.txt", b"", "an empty corpus", "text in it"),
    ("a.txt", b"\n \n", "", ""),
]


@pytest.mark.parametrize(("name", "content", "mistake", "remedy"), REFUSED, ids=without_content)
def test_what_is_not_read_is_refused_with_the_remedy(
    tmp_path: Path, name: str, content: bytes, mistake: str, remedy: str
) -> None:
    path = write(tmp_path, name, content)
    if not mistake:  # white space is text
        assert documents(path) == [content.decode()]
        return
    with pytest.raises(UserError) as caught:
        documents(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert mistake in str(caught.value)
    assert remedy in str(caught.value)


def test_files_read_as_before_have_the_facts_of_older_versions(tmp_path: Path) -> None:
    for name, content in (
        ("a.txt", b"text"),
        ("a.txt.gz", gzipped(b"text")),
        ("a.jsonl", as_lines()),
        ("a.jsonl.gz", gzipped(as_lines())),
    ):
        assert recognize(write(tmp_path, name, content)).facts() == {
            "json": "jsonl" in name,
            "gzip": name.endswith(".gz"),
        }
    facts = [Format(name).facts() for name in ("text", "json", "csv", "tsv", "parquet")]
    facts += [Format("text", kind).facts() for kind in ("gzip", "zstandard", "bzip2", "xz")]
    assert len({json.dumps(fact) for fact in facts}) == 9


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=8),
    st.integers(1, 9),
    st.sampled_from([None, 1]),
)
@example(["\n"], 9, None)
def test_arrays_and_csv_do_not_depend_on_the_blocks(
    texts: list[str], size: int, indent: int | None
) -> None:
    def blocks(content: str) -> list[str]:
        return [content[at : at + size] for at in range(0, len(content), size)]

    array = json.dumps([{"text": text} for text in texts], indent=indent, ensure_ascii=False)
    path = Path("a")
    assert list(tables.json_texts(path, blocks(array), "text")) == texts
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=csv.QUOTE_ALL)
    writer.writerows([["text"], *([text] for text in texts)])
    assert list(tables.csv_texts(path, blocks(file.getvalue()), "text", "csv")) == texts


def test_blocks_of_compressed_files_are_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(5000)
    monkeypatch.setattr(formats, "_BLOCK", 999)
    for number, compress in enumerate((gzipped, zstandard, bz2.compress, lzma.compress)):
        path = write(tmp_path, "a", compress(content[:3000]) + compress(content[3000:]))
        kinds = ("gzip", "zstandard", "bzip2", "xz")
        assert b"".join(formats.read_blocks(path, kinds[number])) == content


def test_a_batch_of_parquet_holds_few_long_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_BATCH_BYTES", 5000)
    texts = [str(number) * 1000 for number in range(10)]
    path = tmp_path / "a.parquet"
    parquet.write_table(
        pyarrow.table({"text": texts}), path, use_dictionary=False, compression="none"
    )
    with path.open("rb") as file:
        batches = [rows["text"] for rows in tables.parquet_rows(file, "text")]
    assert [text for batch in batches for text in batch] == texts
    assert max(map(len, batches)) <= 5
