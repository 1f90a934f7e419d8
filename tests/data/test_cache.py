"""The token cache: raw token files, and what damage is found."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.artifacts.files import write_json
from rope_spectra.data import cache
from rope_spectra.data.sources import SplitSettings
from rope_spectra.data.tokenization import tokenize
from rope_spectra.runtime.errors import UserError
from support.data_steps import STORIES, learn_tokenizer, split_settings


@pytest.fixture(scope="module")
def small_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learn_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def raw_tokens(
    folder: Path, content: bytes, budget: int | None = None, vocab_size: int = 128
) -> tuple[SplitSettings, Path]:
    (folder / "train.bin").write_bytes(content)
    source = {"source": "tokens", "file": str(folder / "train.bin"), "vocab_size": vocab_size}
    return split_settings(source, budget), folder / "train.bin"


@given(
    st.lists(st.integers(0, 127), min_size=1, max_size=50), st.one_of(st.none(), st.integers(1, 60))
)
def test_raw_tokens_are_taken_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, ids: list[int], budget: int | None
) -> None:
    folder = tmp_path_factory.mktemp("raw")
    split, file = raw_tokens(folder, np.array(ids, "<u2").tobytes(), budget)
    manifest = cache.build(split, file, folder / "train.npy")
    assert cache.open_tokens(folder / "train.npy", manifest).tolist() == ids[:budget]
    assert (manifest.vocab_size, manifest.dtype) == (128, "<u2")
    assert manifest.bytes is manifest.documents is manifest.tokenizer_sha256 is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "train.bin: empty"),
        (b"\x01\x00\x02", "train.bin: 3 bytes, an odd size"),
        (b"\x01\x00\x80\x00", "train.bin: holds id 128"),
    ],
)
def test_unfit_raw_tokens_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    split, file = raw_tokens(tmp_path, content)
    with pytest.raises(UserError, match=message):
        cache.build(split, file, tmp_path / "train.npy")
    assert not (tmp_path / "train.npy").exists()


def test_damaged_shards_are_named(small_tokenizer: Path, tmp_path: Path) -> None:
    split = split_settings(STORIES, 10_000)
    tokenize(split, small_tokenizer, tmp_path / "shards", 1000)
    with pytest.raises(UserError, match="made with other settings"):
        cache.build(split_settings(STORIES, 9), tmp_path / "shards", tmp_path / "train.npy")
    shard = tmp_path / "shards" / "00001.bin"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + b"\x00" if content[-1] else content[:-1] + b"\x01")
    with pytest.raises(UserError, match=r"00001.bin: damaged"):
        cache.build(split, tmp_path / "shards", tmp_path / "train.npy")
    shard.write_bytes(content[:-2])
    with pytest.raises(UserError, match=r"00001.bin: not the \d+ tokens"):
        cache.build(split, tmp_path / "shards", tmp_path / "train.npy")
    assert [file.name for file in tmp_path.iterdir()] == ["shards"]


def test_a_damaged_cache_is_named(tmp_path: Path) -> None:
    content = bytes(range(0, 100)).replace(b"\x01", b"\x00")
    split, file = raw_tokens(tmp_path, content, vocab_size=65_536)
    path = tmp_path / "train.npy"
    manifest = cache.build(split, file, path)
    content = path.read_bytes()
    for damaged in (
        content[:-1] + b"\x07",
        content + b"\x00\x00",
        content[:-2],
        b"",
        content.replace(b"<u2", b"<i2"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(
            UserError,
            match=r"train.npy: not the 50 tokens of its manifest .*; delete it and run again",
        ):
            cache.open_tokens(path, manifest)
    path.unlink()
    with pytest.raises(UserError, match=r"train.npy: no such file"):
        cache.open_tokens(path, manifest)
    write_json(tmp_path / "train.json", {"tokens": 3})
    with pytest.raises(UserError, match=r"train.json: lacks 'seal'"):
        cache.read_manifest(tmp_path / "train.json")
