"""Datasets in the layout of the hub: what they yield, and what is said about mistakes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rope_spectra.data.base import joined
from rope_spectra.data.hub import HubSplit
from rope_spectra.data.text_files import TextSplit
from rope_spectra.runtime.errors import UserError
from support.checkout import SHARED
from support.data_steps import text_source

TINYSTORIES = SHARED / "data/tinystories"
needs_tinystories = pytest.mark.skipif(
    not TINYSTORIES.is_dir(), reason="the TinyStories excerpt is not next to the repository"
)


def hub(path: Path | str, split: str = "train", text_column: str = "text") -> dict[str, Any]:
    return {
        "source": "hub",
        "path": str(path),
        "revision": None,
        "text_column": text_column,
        "split": split,
    }


def documents(source: dict[str, Any]) -> Iterator[str]:
    return joined(HubSplit.model_validate(source).pieces())


def error_of(source: dict[str, Any]) -> str:
    """The one line that a source is refused with."""
    with pytest.raises(UserError) as caught:
        list(documents(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@needs_tinystories
def test_the_text_file_of_tinystories_equals_the_hub_layout() -> None:
    text = text_source(TINYSTORIES / "train.txt", separator="<|endoftext|>")
    from_text = list(joined(TextSplit.model_validate(text).pieces()))
    assert len(from_text) == 6872
    assert from_text == list(documents(hub(TINYSTORIES)))


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
    assert list(documents(hub(tmp_path))) == ["one", "two"]
    assert "Available splits: ['train']" in error_of(hub(tmp_path, split="test"))


def test_a_split_that_a_folder_of_parquet_lacks_is_named(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    for name in ("a", "b"):
        parquet.write_table(pyarrow.table({"text": [name]}), tmp_path / f"{name}.parquet")
    assert list(documents(hub(tmp_path))) == ["a", "b"]
    message = error_of(hub(tmp_path, split="validation"))
    assert "cannot read split 'validation'" in message
    assert "available splits: train" in message


READ_HUB = """
import sys
from rope_spectra.data.base import joined
from rope_spectra.data.hub import HubSplit
source = HubSplit.model_validate_json(sys.argv[1])
characters = sum(map(len, joined(source.pieces())))
status = open("/proc/self/status")
print(characters, next(line.split()[1] for line in status if line.startswith("VmHWM")))
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
