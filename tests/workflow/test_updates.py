"""Results of released commits under the present code: nothing is made again, the tables come out.

finished/README.md says what is in the archives.
"""

import importlib.util
import os
import random
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pandas as pd
import pytest

from support.checkout import SNAKEMAKE, fresh_checkout, planned, snakemake

ARCHIVES = Path(__file__).with_name("finished")
COMMITS = sorted(path.name.partition(".")[0] for path in ARCHIVES.glob("*.tar.xz"))
CONFIGURATION = ("--configfile", "mini.yaml")
# Verdicts and the plan of further seeds follow the statistics of the day; CHANGELOG.md says when.
JUDGED = ["verdict", "seeds_for_80pct_power"]
TABLES = ("summary.csv", "plain/runs.csv", "plain/summary.csv", "probed/summary.csv")
# What Snakemake asks of conda in a dry run.
CONDA = """#!/bin/sh
case "$*" in
    --version) echo "conda 25.1.0" ;;
    "info --json") echo '{"platform": "linux-64", "conda_prefix": "/opt/conda"}' ;;
    *) echo '{"get": {"channel_priority": "strict"}}' ;;
esac
"""
COSTLY = {
    "tokenizer",
    "tokenize_train",
    "tokenize_val",
    "memmap_cache",
    "sentence",
    "probe_words",
    "train",
    "evaluate",
}


def unpack(commit: str, project: Path) -> Path:
    """The present code in a folder with the results of a commit."""
    fresh_checkout(project)
    with tarfile.open(ARCHIVES / f"{commit}.tar.xz") as archive:
        archive.extractall(project, filter="data")
    shutil.copy(ARCHIVES / "mini.yaml", project)
    spec = importlib.util.spec_from_file_location("make", ARCHIVES / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    make.write_tokens(project)
    return project


@pytest.fixture(scope="module", params=COMMITS)
def updated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the present code with the results of an older commit."""
    return unpack(request.param, tmp_path_factory.mktemp(request.param) / "project")


def weights(project: Path) -> dict[Path, tuple[bytes, int]]:
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in project.glob("results/*/*/seed*/model.safetensors")
    }


def logs(project: Path) -> set[str]:
    """The costly rules that have run."""
    return COSTLY & {path.name for path in project.glob("results/logs/*")}


def assert_equal_where_both_have_columns(project: Path, before: dict[str, pd.DataFrame]) -> None:
    for name, old in before.items():
        old = old.drop(columns=JUDGED, errors="ignore")
        new = pd.read_csv(project / "results" / name)
        pd.testing.assert_frame_equal(new[old.columns], old, check_exact=True, obj=name)


def test_an_update_plans_no_data_training_or_evaluation(updated: Path) -> None:
    plan = planned(updated, *CONFIGURATION)
    assert not COSTLY & plan.keys()
    assert plan["aggregate"] == 2


def test_the_tables_of_an_update_come_from_the_old_runs(updated: Path) -> None:
    before = {name: pd.read_csv(updated / "results" / name) for name in TABLES}
    models = weights(updated)
    snakemake(updated, "results/summary.csv", "--cores", "2", *CONFIGURATION)
    assert logs(updated) == set()
    assert weights(updated) == models
    assert_equal_where_both_have_columns(updated, before)


@pytest.mark.slow
@pytest.mark.parametrize("commit", COMMITS)
def test_results_without_the_state_of_snakemake_are_kept(commit: str, tmp_path: Path) -> None:
    """As a clone or a pull brings them: no metadata, and times in any order."""
    project = unpack(commit, tmp_path)
    shutil.rmtree(project / ".snakemake")
    before = {name: pd.read_csv(project / "results" / name) for name in TABLES}
    models = {path: content for path, (content, _) in weights(project).items()}
    chance = random.Random(commit)
    for path in project.glob("results/**/*.*"):
        os.utime(path, (chance.random(), chance.random()))
    snakemake(project, "results/summary.csv", "--cores", "2", *CONFIGURATION)
    # Planned or not, nothing is trained.
    for log in project.glob("results/logs/train/*/*/*.log"):
        assert "adopted: " in log.read_text()
        assert "step" not in log.read_text()
    assert {path: content for path, (content, _) in weights(project).items()} == models
    assert_equal_where_both_have_columns(project, before)


@pytest.mark.slow
def test_a_kill_during_a_forced_retraining_loses_no_finished_run(tmp_path: Path) -> None:
    """SIGKILL leaves no time to put back what Snakemake has deleted; the next call does it."""
    project = unpack("183f25a", tmp_path)
    models = weights(project)
    record = project / "results/plain/geo_10k/seed1/run.json"
    target = str(record.relative_to(project))
    command = [SNAKEMAKE, target, "--cores", "1", *CONFIGURATION, "--forcerun", "train"]
    killed = subprocess.Popen(
        command, cwd=project, start_new_session=True, stderr=subprocess.DEVNULL
    )
    while record.exists():
        assert killed.poll() is None
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert weights(project).keys() < models.keys()
    snakemake(project, "results/plain/geo_10k/seed1/eval.csv", "--cores", "1", *CONFIGURATION)
    assert record.exists()
    assert weights(project).keys() == models.keys()
    assert {content for content, _ in weights(project).values()} == {
        content for content, _ in models.values()
    }


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another checkout with results, whose files a test may edit."""
    return unpack("183f25a", tmp_path_factory.mktemp("edited") / "project")


def costly(project: Path, *arguments: str) -> dict[str, int]:
    """The jobs for data, training and evaluation that are planned."""
    plan = planned(project, *CONFIGURATION, *arguments)
    return {rule: count for rule, count in plan.items() if rule in COSTLY}


def test_edits_of_code_shell_lines_and_environment_make_nothing_again(
    newest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("data", "train", "evaluate"):
        rules = newest / f"workflow/rules/{name}.smk"
        rules.write_text(rules.read_text().replace("--log {log}", " --log {log}"))
    for name in ("envs/environment.yaml", "workflow/rope_spectra/training/trainer.py"):
        with (newest / name).open("a") as file:
            file.write("# another line\n")
    (tmp_path / "conda").write_text(CONDA)
    (tmp_path / "conda").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    # Snakemake's own triggers would make all of it again.
    everything = ("--rerun-triggers", "mtime", "params", "input", "code", "software-env")
    assert costly(newest, "--sdm", "conda") == {}
    assert costly(newest, "--sdm", "conda", *everything)["train"] == 8


def test_what_matters_is_still_noticed(newest: Path) -> None:
    """Another learning rate in one experiment, another text in the other; another spectrum."""
    (newest / "rate.yaml").write_text("training: {probed: {learning_rate: 2.0e-3}}\n")
    (newest / "spectrum.yaml").write_text("spectra: {geo_500k: {theta: 400000}}\n")
    assert costly(newest, "spectrum.yaml") == {"train": 4, "evaluate": 4}
    tokens = newest / "train.bin"
    tokens.write_bytes(tokens.read_bytes()[::-1])
    assert costly(newest, "rate.yaml") == {"memmap_cache": 1, "train": 8, "evaluate": 8}
