"""Files of token ids as other projects write them: read right, or refused with what they are."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.data import cache
from rope_spectra.data.token_files import TokensData, TokensSplit, layout_of, read_ids
from rope_spectra.runtime.errors import UserError
from support.data_steps import split_settings

# As tokens are: few zeros, most of them small.
IDS = [int(number) for number in np.random.default_rng(0).zipf(1.3, 3000) % 50_257]


def npy(ids: Any, dtype: str, version: tuple[int, int] = (1, 0)) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.array(ids, dtype), version=version)
    return file.getvalue()


def llm_c(dtype: str, magic: int = 20240520, count: int | None = None) -> bytes:
    header = np.zeros(256, "<i4")
    header[:3] = magic, 1, len(IDS) if count is None else count
    return header.tobytes() + raw(dtype)


def raw(dtype: str) -> bytes:
    return np.array(IDS, dtype).tobytes()


def split_of(path: Path, vocab_size: int = 50_257, **changes: Any) -> TokensSplit:
    source = {"source": "tokens", "file": str(path), "vocab_size": vocab_size} | changes
    return TokensSplit.model_validate(source)


def tokens_of(folder: Path, content: bytes, budget: int | None = None, **changes: Any) -> list[int]:
    """The tokens of the cache that is made of a file."""
    path = folder / "train.bin"
    path.write_bytes(content)
    settings = split_settings(split_of(path, **changes).content(), budget)
    manifest = cache.build(settings, path, folder / "train.npy")
    return cache.open_tokens(folder / "train.npy", manifest).tolist()


READ = [
    *[(npy(IDS, dtype), {}) for dtype in ("<u2", ">u2", "<u4", "<i4", ">i4", "<i8", "<u8")],
    (npy(IDS, "<u2", (2, 0)), {}),
    (npy(IDS, "<u2", (3, 0)), {}),
    (npy(IDS, "<u4"), {"dtype": "uint32"}),
    (raw("<u2"), {}),
    (raw("<u2"), {"dtype": "uint16"}),
    (raw("<u4"), {"dtype": "uint32"}),
    (llm_c("<u2"), {}),
    (llm_c("<u2"), {"dtype": "uint16"}),
    (llm_c("<u4", 20240801), {}),
    (llm_c("<u2", 20250211), {}),
]


@pytest.mark.parametrize(("content", "changes"), READ)
def test_tokens_are_read(tmp_path: Path, content: bytes, changes: dict[str, str]) -> None:
    assert tokens_of(tmp_path, content, **changes) == IDS
    assert tokens_of(tmp_path, content, 1234, **changes) == IDS[:1234]
    assert split_of(tmp_path / "train.bin", **changes).known_tokens() == len(IDS)


@given(st.lists(st.integers(0, 127), min_size=1, max_size=90), st.sampled_from("bBhHiIqQ"))
def test_any_array_of_integers_is_read(
    tmp_path_factory: pytest.TempPathFactory, ids: list[int], dtype: str
) -> None:
    folder = tmp_path_factory.mktemp("ids")
    assert tokens_of(folder, npy(ids, dtype), vocab_size=128) == ids


TEXT = ("It was the best of times, it was the wörst of times.\n" * 40).encode()
LARGE = [*IDS, 65_536]
REFUSED = [
    (b"", {}, "empty", "uint16"),
    (raw("<u2")[:-1], {}, "5999 bytes, an odd size for uint16", "uint16 token ids"),
    (raw("<u4")[:-2], {"dtype": "uint32"}, "an odd size for uint32", "uint32 token ids"),
    (raw("<u4"), {}, "looks like uint32", "dtype: uint32"),
    (raw("<i4"), {}, "looks like uint32", "dtype: uint32"),
    (raw("<u4"), {"vocab_size": 65_536}, "looks like uint32", "dtype: uint32"),
    (raw("<i8"), {}, "looks like ids of 64 bits", ".npy"),
    (raw("<i8"), {"dtype": "uint32"}, "looks like ids of 64 bits", ".npy"),
    (raw("<u2"), {"dtype": "uint32"}, "vocab_size is 50257", "leave dtype out"),
    (raw(">u2"), {}, "vocab_size is 50257", "swap their bytes"),
    (raw("<u2"), {"vocab_size": 40_000}, "vocab_size is 40000", "correct vocab_size"),
    (np.array(LARGE, "<u4").tobytes(), {"dtype": "uint32"}, "holds id 65536", "vocab_size"),
    (npy(LARGE, "<u4"), {}, "holds id 65536", "vocab_size"),
    (npy([1, -1, 2], "<i4"), {}, "holds id -1", "vocab_size"),
    (npy([1.0, 2.0], "<f4"), {}, "a numpy array of <f4, not of integers", "astype"),
    (npy([True, False], "?"), {}, "not of integers", "astype"),
    (npy(["a"], "<U1"), {}, "not of integers", "astype"),
    (npy([[1, 2], [3, 4]], "<u2"), {}, "a numpy array of shape (2, 2)", "reshape(-1)"),
    (npy(7, "<u2"), {}, "a numpy array of shape ()", "reshape(-1)"),
    (npy([], "<u2"), {}, "a numpy array of shape (0,)", "reshape(-1)"),
    (npy(IDS, "<u2")[:-10], {}, "10 bytes fewer than its header says", "copy"),
    (npy(IDS, "<u2")[:60], {}, "a damaged header", "write it again"),
    (b"\x93NUMPY\x01\x00\x10\x00{'descr': 3333]}", {}, "a damaged header", "write it again"),
    (npy(IDS, "<u4"), {"dtype": "uint16"}, "dtype is uint16, but the file says <u4", "leave"),
    (llm_c("<u2"), {"dtype": "uint32"}, "dtype is uint32, but the file says <u2", "leave"),
    (llm_c("<u2")[:-10], {}, "a header of llm.c (magic 20240520", "copy or write it again"),
    (llm_c("<u2", count=0), {}, "for 0 tokens", "copy or write it again"),
    (TEXT, {}, "looks like text", "source: text"),
    (TEXT * 40, {"vocab_size": 65_536}, "looks like text", "source: text"),
    (b'{"text": "one"}\n' * 4, {}, "looks like text", "source: text"),
    (b"version https://git-lfs.github.com/spec/v1\noid", {}, "git-lfs", "git lfs pull"),
    (b"\x1f\x8b\x08\x00", {}, "compressed with gzip", "gunzip"),
    (b"\x28\xb5\x2f\xfd", {}, "compressed with zstandard", "unzstd"),
    (b"\xfd7zXZ\x00", {}, "compressed with xz", "unxz"),
    (b"PK\x03\x04", {}, "a zip archive", "numpy.save"),
    (b"PAR1\x00\x00", {}, "a parquet file", "numpy.save"),
    (b"MMIDIDX\x00\x00\x01", {}, "the index of a Megatron dataset", ".bin"),
    (pickle.dumps(IDS), {}, "a pickle", "numpy.save"),
]


@pytest.mark.parametrize(("content", "changes", "mistake", "remedy"), REFUSED)
def test_what_cannot_be_tokens_is_refused_with_what_it_looks_like(
    tmp_path: Path, content: bytes, changes: dict[str, Any], mistake: str, remedy: str
) -> None:
    with pytest.raises(UserError) as caught:
        tokens_of(tmp_path, content, **changes)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "train.bin") in str(caught.value)
    assert mistake in str(caught.value)
    assert remedy in str(caught.value)
    assert not (tmp_path / "train.npy").exists()


def test_raw_tokens_may_be_dates_and_zeros(tmp_path: Path) -> None:
    """A header is one by its size, its date and its zeros; few small ids are no uint32."""
    path = tmp_path / "a.bin"
    np.array([1, 0] * 20, "<u2").tofile(path)
    assert layout_of(path).dtype == "<u2"
    np.array([20240520, 1, 7] + [5] * 400, "<i4").tofile(path)
    assert layout_of(path).tokens == 806
    np.zeros(4000, "<u2").tofile(path)
    assert layout_of(path).tokens == 4000


def test_raw_uint16_has_the_facts_and_settings_of_older_versions(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(raw("<u2"))
    expected = {"source": "tokens", "vocab_size": 50_257}
    assert split_of(path).facts() == split_of(path, dtype="uint16").facts() == expected
    data = TokensData(source="tokens", train=str(path), validation="b", vocab_size=50_257)
    assert data.split("train").content() == expected | {"file": str(path)}
    facts = []
    for content in (raw("<u2"), npy(IDS, "<u2"), npy(IDS, "<u4"), llm_c("<u2"), llm_c("<u4")):
        path.write_bytes(content)
        facts.append(str(split_of(path).facts()))
    assert len(set(facts)) == 5


def test_a_file_that_shrinks_while_it_is_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.bin"
    path.write_bytes(raw("<u2"))
    before = split_of(path).layout
    path.write_bytes(raw("<u2")[:100])
    with pytest.raises(UserError, match=r"train.bin: has become shorter"):
        list(read_ids(path, before, before.tokens, 50_257))
