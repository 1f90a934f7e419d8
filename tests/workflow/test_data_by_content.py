"""Data by content through the real workflow: a text of 5.7 MB under new times, paths and names."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from rope_spectra.artifacts import seal
from rope_spectra.data import synthetic
from support.checkout import SNAKEMAKE, fresh_checkout, planned, snakemake

RUN = "results/quick/geo_500k/seed1"
TARGETS = (f"{RUN}/eval.csv", f"{RUN}/run.json")
SPLITS = ("train", "validation")
CALL = ("--cores", "2", "--resources", "gpu=1", "--configfile", "quick.yaml")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on a text that is too large for Snakemake's checksums."""
    project = fresh_checkout(tmp_path_factory.mktemp("by-content"))
    for split in SPLITS:
        stories = (synthetic.story(0, split, index) for index in range(790))
        path = project / "books" / f"{split}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("#".join(stories))
        assert path.stat().st_size > 5_700_000
    configure(project, "books", "books")
    build(project)
    return project


def configure(project: Path, folder: str, dataset: str) -> None:
    """The text in this folder, as a dataset of this name."""
    settings = yaml.safe_load((project / "quick.yaml").read_text())
    files = {split: f"{folder}/{split}.txt" for split in SPLITS}
    # All of the training text; little of the other one, because it is also evaluated.
    made = {"validation_tokens": 6_000, "tokenizer": {"train": 100_000, "vocab_size": 400}}
    settings["datasets"] = {dataset: {"source": "text", "separator": "#"} | files | made}
    settings["experiments"]["quick"]["dataset"] = dataset
    (project / "quick.yaml").write_text(yaml.safe_dump(settings))


def build(project: Path) -> None:
    snakemake(project, *TARGETS, *CALL)


def content_of(project: Path, dataset: str) -> dict[str, bytes]:
    """Every file of the data and of the run, without those that say when it was made."""
    names = [f"{split}.{kind}" for split in SPLITS for kind in ("npy", "json")]
    names += ["tokenizer/tokenizer.json", "tokenizer/token_bytes.npy", "tokenizer/record.json"]
    content = {name: (project / "results/data" / dataset / name).read_bytes() for name in names}
    names = ["model.safetensors", "train.csv", "run.json", "eval.csv", "eval.npz"]
    return content | {name: (project / RUN / name).read_bytes() for name in names}


def was_encoded(project: Path, dataset: str) -> dict[str, bool]:
    """By split; either way its log has to say so."""
    found = {}
    for split, rule in zip(SPLITS, ("tokenize_train", "tokenize_val"), strict=True):
        log = (project / f"results/logs/{rule}/{dataset}.log").read_text()
        found[split] = f"{split} tokens" in log
        assert found[split] != ("are there already" in log), log
    return found


@pytest.mark.slow
def test_a_new_time_makes_the_very_same_bytes_without_encoding(project: Path) -> None:
    before = content_of(project, "books")
    assert was_encoded(project, "books") == {"train": True, "validation": True}
    for split in SPLITS:
        (project / "books" / f"{split}.txt").touch()
    build(project)
    assert was_encoded(project, "books") == {"train": False, "validation": False}
    # With run.json and its times: it is the training of before.
    assert content_of(project, "books") == before
    assert planned(project, *TARGETS, *CALL) == {}


@pytest.mark.slow
def test_another_folder_and_another_name_of_the_dataset_share_the_tokens(project: Path) -> None:
    before = content_of(project, "books")
    shutil.move(project / "books", project / "library")
    configure(project, "library", "stories")
    build(project)
    assert was_encoded(project, "stories") == {"train": False, "validation": False}
    after = content_of(project, "stories")
    differing = {name for name in before if after[name] != before[name]}
    assert differing == {"train.json", "validation.json", "tokenizer/record.json"}
    manifest = seal.read(project / "results/data/stories/train.json")
    assert manifest["settings"]["source"]["files"] == ["library/train.txt"]
    data = project / "results/data"
    assert (data / "stories/train.npy").samefile(data / "books/train.npy")
    shutil.move(project / "library", project / "books")
    configure(project, "books", "books")


@pytest.mark.slow
def test_kills_in_the_middle_lose_nothing(project: Path) -> None:
    before = content_of(project, "books")
    for seconds in (0.3, 1.5):
        for split in SPLITS:
            (project / "books" / f"{split}.txt").touch()
        log = project / "results/logs/tokenizer/books.log"
        log.unlink(missing_ok=True)
        process = subprocess.Popen(
            [SNAKEMAKE, *TARGETS, *CALL],
            cwd=project,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not log.exists() and process.poll() is None:
            time.sleep(0.02)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        build(project)
        assert content_of(project, "books") == before
        assert planned(project, *TARGETS, *CALL) == {}


@pytest.mark.slow
def test_one_changed_byte_is_encoded_and_trained_on(project: Path) -> None:
    before = content_of(project, "books")
    path = project / "books" / "train.txt"
    text = path.read_bytes()
    at = 3_000_000
    path.write_bytes(text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :])
    build(project)
    assert was_encoded(project, "books") == {"train": True, "validation": False}
    after = content_of(project, "books")
    assert after["train.npy"] != before["train.npy"]
    assert after["model.safetensors"] != before["model.safetensors"]
    assert after["validation.npy"] == before["validation.npy"]
    path.write_bytes(text)
    build(project)
    assert not was_encoded(project, "books")["train"]
    assert content_of(project, "books") == before
