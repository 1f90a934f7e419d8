"""Runs and evaluations that are in the store are adopted, and what is not whole there is not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rope_spectra.artifacts import files, kept, layout, seal
from rope_spectra.artifacts.kept import Store
from rope_spectra.evaluation.adoption import EVALUATIONS
from rope_spectra.training.adoption import RUNS
from support import small_experiment
from support.small_experiment import folder_of, step

CERTIFIED = ("model.safetensors", "train.csv", "eval.csv", "eval.npz")
ALL = (*CERTIFIED, "run.json", "eval.json")
STORE = ("--kept", layout.KEPT)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a whole experiment, of which nothing is in the store."""
    folder = tmp_path_factory.mktemp("adoption")
    before = Path.cwd()
    os.chdir(folder)
    try:
        small_experiment.make_experiment()
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of one run in a copy of the project whose store has all of its results."""
    project = tmp_path / "project"
    shutil.copytree(made, project)
    monkeypatch.chdir(project)
    collect()
    return folder_of("geo", 1)


def collect() -> None:
    Store(Path(layout.KEPT)).collect(Path("results"), [RUNS, EVALUATIONS])


def train(folder: Path) -> list[str]:
    """The log of a training that looks into the store."""
    status, lines = step("train", *small_experiment.train_arguments(folder), *STORE)
    assert status == 0, lines
    return lines


def evaluate(folder: Path) -> list[str]:
    status, lines = step("evaluate", *small_experiment.evaluate_arguments(folder), *STORE)
    assert status == 0, lines
    return lines


def content_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ALL}


def delete_results(folder: Path) -> None:
    for name in ALL:
        (folder / name).unlink()


def renamed(folder: Path, experiment: str, spectrum: str) -> Path:
    """A folder for the same run in another experiment, under another name of its spectrum."""
    other = layout.fill(layout.RUN, experiment=experiment, spectrum=spectrum, seed=1).parent
    settings = json.loads((folder / "config.json").read_text())
    del settings["seal"]
    settings |= {"experiment": experiment, "spectrum": {**settings["spectrum"], "name": spectrum}}
    small_experiment.freeze(other / "config.json", settings)
    return other


def test_a_run_comes_back_with_its_evaluation_to_the_byte(run: Path) -> None:
    before = content_of(run)
    delete_results(run)
    (run / "checkpoint.pt").write_text("of a training that was forced and then left")
    assert train(run) == ["adopted: the same run was trained before"]
    assert evaluate(run) == ["adopted: the same weights were evaluated on the same text before"]
    assert content_of(run) == before
    assert sorted(path.name for path in run.iterdir()) == sorted([*ALL, "config.json"])


def test_another_experiment_adopts_it_under_its_own_names(run: Path) -> None:
    other = renamed(run, "again", "vanilla")
    assert train(other) == ["adopted: the same run was trained before as small/geo/seed1"]
    evaluate(other)
    record = seal.read(other / "run.json")
    assert record["trained_as"] == "small/geo/seed1"
    assert record["settings"]["experiment"] == "again"
    assert record["settings"]["spectrum"]["name"] == "vanilla"
    assert seal.read(other / "eval.json")["run"]["settings"] == record["settings"]
    assert (other / "model.safetensors").samefile(run / "model.safetensors")
    assert not (other / "train.csv").samefile(run / "train.csv")
    # It is complete by itself, and keeps the name of the first one when it is adopted in turn.
    delete_results(run)
    shutil.rmtree(layout.KEPT)
    collect()
    assert train(run) == ["adopted: the same run was trained before"]
    assert "trained_as" not in seal.read(run / "run.json")


def test_adopting_imports_no_torch(run: Path) -> None:
    delete_results(run)
    steps = {
        "train": small_experiment.train_arguments(run),
        "evaluate": small_experiment.evaluate_arguments(run),
    }
    for name, arguments in steps.items():
        program = (
            f"import sys; from rope_spectra import {name}\n"
            f"{name}.main()\n"
            "assert 'torch' not in sys.modules"
        )
        command = [sys.executable, "-c", program, *map(str, arguments), *STORE]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "adopted" in done.stderr


def entry_of(folder: Path, kind: kept.Kind) -> Path:
    record = folder / Path(kind.record).name
    entry = Store(Path(layout.KEPT)).find(kind.name, kind.key(record))
    assert entry is not None
    return entry


@pytest.mark.parametrize("name", ["model.safetensors", "train.csv", "run.json"])
def test_what_is_damaged_in_the_store_is_named_and_trained_again(run: Path, name: str) -> None:
    before = content_of(run)
    entry = entry_of(run, RUNS)
    delete_results(run)
    damaged = bytearray((entry / name).read_bytes())
    damaged[-20] ^= 1
    (entry / name).write_bytes(damaged)
    lines = train(run)
    assert "a kept result is removed and made again" in lines[0]
    assert f"{entry}/{name}" in lines[0]
    assert any("step" in line for line in lines)
    assert (run / "model.safetensors").read_bytes() == before["model.safetensors"]
    assert entry_of(run, RUNS).joinpath("model.safetensors").samefile(run / "model.safetensors")


def test_an_entry_of_another_run_is_not_adopted(run: Path) -> None:
    entry = entry_of(run, RUNS)
    shutil.rmtree(entry)
    shutil.copytree(entry_of(folder_of("geo", 2), RUNS), entry)
    delete_results(run)
    assert "is the record of another run" in train(run)[0]


def test_a_damaged_evaluation_is_made_again(run: Path) -> None:
    before = content_of(run)
    entry = entry_of(run, EVALUATIONS)
    (run / "eval.json").unlink()
    (entry / "eval.csv").write_text("remap\n")
    assert f"{entry}/eval.csv" in evaluate(run)[0]
    assert (run / "eval.csv").read_bytes() == before["eval.csv"]


def test_forced_it_is_trained_and_kept_anew(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content_of(run)
    entry = entry_of(run, RUNS)
    first = (entry / "model.safetensors").stat().st_ino
    monkeypatch.setenv(kept.FORCED, '["train", "evaluate"]')
    assert any("step" in line for line in train(run))
    assert "adopted" not in "".join(evaluate(run))
    assert (run / "model.safetensors").read_bytes() == before["model.safetensors"]
    assert (entry / "model.safetensors").stat().st_ino != first
    assert (entry / "model.safetensors").samefile(run / "model.safetensors")


def test_a_repeat_is_adopted_only_as_that_repeat(run: Path) -> None:
    """It measures the noise floor: a copy of the run that it repeats would measure nothing."""
    repeats = [run.with_name(f"seed1-repeat{number}") for number in (1, 2)]
    for folder in repeats:
        folder.mkdir()
        shutil.copy(run / "config.json", folder)
    assert any("step" in line for line in train(repeats[0]))
    assert any("step" in line for line in train(repeats[1]))
    (repeats[0] / "run.json").unlink()
    assert "adopted" in train(repeats[0])[0]
    evaluate(run)
    assert "adopted" not in "".join(evaluate(repeats[0]))


def test_what_a_failed_job_has_lost_comes_back(run: Path) -> None:
    before = content_of(run)
    for name in ALL:
        os.utime(run / name, (1e9, 1e9))
    collect()
    delete_results(run)
    restored = Store(Path(layout.KEPT)).restore([RUNS, EVALUATIONS])
    assert restored == [run / "run.json", run / "eval.json"]
    assert content_of(run) == before
    assert {(run / name).stat().st_mtime for name in ALL} == {1e9}


def start_training(folder: Path, *more: str) -> subprocess.Popen[str]:
    arguments = map(str, [*small_experiment.train_arguments(folder), *STORE, *more])
    command = [sys.executable, "-m", "rope_spectra.train", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"])
def test_two_trainings_of_one_run_at_once_train_it_once(run: Path, processes: str) -> None:
    other = renamed(run, "again", "vanilla")
    delete_results(run)
    shutil.rmtree(layout.KEPT)
    trainings = [start_training(folder, "--processes", processes) for folder in (run, other)]
    logs = [training.communicate(timeout=200)[1] for training in trainings]
    assert [training.returncode for training in trainings] == [0, 0], logs
    assert sorted("adopted" in log for log in logs) == [False, True], logs
    (waited,) = [log for log in logs if "adopted" in log]
    assert "waiting: another process is making the run of" in waited
    assert (other / "model.safetensors").samefile(run / "model.safetensors")


def kept_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rope_spectra.kept", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "90"}
    )


def test_the_command_shows_the_store_and_removes_what_no_experiment_has(run: Path) -> None:
    unused = entry_of(run, RUNS)
    other = entry_of(folder_of("geo", 2), RUNS)
    shutil.rmtree(run)
    shown = kept_command().stdout
    runs = next(line.split() for line in shown.splitlines() if " runs " in line)
    assert (runs[1], runs[4]) == ("4", "1"), shown
    assert unused.exists()
    snakemake = Path(".snakemake")
    snakemake.mkdir()
    with files.locked(snakemake):
        refused = kept_command("--clean")
    assert refused.returncode == 1
    assert "Snakemake is at work in this folder" in refused.stderr
    assert unused.exists()
    cleaned = kept_command("--clean")
    assert "removed" in cleaned.stdout, cleaned.stderr
    assert not unused.exists()
    assert other.exists()
    assert (folder_of("geo", 2) / "model.safetensors").exists()


def test_the_command_says_when_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert kept_command("--clean").stdout == "no results are kept here\n"
    assert list(tmp_path.iterdir()) == []
