"""Sizes that do not fit together are told before any training, by cost and Snakemake alike."""

import copy
import gzip
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from rope_spectra.artifacts import seal
from rope_spectra.config.load import load
from rope_spectra.config.sections import Config
from rope_spectra.data.cache import Manifest
from rope_spectra.data.sources import SplitSettings
from rope_spectra.planning import prospects
from rope_spectra.runtime.errors import UserError
from rope_spectra.training.run import check_validation
from support.configs import GOOD, SHIPPED


@pytest.fixture
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A configuration of text files with 4,000 bytes to train on and 300 to evaluate on."""
    monkeypatch.chdir(tmp_path)
    Path("train").mkdir()
    Path("train/a.txt").write_text("once upon a time " * 240)
    Path("val.txt").write_text("x" * 300)
    raw = copy.deepcopy(GOOD)
    raw["run"] = ["texts"]
    raw["datasets"]["books"]["tokenizer"] = {"path": "gpt2"}
    return raw


def longest(raw: dict[str, Any], length: int) -> dict[str, Any]:
    raw["evaluation"]["tiny"] = raw["evaluation"]["tiny"] | {"lengths": [32, length]}
    return raw


def refusal(raw: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        prospects.check(load(raw), Path("results"))
    (line,) = str(caught.value).split("\n")
    return line


def test_a_length_beyond_the_bytes_of_the_text_is_refused(books: dict[str, Any]) -> None:
    prospects.check(load(longest(books, 299)), Path("results"))
    line = refusal(longest(books, 300))
    assert line.startswith("datasets.books.validation: the text has 300 bytes;")
    assert "the longest length of evaluation.tiny needs 301 tokens" in line


def test_an_experiment_at_another_rate_is_checked_too(books: dict[str, Any]) -> None:
    texts = books["experiments"]["texts"] | {"spectra": ["geo", "poly"], "contrasts": None}
    texts |= {"primary": {"length": 64}, "baseline": "geo"}
    small, long = {"lengths": [32, 64]}, {"lengths": [32, 64, 300]}
    books["evaluation"] |= {"tiny": books["evaluation"]["tiny"] | small, "long": long}
    books["training"]["slow"] = books["training"]["tiny"] | {"learning_rate": 1.0e-5}
    books["experiments"]["slow"] = texts | {"training": "slow", "evaluation": "long"}
    books["experiments"]["texts"] = texts
    prospects.check(load(books), Path("results"))
    books["experiments"]["texts"] = texts | {"rates": ["slow"]}
    assert "the longest length of evaluation.long needs 301 tokens" in refusal(books)


def test_selection_and_confirmation_need_a_block_each(books: dict[str, Any]) -> None:
    texts = books["experiments"]["texts"]
    texts |= {"seeds": [1, 2], "selection": {"seeds": [1]}}
    prospects.check(load(longest(books, 149)), Path("results"))
    assert "two blocks of the longest length" in refusal(longest(books, 150))


def test_a_batch_beyond_the_bytes_of_the_text_is_refused(books: dict[str, Any]) -> None:
    books["training"]["tiny"] |= {"tokens": None, "batch_size": 128}
    assert "one step of training.tiny needs 4,096 tokens" in refusal(books)


def test_compressed_text_may_hold_any_number_of_tokens(books: dict[str, Any]) -> None:
    Path("val.txt.gz").write_bytes(gzip.compress(b"x" * 300))
    books["datasets"]["books"]["validation"] = ["val.txt.gz"]
    prospects.check(load(longest(books, 900)), Path("results"))


def test_a_cache_tells_exactly(books: dict[str, Any]) -> None:
    config = load(longest(books, 100))
    settings = SplitSettings(
        split="validation", tokens=None, source=config.datasets["books"].split("validation")
    )
    manifest = Manifest(settings=settings, vocab_size=300, tokens=80, sha256="")
    seal.write(Path("results/data/books/validation.json"), manifest.content())
    assert "the text has 80 tokens" in refusal(longest(books, 100))


def test_lengths_none_of_which_is_beyond_training_are_remarked() -> None:
    raw = copy.deepcopy(GOOD)
    raw["evaluation"]["tiny"] = {"lengths": [16, 32]}
    (line,) = prospects.remarks(load(raw), Path("results"))
    assert line.startswith("evaluation.tiny.lengths: none is beyond the training length 32 of demo")


def test_a_disk_without_room_is_remarked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.chdir(tmp_path)
    (line,) = prospects.remarks(load(GOOD), Path("results"))
    assert line.startswith("results: models and checkpoints need about")
    assert "1.0 kB are free" in line


def test_a_training_reads_the_validation_text_that_is_there(tmp_path: Path) -> None:
    source = load(GOOD).datasets["toy"].split("validation")
    settings = SplitSettings(split="validation", tokens=1000, source=source)
    manifest = Manifest(settings=settings, vocab_size=300, tokens=80, sha256="")
    check_validation(tmp_path, 100)
    seal.write(tmp_path / "validation.json", manifest.content())
    check_validation(tmp_path, 100)
    seal.write(tmp_path / "validation.config.json", settings.content())
    check_validation(tmp_path, 80)
    with pytest.raises(UserError, match="has 80 tokens, the evaluation needs 100; "):
        check_validation(tmp_path, 100)
    larger = settings.model_copy(update={"tokens": 2000})
    seal.write(tmp_path / "validation.config.json", larger.content())
    check_validation(tmp_path, 100)


def test_keys_without_effect_are_remarked() -> None:
    raw = copy.deepcopy(GOOD)
    raw["evaluation"]["tiny"] |= {"protocols": ["full"], "chunks": 5}
    raw["training"]["tiny"] |= {"retrieval_share": 0.5}
    del raw["experiments"]["tokens"]  # has no words to ask for
    chunks, share = prospects.remarks(load(raw), Path("results"))
    assert chunks == "evaluation.tiny.chunks: has no effect without first_chunks in protocols"
    assert share.startswith("training.tiny.retrieval_share: demo trains retrieval and does not")


def test_the_library_has_no_remarks() -> None:
    raw = SHIPPED | {"run": list(SHIPPED["experiments"])}
    free = shutil.disk_usage(".")._replace(free=10**15)
    with patch.object(shutil, "disk_usage", return_value=free):
        # Not by load, which looks for the files of all experiments.
        assert prospects.remarks(Config.model_validate(raw), Path("/nowhere")) == []
