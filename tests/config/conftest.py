"""A folder with all the files that the good configuration names."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with all the files that support.configs.GOOD names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.txt").write_text("once upon a time")
    (tmp_path / "val.txt").write_text("the end")
    (tmp_path / "train.bin").write_bytes(bytes(2 * 256))
    (tmp_path / "val.bin").write_bytes(bytes(2 * 65))
    (tmp_path / "tokenizer").mkdir()
    vocabulary = {
        "model": {"vocab": {"a": 0, "b": 1}},
        "added_tokens": [{"id": 511, "content": "<|end|>"}],
    }
    (tmp_path / "tokenizer" / "tokenizer.json").write_text(json.dumps(vocabulary))
    return tmp_path
