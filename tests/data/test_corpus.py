"""Sources of text: what they yield, in which order, and what they say about bad input."""

import gzip
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.data import corpus, synthetic
from rope_spectra.runtime.errors import UserError
from support.checkout import SHARED

TINYSTORIES = SHARED / "data/tinystories"
needs_tinystories = pytest.mark.skipif(
    not TINYSTORIES.is_dir(), reason="the TinyStories excerpt is not beside the repository"
)


def text(
    *files: Path | str, separator: str | None = None, text_column: str = "text"
) -> dict[str, Any]:
    return {
        "source": "text",
        "files": [str(file) for file in files],
        "separator": separator,
        "text_column": text_column,
    }


def hub(path: Path | str, split: str = "train", text_column: str = "text") -> dict[str, Any]:
    return {
        "source": "hub",
        "path": str(path),
        "revision": None,
        "text_column": text_column,
        "split": split,
    }


def error_of(source: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        list(corpus.documents(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_whole_files_keep_every_character(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbf one\r\n\ntwo \n")
    with gzip.open(tmp_path / "a.txt.gz", "wb") as file:
        file.write("zurück\n".encode())
    assert list(corpus.documents(text(tmp_path / "*.txt*"))) == ["zurück\n", " one\r\n\ntwo \n"]


def test_separated_documents_are_stripped_and_empty_ones_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("<eot>\n one \n<eot>\n \n<eot>two<eo<eot>")
    assert list(corpus.documents(text(tmp_path / "a.txt", separator="<eot>"))) == ["one", "two<eo"]


@given(st.text("ab<>", max_size=60), st.sampled_from(["<", "<>", "ab", "<a>"]), st.integers(1, 7))
def test_splitting_does_not_depend_on_the_blocks(content: str, separator: str, size: int) -> None:
    blocks = [content[i : i + size] for i in range(0, len(content), size)]
    assert list(corpus._split(blocks, separator)) == content.split(separator)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50), st.integers(1, 5))
def test_decoding_does_not_depend_on_the_blocks(
    tmp_path_factory: pytest.TempPathFactory, content: str, size: int
) -> None:
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_bytes(content.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "_BLOCK", size)
        # A mark of three bytes at the very start is the one thing that is not text; real blocks always hold it whole.
        assert "".join(corpus._characters(path)) == (
            content.removeprefix("\ufeff") if size >= 3 else content
        )


def test_json_lines_plain_and_gzip_in_pattern_order(tmp_path: Path) -> None:
    (tmp_path / "z.jsonl").write_text(
        '{"story": "one\\u2028still one", "id": 1}\r\n\n{"story": "two"}\n'
    )
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write('{"story": "three"}')
    source = text(tmp_path / "z.jsonl", tmp_path / "*.jsonl*", text_column="story")
    assert list(corpus.documents(source)) == ["one\u2028still one", "two", "three"]


def test_file_names_with_pattern_characters_are_taken_literally(tmp_path: Path) -> None:
    (tmp_path / "[a].txt").write_text("brackets")
    assert list(corpus.documents(text(tmp_path / "[a].txt"))) == ["brackets"]


def test_the_byte_of_undecodable_text_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "_BLOCK", 4)
    content = "\ufeffgrün und ".encode() + b"\xff und mehr"
    (tmp_path / "bad.txt").write_bytes(content)
    assert f"bad.txt: not UTF-8 at byte {content.index(255)};" in error_of(
        text(tmp_path / "bad.txt")
    )
    (tmp_path / "cut.txt").write_bytes("grün und grü".encode()[:-1])
    assert "cut.txt: not UTF-8 at byte 12;" in error_of(text(tmp_path / "cut.txt"))


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
        ("a.jsonl", b'{"text": "\\ud83d"}\n', "a.jsonl:1: not a JSON object with text"),
        ("a.txt.gz", b"not gzip", "a.txt.gz: not a whole gzip file"),
        ("a.txt.gz", gzip.compress(b"one" * 99, mtime=0)[:-9], "a.txt.gz: not a whole gzip file"),
        ("a.txt", b"", "a.txt: an empty corpus"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert message in error_of(text(tmp_path / name))


def test_a_pattern_without_files_is_named(tmp_path: Path) -> None:
    assert "*.txt: no such file" in error_of(text(tmp_path / "*.txt"))


@needs_tinystories
def test_the_text_file_of_tinystories_equals_the_hub_layout() -> None:
    from_text = list(corpus.documents(text(TINYSTORIES / "train.txt", separator="<|endoftext|>")))
    assert len(from_text) == 6872
    assert from_text == list(corpus.documents(hub(TINYSTORIES)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "/no/such/folder"}, "/no/such/folder: cannot read split 'train'"),
        ({"split": "trian"}, "available splits: train, validation"),
        (
            {"text_column": "story"},
            "row 0 of 'train': no column 'story'; text_column should be one of: text",
        ),
    ],
)
@needs_tinystories
def test_mistakes_about_a_hub_source_are_named(change: dict[str, str], message: str) -> None:
    assert message in error_of(hub(TINYSTORIES) | change)


