"""Data by content: what is in a key, and that equal content is not made twice."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rope_spectra.artifacts import seal
from rope_spectra.artifacts.files import locked
from rope_spectra.artifacts.kept import Store
from rope_spectra.data import cache, content, kinds, synthetic, tokenization, tokenizers
from rope_spectra.data.shards import write_note
from rope_spectra.data.sources import SplitSettings, TokenizerFile
from rope_spectra.data.tokenization import tokenize
from rope_spectra.runtime.errors import UserError
from support.data_steps import STORIES, learn_tokenizer, split_settings, text_source

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB = {"source": "hub", "path": "o/d", "revision": COMMIT, "text_column": "text", "split": "train"}


@pytest.fixture(scope="module")
def small_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learn_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "kept")


def key(source: dict[str, Any], budget: int | None = None, tokenizer: str = "t") -> str | None:
    found = content.of_tokens(split_settings(source, budget), tokenizer)
    return found.key if found else None


# --- keys -----------------------------------------------------------------------------------------


def test_names_and_times_are_not_in_a_key_and_all_else_is(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.txt").write_text("one")
    (tmp_path / "a" / "2.txt").write_text("two")
    expected = key(text_source(tmp_path / "a" / "*.txt"))
    assert expected is not None
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "1.txt").rename(tmp_path / "b" / "0.txt")
    os.utime(tmp_path / "b" / "0.txt", (1, 1))
    assert key(text_source(tmp_path / "b" / "0.txt", tmp_path / "b" / "2.txt")) == expected
    in_other_order = text_source(tmp_path / "b" / "2.txt", tmp_path / "b" / "0.txt")
    source = text_source(tmp_path / "a" / "*.txt")
    shutil.copy(tmp_path / "b" / "0.txt", tmp_path / "b" / "0.jsonl")
    others = [
        key(in_other_order),
        key(source, budget=9),
        key(source, tokenizer="another"),
        key(source | {"separator": "#"}),
        key(source | {"text_column": "body"}),
        key(text_source(tmp_path / "b" / "0.jsonl", tmp_path / "b" / "2.txt")),
    ]
    (tmp_path / "a" / "1.txt").write_text("onE")
    assert len({expected, *others, key(source)}) == 8


def test_copies_within_a_split_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, text in (("a", "one"), ("b", "two"), ("c", ""), ("d", ""), ("e", "one")):
        (tmp_path / f"{name}.txt").write_text(text)
    (tmp_path / "f.txt").symlink_to("b.txt")
    key(text_source(tmp_path / "*.txt"))
    warnings = [record.getMessage() for record in caplog.records]
    pairs = [("e", "a"), ("f", "b")]
    assert warnings == [
        f"{tmp_path}/{copy}.txt: the same content as {tmp_path}/{first}.txt; both are used"
        for copy, first in pairs
    ]


def test_generated_text_and_datasets_of_the_hub_have_keys_without_files() -> None:
    keys = [
        key(STORIES, 9),
        key(STORIES | {"seed": 1}, 9),
        key(STORIES | {"split": "validation"}, 9),
        key(HUB),
        key(HUB | {"path": "o/e"}),
        key(HUB | {"revision": COMMIT[::-1]}),
        key(HUB | {"split": "test"}),
    ]
    assert len(set(keys)) == 7
    assert None not in keys
    for moving in (None, "main", COMMIT[:7]):
        assert key(HUB | {"revision": moving}) is None


def test_a_local_folder_in_the_layout_of_the_hub_is_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "train.parquet").write_bytes(b"1")
    (folder / ".cache").mkdir()
    source = HUB | {"path": str(folder), "revision": None}
    expected = key(source)
    (folder / ".cache" / "time").write_text("now")
    moved = shutil.copytree(folder, tmp_path / "b")
    assert key(source | {"path": str(moved)}) == key(source) == expected
    (moved / "data" / "train.parquet").rename(moved / "data" / "test.parquet")
    assert key(source | {"path": str(moved)}) != expected
    (folder / "data" / "train.parquet").write_bytes(b"2")
    assert key(source) != expected


def test_a_huge_corpus_of_which_little_is_used_is_not_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "_ALWAYS_BYTES", 1000)
    (tmp_path / "a.txt").write_bytes(b"a" * 6401)
    source = text_source(tmp_path / "a.txt")
    assert key(source, budget=100) is None
    assert key(source, budget=101) is not None
    assert key(source) is not None


@pytest.mark.parametrize("how", ["other bytes", "more files", "gone", "time"])
def test_files_that_change_after_they_were_hashed_settle_on_no_key(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Files are as old as real ones: what is decided by their time stamps is.
    monkeypatch.setattr(content, "_YOUNG_SECONDS", 0)
    path = tmp_path / "a.txt"
    path.write_text("one")
    found = content.of_tokens(split_settings(text_source(tmp_path / "*.txt"), None), "t")
    assert found.settled_key() == found.key
    match how:
        case "other bytes":
            stamp = path.stat().st_mtime_ns
            path.write_text("onE")
            os.utime(path, ns=(stamp, stamp))
        case "more files":
            (tmp_path / "b.txt").write_text("two")
        case "gone":
            path.unlink()
        case "time":
            path.touch()
    assert found.settled_key() == (found.key if how == "time" else None)


# --- tokens ---------------------------------------------------------------------------------------


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[SplitSettings]:
    """The splits that were really encoded."""
    splits: list[SplitSettings] = []
    encode = tokenization._encode

    def counting(settings: SplitSettings, *rest: Any) -> None:
        splits.append(settings)
        encode(settings, *rest)

    monkeypatch.setattr(tokenization, "_encode", counting)
    return splits


def make(folder: Path, split: SplitSettings, tokenizer_file: Path, store: Store) -> bytes:
    """Both steps of a split, in a folder that Snakemake has emptied; returns the manifest."""
    shutil.rmtree(folder, ignore_errors=True)
    tokenize(split, tokenizer_file, folder / "shards", 10_000, store=store)
    cache.publish(split, folder / "shards", folder / "train.npy", folder / "train.json", store)
    manifest = cache.read_manifest(folder / "train.json")
    cache.open_tokens(folder / "train.npy", manifest)
    return (folder / "train.json").read_bytes()


def write_text(path: Path, size: int) -> Path:
    """About so many bytes of stories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#".join(synthetic.story(0, "train", index) for index in range(size // 7000)))
    return path


