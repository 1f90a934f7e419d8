"""A clone has its results in any order of time, and without weights; nothing is made again."""

import os
import random
import shutil
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from rope_spectra.artifacts import files
from rope_spectra.config.load import load
from rope_spectra.config.sections import Config
from rope_spectra.planning.settle import settle
from support.checkout import QUICK, ROOT, job_counts, snakemake

RUNS = sorted(f"{name}/seed{seed}" for name in ("geo_500k", "hybrid_a0.2_t100k") for seed in (1, 2))


@pytest.fixture
def clone(finished: Path, tmp_path: Path) -> Path:
    """The finished project as git gives it back: no weights, no data, no memory, any time."""
    project = tmp_path / "clone"
    shutil.copytree(finished, project, ignore=shutil.ignore_patterns("*.safetensors", ".snakemake"))
    for folder in ("data", ".kept", "logs"):
        shutil.rmtree(project / "results" / folder)
    shuffle_times(project / "results")
    return project


def shuffle_times(folder: Path) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    random.Random(0).shuffle(paths)
    for hours, path in enumerate(paths):
        os.utime(path, (1.7e9 + 3600 * hours, 1.7e9 + 3600 * hours))


def config_of(**changes: object) -> Config:
    content = yaml.safe_load((ROOT / "config.yaml").read_text())
    update_config(content, yaml.safe_load(QUICK))
    update_config(content, changes)
    return load(content)


def names(settled: list[Path], kind: str) -> list[str]:
    folders = [path.parent for path in settled if path.name == kind]
    return sorted(f"{folder.parent.name}/{folder.name}" for folder in folders)


def test_snakemake_makes_only_tables_of_a_clone(clone: Path) -> None:
    done = snakemake(clone, "--cores", "2", "--configfile", "quick.yaml")
    jobs = job_counts(done.stdout + done.stderr)
    assert "aggregate" in jobs
    assert not {"tokenizer", "tokenize_train", "memmap_cache", "train", "evaluate"} & set(jobs)


def test_each_result_becomes_newer_than_its_inputs(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clone)
    assert settle(config_of())
    for run in RUNS:
        folder = clone / "results/quick" / run
        times = {path.name: path.stat().st_mtime for path in folder.iterdir()}
        assert times["config.json"] <= min(times["run.json"], times["train.csv"])
        scores = [times[name] for name in ("eval.csv", "eval.npz", "eval.json")]
        assert times["run.json"] <= min(scores)
    assert settle(config_of()) == []


def test_a_run_of_other_settings_stays_outdated(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clone)
    changed = config_of(training={"quick": {"learning_rate": 1.0e-3}})
    # An evaluation may be newer than its run all the same, depending on the times drawn.
    assert names(settle(changed), "run.json") == []


@pytest.mark.parametrize(("split", "record"), [("train", "run.json"), ("validation", "eval.json")])
def test_other_text_leaves_what_was_made_from_it_outdated(
    finished: Path, clone: Path, monkeypatch: pytest.MonkeyPatch, split: str, record: str
) -> None:
    """The manifest of the other split is certified by its seal: it is that of the wrong text."""
    monkeypatch.chdir(clone)
    other = {"train": "validation", "validation": "train"}[split]
    manifests = clone / "results/data/quick"
    manifests.mkdir(parents=True)
    shutil.copy(finished / f"results/data/quick/{other}.json", manifests / f"{split}.json")
    assert names(settle(config_of()), record) == []


def test_a_damaged_record_is_left_to_the_step_that_reads_it(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clone)
    for run in RUNS:
        record = clone / "results/quick" / run / "run.json"
        files.write_text(record, record.read_text().replace("sha256", "sha265"))
    assert names(settle(config_of()), "run.json") == []