def test_a_hub_folder_of_another_format_is_read_as_well(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    assert list(corpus.documents(hub(tmp_path))) == ["one", "two"]
    assert "Available splits: ['train']" in error_of(hub(tmp_path, split="test"))


READ_HUB = """
import json, sys
from rope_spectra.data.corpus import documents
characters = sum(map(len, documents(json.loads(sys.argv[1]))))
print(characters, next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads peak memory from /proc")
def test_reading_a_hub_folder_takes_no_more_memory_for_more_text(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    random = Random(0)
    table = pyarrow.table({"text": [random.randbytes(2000).hex() for _ in range(1000)]})
    peaks = []
    for times in (3, 30):
        (tmp_path / str(times)).mkdir()
        with ParquetWriter(
            tmp_path / str(times) / "train.parquet",
            table.schema,
            compression="none",
            use_dictionary=False,
        ) as file:
            for _ in range(times):
                file.write_table(table)
        command = [sys.executable, "-c", READ_HUB, json.dumps(hub(tmp_path / str(times)))]
        characters, peak = map(
            int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        )
        assert characters == times * 4_000_000
        peaks.append(peak)
    assert peaks[1] < 1.15 * peaks[0], peaks


def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert error_of(hub("no-such-owner/no-such-dataset")).startswith(
        "no-such-owner/no-such-dataset: cannot read split 'train'"
    )


GOOD: dict[str, Any] = {"split": "train", "tokens": 100, "source": text("a.txt")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.update(tokens="50M"),
            "'tokens' is '50M'; it should be a whole number or null",
        ),
        (lambda s: s.update(tokens=True), "'tokens' is True; it should be a whole number or null"),
        (lambda s: s.update(tokens=0), "'tokens' is 0; it should be at least 1"),
        (lambda s: s.pop("split"), "key 'split' is missing"),
        (lambda s: s.update(seed=1), "unknown key 'seed'; the keys are split, tokens, source"),
        (lambda s: s.update(source="a.txt"), "'source' is 'a.txt'; it should be a mapping"),
        (
            lambda s: s["source"].update(source="txt"),
            "source: 'source' is 'txt'; it should be one of hub, text",
        ),
        (lambda s: s["source"].update(files=[]), "source: 'files' is []"),
        (lambda s: s["source"].update(files=[1]), "source: 'files' is [1]"),
        (lambda s: s["source"].update(separator=""), "source: 'separator' is empty"),
        (lambda s: s["source"].update(path="x"), "source: unknown key 'path'"),
        (
            lambda s: s.update(source={"source": "synthetic", "seed": 0, "split": "test"}),
            "source: 'split' is 'test'",
        ),
        (
            lambda s: s.update(
                source={"source": "synthetic", "seed": 0, "split": "train"}, tokens=None
            ),
            "stories never end",
        ),
    ],
)
def test_malformed_settings_are_named(
    tmp_path: Path, change: Callable[[dict], object], message: str
) -> None:
    settings = json.loads(json.dumps(GOOD))
    change(settings)
    path = tmp_path / "train.config.json"
    path.write_text(json.dumps(settings))
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        corpus.read_split_settings(path)
    assert str(caught.value).startswith(str(path))


def test_good_settings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "train.config.json"
    path.write_text(json.dumps(GOOD))
    assert corpus.read_split_settings(path) == GOOD


def test_stories_are_the_same_everywhere() -> None:
    """Golden: a change of these words changes the demo's numbers."""
    digests = [
        hashlib.sha256(synthetic.story(0, split, 3).encode()).hexdigest()[:16]
        for split in ("train", "validation")
    ]
    assert digests == ["3dc1ed5b9f1d1ec4", "dee172f35d467458"]


@given(st.integers(0, 2**32), st.integers(0, 10**6))
def test_names_and_things_recur_to_the_end(seed: int, index: int) -> None:
    story = synthetic.story(seed, "validation", index)
    assert 6000 <= len(story) <= 9000
    assert "{" not in story
    hero = re.search(r"named (\w+)\.", story)[1]
    colour, thing = re.search(r" a (\w+) (\w+)\.\n", story).groups()
    assert story[-3000:].count(hero) > 5
    assert story[-3000:].count(f"{colour} {thing}") > 2


def test_no_story_is_in_both_splits() -> None:
    def friends(split: str) -> set[tuple[str, ...]]:
        found = (
            re.search(r"named (\w+)\..*friend was (\w+),", synthetic.story(0, split, i)).groups()
            for i in range(200)
        )
        return set(found)

    assert len(friends("train")) > 150
    assert not friends("train") & friends("validation")


def test_the_stream_of_stories_is_the_stories_in_order() -> None:
    first = list(islice(corpus.documents({"source": "synthetic", "seed": 5, "split": "train"}), 3))
    assert first == [synthetic.story(5, "train", index) for index in range(3)]
    assert len(set(first)) == 3
