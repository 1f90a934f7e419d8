"""Frozen settings of a split, and what each kind of source says of itself."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rope_spectra.artifacts import seal
from rope_spectra.data.hub import HubData
from rope_spectra.data.sources import SplitSettings, TokenizerFile
from rope_spectra.data.synthetic import SyntheticData
from rope_spectra.data.text_files import TextData
from rope_spectra.data.token_files import TokensData
from rope_spectra.runtime.errors import UserError
from support.data_steps import STORIES, text_source

GOOD: dict[str, Any] = {"split": "train", "tokens": 100, "source": text_source("a.txt")}
TOKENIZER = {"path": "owner/tokenizer"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(tokens="50M"), "tokens: "),
        (lambda s: s.update(tokens=True), "tokens: "),
        (lambda s: s.update(tokens=0), "tokens: .*1"),
        (lambda s: s.pop("split"), "split"),
        (lambda s: s.update(seed=1), "seed"),
        (lambda s: s.update(source="a.txt"), "source: "),
        (lambda s: s["source"].update(source="txt"), "source.*'txt'.*did you mean 'text'"),
        (lambda s: s["source"].update(files=[]), "source.*files: "),
        (lambda s: s["source"].update(files=[1]), r"source.*files\W+0"),
        (lambda s: s["source"].update(separator=""), "source.*separator: "),
        (lambda s: s["source"].update(path="x"), "source.*path"),
        (lambda s: s.update(source=STORIES | {"split": "test"}), "source.*split: "),
        (lambda s: s.update(source=STORIES, tokens=None), "tokens is null.*never ends"),
    ],
)
def test_malformed_settings_are_named(
    tmp_path: Path, change: Callable[[dict], object], message: str
) -> None:
    settings = json.loads(json.dumps(GOOD))
    change(settings)
    path = tmp_path / "train.config.json"
    path.write_text(json.dumps(settings))
    with pytest.raises(UserError, match=f"train.config.json: .*{message}") as caught:
        seal.load_settings(path, SplitSettings)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_good_settings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "train.config.json"
    path.write_text(json.dumps(GOOD))
    assert seal.load_settings(path, SplitSettings).content() == GOOD


def test_a_dataset_of_the_hub_describes_itself(tmp_path: Path) -> None:
    data = HubData(source="hub", path="owner/data", revision="abc", tokenizer=TOKENIZER)
    split = data.split("validation")
    assert split.hub_id == "owner/data"
    assert split.description == "split `validation` of `owner/data` at revision `abc`"
    assert (split.local_files(), list(data.file_mistakes("train"))) == ([], [])
    local = HubData(source="hub", path=str(tmp_path / "stories"), tokenizer=TOKENIZER)
    assert local.split("train").hub_id is None
    assert local.split("train").description == "split `train` of a local data set `stories`"
    (mistake,) = local.file_mistakes("train")
    assert mistake.startswith("path: no directory")


def test_text_files_describe_themselves(tmp_path: Path) -> None:
    names = {"train": [str(tmp_path / "*.txt")], "validation": str(tmp_path / "b.txt")}
    data = TextData(source="text", tokenizer=TOKENIZER, **names)
    assert data.split("validation").description == "text files `b.txt`"
    (mistake,) = data.file_mistakes("train")
    assert mistake.startswith("train: ")
    assert "no such file" in mistake
    (tmp_path / "b.txt").touch()
    (tmp_path / "a.txt").touch()
    (mistake,) = data.file_mistakes("train")
    assert mistake == "train: all its files are empty; give files with text"
    (tmp_path / "a.txt").write_text("text")
    assert list(data.file_mistakes("train")) == []
    (tmp_path / "c.txt").write_bytes(bytes.fromhex("504b0304"))
    (mistake,) = data.file_mistakes("train")
    assert mistake.startswith("train: ")
    assert "c.txt: a zip archive" in mistake
    (tmp_path / "c.txt").unlink()
    assert data.split("train").local_files() == [
        str(tmp_path / name) for name in ("a.txt", "b.txt")
    ]
    assert data.split("train").known_tokens() is None


@pytest.mark.parametrize("how", ["path", "copy", "link", "hard link"])
@pytest.mark.parametrize("source", ["text", "tokens"])
def test_a_text_that_is_trained_on_is_not_evaluated_on(
    tmp_path: Path, how: str, source: str
) -> None:
    train, validation = tmp_path / "a" / "train.txt", tmp_path / "validation.txt"
    train.parent.mkdir()
    train.write_text("text")
    match how:
        case "path":
            validation = train
        case "copy":
            shutil.copy(train, validation)
        case "link":
            validation.symlink_to(train)
        case "hard link":
            validation.hardlink_to(train)
    files: dict[str, Any] = {"train": str(train), "validation": str(validation)}
    data: TextData | TokensData = TextData(source="text", tokenizer=TOKENIZER, **files)
    if source == "tokens":
        data = TokensData(source="tokens", vocab_size=2**16, **files)
    assert list(data.file_mistakes("train")) == []
    (mistake,) = data.file_mistakes("validation")
    assert mistake.startswith(f"validation: {validation} has the content of {train}")
    if how == "copy":
        validation.write_text("teXt")
        assert list(data.file_mistakes("validation")) == []


def test_a_split_that_is_trained_on_is_not_evaluated_on(tmp_path: Path) -> None:
    data = HubData(source="hub", path="o/d", validation_split="train", tokenizer=TOKENIZER)
    assert list(data.file_mistakes("train")) == []
    (mistake,) = data.file_mistakes("validation")
    assert mistake.startswith("validation_split: 'train' is trained on as well")


def test_token_files_describe_themselves(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    data = TokensData(source="tokens", train=str(file), validation=str(file), vocab_size=9)
    split = data.split("train")
    assert split.local_files() == [str(file)]
    assert split.description == "token ids in `a.bin`"
    for content, message in ((None, "no file"), (b"", "empty"), (b"abc", "odd")):
        if content is not None:
            file.write_bytes(content)
        (mistake,) = data.file_mistakes("validation")
        assert mistake.startswith("validation: ")
        assert message in mistake
    file.write_bytes(bytes(8))
    assert list(data.file_mistakes("train")) == []
    assert split.known_tokens() == 4


def test_generated_stories_never_end() -> None:
    data = SyntheticData(
        source="synthetic", seed=3, train_tokens=9, validation_tokens=9, tokenizer=TOKENIZER
    )
    split = data.split("train")
    assert split.is_endless
    assert split.description == "stories generated by rope-spectra, seed 3"
    assert (split.local_files(), split.known_tokens(), split.hub_id) == ([], None, None)


@pytest.mark.parametrize(
    ("settings", "description"),
    [
        ({"path": "owner/tokenizer"}, "`owner/tokenizer` at revision `main`"),
        ({"path": "/home/somebody/neox", "revision": None}, "a local one, `neox`"),
        (
            {"train": 100_000, "vocab_size": 400, "source": STORIES},
            "byte-level BPE learned from 100,000 characters of the same source",
        ),
    ],
)
def test_a_tokenizer_describes_itself(settings: dict[str, Any], description: str) -> None:
    assert TokenizerFile.model_validate(settings).root.description == description


def test_sources_import_nothing_heavy() -> None:
    """The Snakefile imports them for every job."""
    heavy = {"torch", "numpy", "pandas", "datasets", "pyarrow", "tokenizers", "huggingface_hub"}
    code = f"import sys, rope_spectra.data.sources\nprint(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