def test_equal_text_is_encoded_once_and_other_text_again(
    small_tokenizer: Path, tmp_path: Path, store: Store, encoded: list[SplitSettings]
) -> None:
    text = write_text(tmp_path / "books" / "a.txt", 100_000)
    split = split_settings(text_source(text, separator="#"), None)
    first = make(tmp_path / "one", split, small_tokenizer, store)
    whole = (tmp_path / "one" / "train.npy").read_bytes()
    text.touch()
    assert make(tmp_path / "one", split, small_tokenizer, store) == first
    moved = text.rename(write_text(tmp_path / "library" / "b.txt", 7000))
    elsewhere = split_settings(text_source(moved, separator="#"), None)
    second = make(tmp_path / "two", elsewhere, small_tokenizer, store)
    assert second != first
    assert cache.read_manifest(tmp_path / "two" / "train.json").settings == elsewhere
    assert (tmp_path / "two" / "train.npy").read_bytes() == whole
    assert (tmp_path / "two" / "train.npy").samefile(tmp_path / "one" / "train.npy")
    assert encoded == [split]
    damaged = bytearray(moved.read_bytes())
    damaged[5000] ^= 1
    moved.write_bytes(damaged)
    make(tmp_path / "two", elsewhere, small_tokenizer, store)
    assert (tmp_path / "two" / "train.npy").read_bytes() != whole
    assert (tmp_path / "one" / "train.npy").read_bytes() == whole
    assert encoded == [split, elsewhere]


def test_without_a_store_nothing_is_kept_and_the_manifest_is_that_of_older_versions(
    small_tokenizer: Path, tmp_path: Path, store: Store
) -> None:
    split = split_settings(STORIES, 1000)
    make(tmp_path / "kept", split, small_tokenizer, store)
    tokenize(split, small_tokenizer, tmp_path / "shards", 10_000)
    cache.publish(split, tmp_path / "shards", tmp_path / "train.npy", tmp_path / "train.json")
    plain, kept = (seal.read(path / "train.json") for path in (tmp_path, tmp_path / "kept"))
    assert kept.pop("content_key") == key(STORIES, 1000, plain["tokenizer_sha256"])
    assert plain == kept


