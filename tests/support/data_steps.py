"""Helpers of the tests of the data steps: running a step, settings, a small tokenizer."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from rope_spectra.data import cache
from rope_spectra.data.sources import SplitSettings, TokenizerFile
from rope_spectra.data.tokenization import tokenize
from rope_spectra.data.tokenizers import make_tokenizer
from support.checkout import SHARED

DATA = SHARED / "data"
NEOX = DATA / "neox" / "tokenizer.json"
STORIES = {"source": "synthetic", "seed": 0, "split": "train"}
ENVIRONMENT = os.environ | {"HF_HUB_OFFLINE": "1"}


def step(name: str, **options: Path | str | int) -> list[str]:
    """The command line of a step; an option --token-bytes is given as token_bytes."""
    command = [sys.executable, "-m", f"rope_spectra.{name}"]
    for option, value in options.items():
        command += [f"--{option.replace('_', '-')}", str(value)]
    return command


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def split_settings(source: dict[str, Any], budget: int | None) -> SplitSettings:
    """Frozen settings of a training split, of the source as JSON has it."""
    content = {"split": "train", "tokens": budget, "source": source}
    return SplitSettings.model_validate(content)


def text_source(*files: Path | str, separator: str | None = None) -> dict[str, Any]:
    """A source of text files, as JSON has it."""
    return {
        "source": "text",
        "files": [str(file) for file in files],
        "separator": separator,
        "text_column": "text",
    }


def cache_of(
    folder: Path, split: SplitSettings, tokenizer_file: Path, shard_tokens: int = 10_000
) -> tuple[np.ndarray, cache.Manifest]:
    """Run both steps of a split in this process; return its tokens and its manifest."""
    folder.mkdir(parents=True)
    tokenize(split, tokenizer_file, folder / "shards", shard_tokens)
    cache.publish(split, folder / "shards", folder / "train.npy", folder / "train.json")
    manifest = cache.read_manifest(folder / "train.json")
    return cache.open_tokens(folder / "train.npy", manifest), manifest


def learn_tokenizer(folder: Path) -> Path:
    """A byte-level BPE of 400 tokens, learned from the first stories."""
    path = folder / "tokenizer.json"
    path.write_bytes(learned(STORIES))
    return path


def learned(source: dict[str, Any], characters: int = 100_000) -> bytes:
    """The tokenizer.json of a byte-level BPE of 400 tokens."""
    content = {"train": characters, "vocab_size": 400, "source": source}
    return make_tokenizer(TokenizerFile.model_validate(content).root)
