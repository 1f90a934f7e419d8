"""Data as researchers have them, through the real workflow: right, or one line."""

import bz2
import csv
import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import yaml
from pyarrow import parquet

from rope_spectra.data import synthetic
from support.checkout import fresh_checkout, snakemake

SPLITS = ("train", "validation")
TEXTS = {split: [synthetic.story(0, split, index) for index in range(3)] for split in SPLITS}
TOKENIZER = {"train": 10_000, "vocab_size": 300}


def as_csv(texts: list[str]) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([["text"], *([text] for text in texts)])
    return file.getvalue().encode()


def as_parquet(texts: list[str]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.table({"text": texts}), file)
    return file.getvalue()


def as_lines(texts: list[str]) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def zstandard(content: bytes) -> bytes:
    return pyarrow.compress(content, codec="zstd", asbytes=True)


FORMATS: dict[str, Callable[[list[str]], bytes]] = {
    "a.txt": lambda texts: "<eot>".join(texts).encode(),
    "C4.00000-of-01024.JSON.GZ": lambda texts: gzip.compress(as_lines(texts)),
    "array.json": lambda texts: json.dumps([{"text": text} for text in texts]).encode(),
    "it's a file; $(odd) *.csv.zst": lambda texts: zstandard(as_csv(texts)),
    "a.ndjson.bz2": lambda texts: bz2.compress(as_lines(texts)),
    "0000.parquet": as_parquet,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fresh_checkout(tmp_path_factory.mktemp("inputs"))


def configure(project: Path, datasets: dict[str, Any], run: str | None = None) -> None:
    """These datasets; the experiment that is run has the one that is named."""
    settings = yaml.safe_load((project / "quick.yaml").read_text())
    settings["datasets"] = datasets
    settings["experiments"]["quick"]["dataset"] = run or next(iter(datasets))
    (project / "inputs.yaml").write_text(yaml.safe_dump(settings))


@pytest.mark.slow
def test_every_format_gives_the_same_tokens(project: Path) -> None:
    datasets: dict[str, Any] = {}
    for number, (name, make) in enumerate(FORMATS.items()):
        files = {}
        for split in SPLITS:
            path = project / "texts" / str(number) / split / name
            path.parent.mkdir(parents=True)
            # A separated document has no white space around it.
            path.write_bytes(make([text.strip() for text in TEXTS[split]]))
            files[split] = str(path.relative_to(project))
        datasets[f"d{number}"] = {"source": "text", "tokenizer": TOKENIZER} | files
    datasets["d0"]["separator"] = "<eot>"
    configure(project, datasets)
    targets = [f"results/data/{name}/{split}.npy" for name in datasets for split in SPLITS]
    snakemake(project, *targets, "--configfile", "inputs.yaml", "--cores", "2")
    for split in SPLITS:
        made = {(project / f"results/data/{name}/{split}.npy").read_bytes() for name in datasets}
        assert len(made) == 1
    ids = np.load(project / "results/data/d0/train.npy")
    np.save(project / "ids.npy", ids.astype("i8"))
    ids[::-1].astype("u4").tofile(project / "ids.bin")
    arrays = {"source": "tokens", "train": "ids.npy", "validation": "ids.npy", "vocab_size": 300}
    raw = arrays | {"train": "ids.bin", "dtype": "uint32"}
    configure(project, {"d0": datasets["d0"], "t0": arrays, "t1": raw})
    targets = ["results/data/t0/train.npy", "results/data/t1/train.npy"]
    snakemake(project, *targets, "--configfile", "inputs.yaml", "--cores", "2")
    assert np.array_equal(np.load(project / targets[0]), ids)
    assert np.array_equal(np.load(project / targets[1]), ids[::-1])


def _not_utf8(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/gr\xfcn.txt")).write_text("text")


def _dangling(folder: Path) -> None:
    (folder / "b.txt").symlink_to("gone.txt")


def _utf16(folder: Path) -> None:
    (folder / "a.txt").write_text("some text", encoding="utf-16")


def _pointer(folder: Path) -> None:
    (folder / "a.txt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")


def _contaminated(folder: Path) -> None:
    (folder.parent / "validation" / "copy.txt").write_bytes((folder / "a.txt").read_bytes())


def _brace(folder: Path) -> None:
    (folder / "{a}.txt").write_text("text")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "key", "words"),
    [
        (_not_utf8, "train", "not UTF-8; rename the file"),
        (_dangling, "train", "1 of 2 are links to files that are not there"),
        (_utf16, "train", "iconv -f UTF-16 -t UTF-8"),
        (_pointer, "train", "git lfs pull"),
        (_contaminated, "validation", "which is trained on"),
        (_brace, "train", "rename the file"),
    ],
)
def test_what_is_wrong_with_files_is_one_line_before_anything_runs(
    project: Path, tmp_path: Path, damage: Callable[[Path], None], key: str, words: str
) -> None:
    for split in SPLITS:
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.txt").write_text("".join(TEXTS[split]))
    damage(tmp_path / "train")
    files = {split: str(tmp_path / split / "*.txt") for split in SPLITS}
    configure(project, {"bad": {"source": "text", "tokenizer": TOKENIZER} | files})
    done = snakemake(project, "-n", "--configfile", "inputs.yaml", ok=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("datasets."))
    assert line.startswith(f"datasets.bad.{key}: ")
    assert words in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "rule", "words"),
    [
        ({"source": "hub", "validation_split": "test"}, "tokenize_val", "available splits: train"),
        ({"source": "text", "separator": "<no>"}, "tokenizer", "'<no>' never occurs"),
    ],
)
def test_what_is_found_while_text_is_read_is_one_line_in_the_log(
    project: Path, dataset: dict[str, Any], rule: str, words: str
) -> None:
    folder = project / "flat" / rule
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / f"{name}.parquet").write_bytes(as_parquet(TEXTS["train"]))
        (folder / f"{name}.txt").write_text(name + TEXTS["train"][0])
    if dataset["source"] == "hub":
        files = {"path": str(folder)}
        for path in folder.glob("*.txt"):
            path.unlink()
    else:
        files = {"train": str(folder / "a.txt"), "validation": str(folder / "b.txt")}
    name = rule.replace("_", "")
    configure(project, {name: dataset | files | {"tokenizer": TOKENIZER}})
    targets = [f"results/data/{name}/{split}.npy" for split in SPLITS]
    done = snakemake(project, *targets, "--configfile", "inputs.yaml", "--cores", "1", ok=False)
    assert done.returncode == 1
    log = (project / f"results/logs/{rule}/{name}.log").read_text()
    assert words in log
    assert "Traceback" not in done.stderr + done.stdout + log