def test_damaged_tokens_in_the_store_are_made_again(
    small_tokenizer: Path, tmp_path: Path, store: Store, encoded: list[SplitSettings]
) -> None:
    split = split_settings(STORIES, 5000)
    first = make(tmp_path / "one", split, small_tokenizer, store)
    (entry,) = (store.root / "tokens").iterdir()
    for name in (kinds.CACHE, kinds.MANIFEST):
        content = bytearray((entry / name).read_bytes())
        content[len(content) // 2] ^= 1
        (entry / name).write_bytes(content)
        assert make(tmp_path / "one", split, small_tokenizer, store) == first
    assert len(encoded) == 3
    assert make(tmp_path / "one", split, small_tokenizer, store) == first
    assert len(encoded) == 3


def test_tokens_under_the_key_of_others_are_not_taken(
    small_tokenizer: Path, tmp_path: Path, store: Store, encoded: list[SplitSettings]
) -> None:
    split, other = split_settings(STORIES, 500), split_settings(STORIES | {"seed": 1}, 500)
    first = make(tmp_path / "one", split, small_tokenizer, store)
    make(tmp_path / "two", other, small_tokenizer, store)
    entries = {cache.read_manifest(tmp_path / n / "train.json").content_key for n in ("one", "two")}
    mine = cache.read_manifest(tmp_path / "one" / "train.json").content_key
    (theirs,) = entries - {mine}
    shutil.rmtree(store.root / "tokens" / mine)
    (store.root / "tokens" / theirs).rename(store.root / "tokens" / mine)
    assert make(tmp_path / "one", split, small_tokenizer, store) == first
    assert len(encoded) == 3


def test_tokens_that_the_store_lost_meanwhile_are_named(
    small_tokenizer: Path, tmp_path: Path, store: Store
) -> None:
    split = split_settings(STORIES, 500)
    make(tmp_path / "one", split, small_tokenizer, store)
    tokenize(split, small_tokenizer, tmp_path / "shards", 10_000, store=store)
    assert [path.name for path in (tmp_path / "shards").iterdir()] == ["kept.json"]
    shutil.rmtree(store.root)
    with pytest.raises(UserError, match="no longer in the store; delete the folder and run again"):
        cache.publish(split, tmp_path / "shards", tmp_path / "a.npy", tmp_path / "a.json", store)


def test_of_two_processes_that_find_kept_tokens_both_end_well(
    small_tokenizer: Path, tmp_path: Path, store: Store
) -> None:
    split = split_settings(STORIES, 500)
    make(tmp_path / "one", split, small_tokenizer, store)
    shards = tmp_path / "two" / "shards"
    partial = tmp_path / "two" / "shards.partial"
    with ThreadPoolExecutor() as thread, locked(partial):
        second = thread.submit(tokenize, split, small_tokenizer, shards, 10_000, store=store)
        with pytest.raises(TimeoutError):
            second.result(timeout=0.2)
        write_note(partial, "0" * 64)
        partial.rename(shards)
    second.result(timeout=60)
    assert [path.name for path in shards.iterdir()] == ["kept.json"]


def test_tokens_are_made_again_if_that_is_asked_for(
    small_tokenizer: Path,
    tmp_path: Path,
    store: Store,
    encoded: list[SplitSettings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    split = split_settings(STORIES, 500)
    first = make(tmp_path / "one", split, small_tokenizer, store)
    monkeypatch.setenv("ROPE_SPECTRA_FORCED", '["tokenize_val"]')
    assert make(tmp_path / "one", split, small_tokenizer, store) == first
    assert len(encoded) == 1
    monkeypatch.setenv("ROPE_SPECTRA_FORCED", '["tokenize_train"]')
    assert make(tmp_path / "one", split, small_tokenizer, store) == first
    assert len(encoded) == 2


def test_a_text_that_changes_while_it_is_encoded_gets_no_key(
    small_tokenizer: Path, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = write_text(tmp_path / "a.txt", 50_000)
    split = split_settings(text_source(text, separator="#"), None)
    encode = tokenization._encode

    def interfering(*arguments: Any) -> None:
        write_text(text, 20_000)
        encode(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(tokenization, "_encode", interfering)
        make(tmp_path / "one", split, small_tokenizer, store)
    manifest = cache.read_manifest(tmp_path / "one" / "train.json")
    assert manifest.content_key is None
    assert store.find("tokens", key(text_source(text, separator="#"))) is None


def test_an_interrupted_run_resumes_and_is_kept(
    small_tokenizer: Path, tmp_path: Path, store: Store
) -> None:
    split = split_settings(STORIES, 20_000)
    expected = make(tmp_path / "whole", split, small_tokenizer, Store(tmp_path / "another"))
    tokenize(split, small_tokenizer, tmp_path / "one" / "shards", 1000, store=store)
    partial = (tmp_path / "one" / "shards").rename(tmp_path / "one" / "shards.partial")
    index = seal.read(partial / "index.json")
    index["shards"].pop()
    del index["content_key"]
    seal.write(partial / "index.json", index)
    tokenize(split, small_tokenizer, tmp_path / "one" / "shards", 1000, store=store)
    cache.publish(
        split,
        tmp_path / "one" / "shards",
        tmp_path / "one" / "train.npy",
        tmp_path / "one" / "train.json",
        store,
    )
    assert (tmp_path / "one" / "train.json").read_bytes() == expected
    assert store.find("tokens", seal.read(tmp_path / "one" / "train.json")["content_key"])


def test_raw_tokens_are_kept_by_their_content(tmp_path: Path, store: Store) -> None:
    def made(name: str, ids: list[int], budget: int | None = None) -> Path:
        file = tmp_path / f"{name}.bin"
        file.write_bytes(np.array(ids, "<u2").tobytes())
        split = split_settings({"source": "tokens", "file": str(file), "vocab_size": 9}, budget)
        output = tmp_path / f"{name}.npy"
        cache.publish(split, file, output, tmp_path / f"{name}.json", store)
        cache.open_tokens(output, cache.read_manifest(tmp_path / f"{name}.json"))
        return output

    first = made("a", [1, 2, 3])
    assert made("b", [1, 2, 3]).samefile(first)
    assert not made("c", [1, 2, 4]).samefile(first)
    assert not made("d", [1, 2, 3], budget=2).samefile(first)


# --- tokenizers -----------------------------------------------------------------------------------


def test_a_tokenizer_is_learned_once(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = []
    train = tokenizers.train_bpe

    def counting(*arguments: Any) -> Any:
        learned.append(arguments)
        return train(*arguments)

    monkeypatch.setattr(tokenizers, "train_bpe", counting)

    def made(name: str, text: Path, vocab_size: int = 300) -> dict[str, bytes]:
        settings = {"train": 20_000, "vocab_size": vocab_size, "source": text_source(text)}
        folder = tmp_path / name
        tokenizers.learn_once(
            store,
            TokenizerFile.model_validate(settings).root,
            folder / "tokenizer.json",
            folder / "token_bytes.npy",
        )
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    text = write_text(tmp_path / "a.txt", 50_000)
    first = made("one", text)
    assert made("one", text) == first
    other_name = made("two", text.rename(tmp_path / "b.txt"))
    assert other_name.pop("record.json") != first["record.json"]
    assert other_name == {name: first[name] for name in other_name}
    assert len(learned) == 1
    (entry,) = (store.root / "tokenizers").iterdir()
    (entry / "tokenizer.json").write_bytes(b"{}")
    assert made("two", tmp_path / "b.txt") | {"record.json": b""} == first | {"record.json": b""}
    assert len(learned) == 2
    made("three", tmp_path / "b.txt", vocab_size=301)
    assert len(learned) == 3


# --- the store ------------------------------------------------------------------------------------


def test_what_snakemake_deleted_is_put_back_if_it_was_made_with_the_same_settings(
    small_tokenizer: Path, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("results/data/toy")
    split = split_settings(STORIES, 500)
    manifest = make(folder, split, small_tokenizer, store)
    seal.write(folder / "train.config.json", split.content())
    (found,) = store.collect(Path("results"), [kinds.TOKENS])["tokens"].values()
    assert found.key == seal.read(folder / "train.json")["content_key"]
    (folder / "train.npy").unlink()
    (folder / "train.json").unlink()
    assert store.restore([kinds.TOKENS]) == [folder / "train.json"]
    assert (folder / "train.json").read_bytes() == manifest
    cache.open_tokens(folder / "train.npy", cache.read_manifest(folder / "train.json"))
    (folder / "train.json").unlink()
    seal.write(folder / "train.config.json", split_settings(STORIES, 400).content())
    assert store.restore([kinds.TOKENS]) == []


def test_records_of_older_versions_have_no_key_and_are_not_collected(
    small_tokenizer: Path, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("results/data/toy")
    split = split_settings(STORIES, 500)
    tokenize(split, small_tokenizer, folder / "shards", 10_000)
    cache.publish(split, folder / "shards", folder / "train.npy", folder / "train.json")
    assert cache.read_manifest(folder / "train.json").content_key is None
    assert store.collect(Path("results"), [kinds.TOKENS]) == {"tokens": {}}
