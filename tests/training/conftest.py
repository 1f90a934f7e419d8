"""The common ground of the tests of training: token caches, and a run that was left alone."""

import json
import random
from pathlib import Path

import pytest

from support.by_hand import SETTINGS, step
from support.resumable import EVERY_STEP, arguments


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Token caches for 400 steps, and the files of a run that was left alone in whole/."""
    folder = tmp_path_factory.mktemp("resume")
    ids = random.Random(0).choices(range(64), k=25_600)
    (folder / "raw.bin").write_bytes(bytes(byte for value in ids for byte in (value, 0)))
    source = {"source": "tokens", "file": "raw.bin", "vocab_size": 64}
    (folder / "split.json").write_text(
        json.dumps({"split": "train", "tokens": None, "source": source})
    )
    (folder / "options.json").write_text(json.dumps(EVERY_STEP))
    (folder / "config.json").write_text(json.dumps(SETTINGS))
    cache = ("--output", folder / "tokens.npy", "--manifest", folder / "tokens.json")
    done = step(
        "memmap_cache", "--settings", folder / "split.json", "--shards", folder / "raw.bin", *cache
    )
    assert done.returncode == 0, done.stderr
    done = step("train", *arguments(folder, folder / "whole"))
    assert done.returncode == 0, done.stderr
    return folder
