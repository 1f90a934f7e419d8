"""From text to shards to token cache: the files, what survives a kill, and the memory it takes."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.artifacts import seal
from rope_spectra.artifacts.files import locked, read_json, write_json
from rope_spectra.data import base, cache, encoding, synthetic, tokenization, tokenizers
from rope_spectra.data.base import Pieces, ReadyTokenizer
from rope_spectra.data.sources import SplitSettings
from rope_spectra.data.tokenization import tokenize
from rope_spectra.runtime.errors import UserError
from support.data_steps import (
    DATA,
    ENVIRONMENT,
    NEOX,
    STORIES,
    cache_of,
    learn_tokenizer,
    learned,
    run,
    split_settings,
    step,
    text_source,
)

needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the TinyStories excerpt and the NeoX tokenizer are not here"
)


@pytest.fixture(scope="module")
def small_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learn_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@needs_data
def test_hub_and_text_give_the_same_tokens_of_real_stories(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(tokenizers.make_tokenizer(ReadyTokenizer(path=str(NEOX.parent))))
    assert path.read_bytes() == NEOX.read_bytes()
    folder = DATA / "tinystories"
    hub = {
        "source": "hub",
        "path": str(folder),
        "revision": None,
        "text_column": "text",
        "split": "validation",
    }
    text = text_source(folder / "validation.txt", separator="<|endoftext|>")
    of_hub, hub_manifest = cache_of(tmp_path / "hub", split_settings(hub, None), path)
    of_text, text_manifest = cache_of(
        tmp_path / "text", split_settings(text, None), path, shard_tokens=50_000
    )
    assert np.array_equal(of_hub, of_text)
    assert hub_manifest == text_manifest.model_copy(update={"settings": hub_manifest.settings})
    assert (hub_manifest.documents, hub_manifest.tokens, hub_manifest.vocab_size) == (
        801,
        len(of_hub),
        50_277,
    )


def test_documents_follow_each_other_and_the_last_is_shortened(
    small_tokenizer: Path, tmp_path: Path
) -> None:
    loaded = tokenizers.load_tokenizer(small_tokenizer)
    stories = [synthetic.story(0, "train", index) for index in range(5)]
    expected = [loaded.encode(story, add_special_tokens=False).ids for story in stories]
    budget = sum(map(len, expected[:4])) + 100
    found, manifest = cache_of(
        tmp_path / "cut", split_settings(STORIES, budget), small_tokenizer, shard_tokens=1
    )
    assert found.tolist() == list(chain.from_iterable(expected))[:budget]
    assert len(list((tmp_path / "cut" / "shards").glob("*.bin"))) == 5
    cut_text = loaded.decode(expected[4][:100])
    assert manifest.bytes == sum(len(story.encode()) for story in stories[:4]) + len(
        cut_text.encode()
    )
    assert (manifest.tokens, manifest.documents, manifest.dtype) == (budget, 5, "<u2")


def test_shards_and_batches_do_not_change_the_cache(
    small_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = split_settings(STORIES, 20_000)
    found, manifest = cache_of(tmp_path / "a", split, small_tokenizer, shard_tokens=10**6)
    monkeypatch.setattr(tokenization, "_BATCH_CHARACTERS", 1)
    again, manifest_again = cache_of(tmp_path / "b", split, small_tokenizer, shard_tokens=100)
    assert manifest == manifest_again
    assert (tmp_path / "a" / "train.npy").read_bytes() == (
        tmp_path / "b" / "train.npy"
    ).read_bytes()
    assert np.array_equal(found, again)
    plain = np.load(tmp_path / "a" / "train.npy", mmap_mode="r")
    assert (plain.dtype, plain.shape) == (np.dtype("<u2"), (20_000,))
    assert hashlib.sha256(plain.tobytes()).hexdigest() == manifest.sha256


def test_a_killed_run_continues_after_its_last_whole_shard(
    small_tokenizer: Path, tmp_path: Path
) -> None:
    split = split_settings(STORIES, 600_000)
    write_json(tmp_path / "train.config.json", split.content())
    output, partial = tmp_path / "shards", tmp_path / "shards.partial"
    settings = tmp_path / "train.config.json"
    command = step("tokenize", settings=settings, tokenizer=small_tokenizer, output=output)
    command += ["--shard-tokens", "5000"]
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    while not (partial / "00002.bin").exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not output.exists()
    kept = [shard["file"] for shard in read_json(partial / "index.json")["shards"]]
    written = {name: (partial / name).stat().st_mtime_ns for name in kept}
    output.mkdir()
    tokenize(split, small_tokenizer, output, 5000)
    assert len(kept) >= 2
    assert written == {name: (output / name).stat().st_mtime_ns for name in kept}
    assert not partial.exists()
    manifest = cache.build(split, output, tmp_path / "train.npy")
    assert manifest == cache_of(tmp_path / "whole", split, small_tokenizer)[1]


def interrupt(split: SplitSettings, tokenizer_file: Path, output: Path) -> Path:
    """Leave what a run killed during its last shard leaves behind."""
    tokenize(split, tokenizer_file, output, 1000)
    partial = output.with_name(f"{output.name}.partial")
    output.rename(partial)
    index = seal.read(partial / "index.json")
    index["shards"].pop()
    seal.write(partial / "index.json", index)
    return partial


def test_another_identity_starts_afresh(small_tokenizer: Path, tmp_path: Path) -> None:
    interrupt(split_settings(STORIES, 20_000), small_tokenizer, tmp_path / "shards")
    other = split_settings(STORIES | {"seed": 1}, 10_000)
    tokenize(other, small_tokenizer, tmp_path / "shards", 100_000)
    assert sorted(file.name for file in (tmp_path / "shards").iterdir()) == [
        "00000.bin",
        "index.json",
    ]
    assert (
        cache.build(other, tmp_path / "shards", tmp_path / "a.npy")
        == cache_of(tmp_path / "b", other, small_tokenizer)[1]
    )


def test_a_text_that_changed_meanwhile_is_not_mixed(small_tokenizer: Path, tmp_path: Path) -> None:
    stories = [synthetic.story(0, "train", index) for index in range(4)]
    (tmp_path / "a.txt").write_text("###".join(stories))
    source = text_source(tmp_path / "a.txt", separator="###")
    interrupt(split_settings(source, None), small_tokenizer, tmp_path / "shards")
    (tmp_path / "a.txt").write_text("###".join(stories[1:]))
    with pytest.raises(
        UserError,
        match=r"shards.partial: the text of 00000.bin has changed since; delete this folder",
    ):
        tokenize(split_settings(source, None), small_tokenizer, tmp_path / "shards", 1000)


def test_finished_shards_are_not_overwritten(small_tokenizer: Path, tmp_path: Path) -> None:
    tokenize(split_settings(STORIES, 100), small_tokenizer, tmp_path / "shards", 1000)
    with pytest.raises(UserError, match="already holds shards"):
        tokenize(split_settings(STORIES, 100), small_tokenizer, tmp_path / "shards", 1000)


def test_what_another_process_finishes_before_the_lock_is_taken(
    small_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = split_settings(STORIES, 100)

    def after_the_other(folder: Path) -> AbstractContextManager[bool]:
        with monkeypatch.context() as patch:
            patch.setattr(tokenization, "locked", locked)
            tokenize(split, small_tokenizer, tmp_path / "shards", 1000)
        return locked(folder)

    monkeypatch.setattr(tokenization, "locked", after_the_other)
    tokenize(split, small_tokenizer, tmp_path / "shards", 1000)
    assert (tmp_path / "shards" / "index.json").exists()


def test_an_empty_corpus_is_an_error_of_one_line(small_tokenizer: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("## ##")
    source = text_source(tmp_path / "a.txt", separator="##")
    write_json(tmp_path / "settings.json", split_settings(source, None).content())
    settings, output = tmp_path / "settings.json", tmp_path / "shards"
    done = run(step("tokenize", settings=settings, tokenizer=small_tokenizer, output=output))
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if "encoding with" not in line)
    assert "a.txt: an empty corpus" in line
    with pytest.raises(UserError, match=r"a.txt: an empty corpus"):
        learned(source, 1000)


def test_token_ids_cannot_be_tokenized(small_tokenizer: Path, tmp_path: Path) -> None:
    source = {"source": "tokens", "file": "raw.bin", "vocab_size": 300}
    with pytest.raises(UserError, match="'tokens' holds no text"):
        tokenize(split_settings(source, None), small_tokenizer, tmp_path / "shards", 1000)


PEAK_MEMORY = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_module("rope_spectra." + sys.argv[0], run_name="__main__")
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak_kib(name: str, **options: Path | str | int) -> int:
    """The most memory a step has held, by its own account.

    The figures that the parent gets of a child include the parent.
    """
    _, _, _, *arguments = step(name, **options)
    done = run([sys.executable, "-c", PEAK_MEMORY, name, *arguments])
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads peak memory from /proc")
def test_memory_does_not_grow_with_the_corpus(small_tokenizer: Path, tmp_path: Path) -> None:
    stories = "<eot>".join(synthetic.story(0, "train", index) for index in range(200)) + "<eot>"
    peaks: dict[str, list[int]] = {"tokenize": [], "memmap_cache": []}
    for times in (1, 10):
        folder = tmp_path / str(times)
        folder.mkdir()
        (folder / "text.txt").write_text(stories * times)
        source = text_source(folder / "text.txt", separator="<eot>")
        write_json(folder / "s.json", split_settings(source, None).content())
        write_json(folder / "options.json", {"tokenizer_check": 10})
        tokenizing = peak_kib(
            "tokenize",
            settings=folder / "s.json",
            options=folder / "options.json",
            tokenizer=small_tokenizer,
            output=folder / "shards",
            shard_tokens=50_000,
        )
        joining = peak_kib(
            "memmap_cache",
            settings=folder / "s.json",
            shards=folder / "shards",
            output=folder / "train.npy",
            manifest=folder / "train.json",
        )
        peaks["tokenize"].append(tokenizing)
        peaks["memmap_cache"].append(joining)
    assert read_json(tmp_path / "10" / "train.json")["documents"] == 2000
    for small, large in peaks.values():
        assert large < 1.15 * small, peaks


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads peak memory from /proc")
def test_one_document_of_50_mb_takes_less_than_a_gigabyte(
    small_tokenizer: Path, tmp_path: Path
) -> None:
    stories = "".join(synthetic.story(0, "train", index) for index in range(200))
    text = (stories * 36)[:50_000_000]
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text}))
    write_json(tmp_path / "options.json", {"tokenizer_check": 10})
    tokens = []
    for name in ("a.txt", "a.jsonl"):
        write_json(
            tmp_path / "s.json", split_settings(text_source(tmp_path / name), None).content()
        )
        peak = peak_kib(
            "tokenize",
            settings=tmp_path / "s.json",
            options=tmp_path / "options.json",
            tokenizer=small_tokenizer,
            output=tmp_path / f"{name}.shards",
        )
        assert peak < 1_000_000
        shards = sorted((tmp_path / f"{name}.shards").glob("*.bin"))
        tokens.append(b"".join(shard.read_bytes() for shard in shards))
    assert tokens[0] == tokens[1]


@given(st.lists(st.lists(st.text("a", max_size=4), max_size=5)), st.integers(1, 9))
def test_a_batch_ends_with_the_piece_that_fills_it(texts: list[list[str]], size: int) -> None:
    pieces = [Pieces(some, [bool(text) for text in some]) for some in texts]
    found = list(tokenization.batches(pieces, size))
    assert [*base.apart(found)] == [*base.apart(pieces)]
    lengths = [[len(text) for text in batch.texts] for batch in found]
    assert all(sum(batch) >= size for batch in lengths[:-1])
    assert all(sum(batch[:-1]) < size for batch in lengths)


def test_the_budget_bounds_what_is_read(small_tokenizer: Path) -> None:
    """A budget must not cost a pass over the whole corpus."""
    read = 0

    def endless() -> Any:
        nonlocal read
        for story in synthetic.stories(0, "train"):
            read += 1
            yield story

    encoder = encoding.Encoder(tokenizers.load_tokenizer(small_tokenizer), small_tokenizer, 1)
    encoded = encoder.encode(tokenization.batches(base.whole(endless()), 100_000))
    assert sum(len(ids.ids) for _, ids in tokenization.first_tokens(encoded, 1000)) == 1000
    # Documents are passed on in groups of some 65,000 characters.
    assert 0 < read * 6000 <= 100_000 + 66_000 + 6000
