"""Content decides through the real workflow: equal content is never trained or evaluated twice."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from rope_spectra.artifacts import seal
from support.checkout import SNAKEMAKE, fresh_checkout, snakemake

RUN = "results/quick/geo_500k/seed1"
# The same runs under other names, and one more.
AGAIN = """
experiments:
  again:
    dataset: quick
    model: tiny
    training: quick
    evaluation: quick
    spectra: [vanilla]
    seeds: [1]
    baseline: vanilla
spectra:
  vanilla: {family: geometric, theta: 500_000}
"""
FASTER = "training: {quick: {learning_rate: 0.01}}"
CERTIFIED = ("model.safetensors", "train.csv", "eval.csv", "eval.npz")


def build(
    project: Path, *targets: str, configs: Iterable[str] = ("quick.yaml",), **more: str
) -> None:
    """Snakemake with these files of configuration."""
    options = ["--cores", "2", "--resources", "gpu=1", *more.values()]
    snakemake(project, *targets, *options, "--configfile", *configs)


def log_of(project: Path, rule: str, run: str = RUN) -> str:
    return (project / f"results/logs/{rule}/{run.removeprefix('results/')}.log").read_text()


def was_adopted(project: Path, run: str = RUN, rule: str = "train") -> bool:
    """False if it was really made; either way its log has to say so."""
    log = log_of(project, rule, run)
    made = "step" if rule == "train" else "lengths"
    assert ("adopted: " in log) != (made in log), log
    return "adopted: " in log


def content_of(project: Path, run: str = RUN) -> dict[str, bytes]:
    return {name: (project / run / name).read_bytes() for name in CERTIFIED}


@pytest.fixture
def clone(finished: Path, tmp_path: Path) -> Path:
    """The project as it comes from elsewhere: no state of Snakemake, no store, no shared files."""
    project = tmp_path / "clone"
    shutil.copytree(finished, project, ignore=shutil.ignore_patterns(".snakemake", ".kept"))
    (project / "again.yaml").write_text(AGAIN)
    (project / "faster.yaml").write_text(FASTER)
    return project


def test_a_clone_with_new_times_and_a_second_experiment_train_nothing(clone: Path) -> None:
    before = content_of(clone)
    log = log_of(clone, "train")
    (clone / RUN / "config.json").touch()
    (clone / "results/quick/evaluation.json").touch()
    other = "results/again/vanilla/seed1"
    targets = [f"{run}/eval.csv" for run in (RUN, other)]
    build(clone, *targets, configs=("quick.yaml", "again.yaml"))
    assert log_of(clone, "train") == log, "it was whole, so no job was needed"
    for rule in ("train", "evaluate"):
        assert was_adopted(clone, other, rule)
    for run in (RUN, other):
        assert content_of(clone, run) == before
    assert seal.read(clone / other / "run.json")["trained_as"] == "quick/geo_500k/seed1"
    # By itself, the folder of either is whole.
    moved = shutil.copytree(clone / other, clone / "elsewhere")
    (moved / "eval.csv").unlink()
    command = [
        *(sys.executable, "-m", "rope_spectra.evaluate", "--run", moved),
        *("--settings", clone / "results/again/evaluation.json"),
        *("--tokens", clone / "results/data/quick/validation.npy"),
        *("--manifest", clone / "results/data/quick/validation.json"),
    ]
    subprocess.run(command, check=True)
    assert (moved / "eval.csv").read_bytes() == before["eval.csv"]


@pytest.mark.slow
def test_a_deleted_folder_comes_back_and_damage_in_the_store_is_trained_again(clone: Path) -> None:
    before = content_of(clone)
    # What is in the store is there from the first real call on.
    build(clone, "results/again/vanilla/seed1/run.json", configs=("quick.yaml", "again.yaml"))
    for name in ("quick", "again"):
        shutil.rmtree(clone / "results" / name)
    build(clone, f"{RUN}/eval.csv")
    assert was_adopted(clone)
    assert content_of(clone) == before
    shutil.rmtree(clone / RUN)
    for model in clone.glob("results/.kept/runs/*/model.safetensors"):
        with model.open("rb+") as file:
            file.write(b"damage")
    build(clone, f"{RUN}/eval.csv")
    assert not was_adopted(clone)
    assert "a kept result is removed" in log_of(clone, "train")
    assert was_adopted(clone, rule="evaluate")
    after = content_of(clone)
    assert after["model.safetensors"] == before["model.safetensors"]
    assert after["train.csv"] != before["train.csv"], "it holds how fast the training was"


@pytest.mark.slow
def test_another_learning_rate_trains_and_the_old_one_is_still_there(
    finished: Path, clone: Path
) -> None:
    before = content_of(clone)
    # By this Snakemake sees a change of settings.
    shutil.copytree(finished / ".snakemake", clone / ".snakemake")
    build(clone, f"{RUN}/eval.csv", configs=("quick.yaml", "faster.yaml"))
    assert not was_adopted(clone)
    assert content_of(clone) != before
    build(clone, f"{RUN}/eval.csv")
    assert was_adopted(clone)
    assert was_adopted(clone, rule="evaluate")
    assert content_of(clone) == before


@pytest.mark.slow
def test_forced_it_trains_and_an_interruption_leaves_what_was_finished(clone: Path) -> None:
    before = content_of(clone)
    record = (clone / RUN / "run.json").read_bytes()
    target = f"{RUN}/run.json"
    snakemake(clone, "-n", target, "--configfile", "quick.yaml")  # after it the times are settled
    times = {name: (clone / RUN / name).stat().st_mtime_ns for name in (*CERTIFIED, "run.json")}
    forced = [SNAKEMAKE, target, "--cores", "1", "--configfile", "quick.yaml"]
    forced += ["--forcerun", "train"]
    log = clone / "results/logs/train/quick/geo_500k/seed1.log"
    log.unlink()
    process = subprocess.Popen(
        forced, cwd=clone, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not (log.exists() and "parameters" in log.read_text()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    assert not (clone / target).exists()
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    assert process.wait(120) != 0
    assert content_of(clone) == before
    assert (clone / target).read_bytes() == record
    assert {name: (clone / RUN / name).stat().st_mtime_ns for name in times} == times
    old = (clone / RUN / "model.safetensors").stat().st_ino
    snakemake(clone, *forced[1:])
    assert not was_adopted(clone)
    assert content_of(clone)["model.safetensors"] == before["model.safetensors"]
    assert (clone / RUN / "model.safetensors").stat().st_ino != old


@pytest.mark.slow
def test_the_same_text_with_a_new_time_under_another_path_trains_nothing(tmp_path: Path) -> None:
    project = fresh_checkout(tmp_path)
    text = project / "books.txt"
    text.write_text("The frequencies of a head are many, and each turns at its own pace.\n" * 4000)
    unseen = project / "unseen.txt"
    unseen.write_text("Few frequencies of a head turn at the pace of another, they say.\n" * 2000)
    settings = yaml.safe_load((project / "quick.yaml").read_text())
    data = {"source": "text", "train": "books.txt", "validation": "unseen.txt"}
    budget = {"train_tokens": 40_000, "validation_tokens": 6_000}
    tokenizer = {"tokenizer": {"train": 100_000, "vocab_size": 300}}
    settings["datasets"]["quick"] = data | budget | tokenizer
    (project / "quick.yaml").write_text(yaml.safe_dump(settings))
    build(project, f"{RUN}/eval.csv")
    before = content_of(project)
    logs = [log_of(project, rule) for rule in ("train", "evaluate")]
    for split, path in (("train", text), ("validation", unseen)):
        path.touch()
        (project / f"{split}.txt").write_bytes(path.read_bytes())
    build(project, f"{RUN}/eval.csv")
    settings["datasets"]["quick"] |= {"train": "train.txt", "validation": "validation.txt"}
    (project / "quick.yaml").write_text(yaml.safe_dump(settings))
    build(project, f"{RUN}/eval.csv")
    for rule, log in zip(("train", "evaluate"), logs, strict=True):
        assert log_of(project, rule) == log or was_adopted(project, rule=rule)
    assert content_of(project) == before


@pytest.mark.slow
def test_small_experiments_of_the_library_train_each_distinct_run_once(tmp_path: Path) -> None:
    project = fresh_checkout(tmp_path)
    names = ("demo", "ten_seeds_small", "theta_controls_small")
    changes = {
        "experiments": {name: {"seeds": [42], "selection": None} for name in names},
        "datasets": {"toy-stories": {"train_tokens": 40_000, "validation_tokens": 8_000}},
        "training": {"tiny": {"tokens": 16_384}},
    }
    (project / "short.yaml").write_text(yaml.safe_dump(changes))
    snakemake(
        project,
        *("--cores", "2", "--resources", "gpu=2", "--until", "train"),
        *("--configfile", "short.yaml", "--config", f"run=[{','.join(names)}]"),
    )
    folders = sorted(path.parent for path in project.glob("results/*/*/seed*/run.json"))
    identities = {seal.read(folder / "run.json")["identity"] for folder in folders}
    adopted = [was_adopted(project, str(folder.relative_to(project))) for folder in folders]
    assert len(identities) < len(folders)
    assert adopted.count(False) == len(identities)
    assert len(list(project.glob("results/.kept/runs/*"))) == len(identities)
