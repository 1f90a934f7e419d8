"""The study within a time limit: the workflow's own runs, paired however early the time ends."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from rope_spectra.artifacts import layout
from rope_spectra.config import files as config_files
from support.checkout import ROOT, fresh_checkout, job_counts, snakemake

SCRIPT = ROOT / "benchmarks" / "gpu_study.py"


@pytest.fixture(scope="module")
def with_tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose tiny dataset is tokenized, and nothing else is done."""
    project = fresh_checkout(tmp_path_factory.mktemp("study"))
    data = [layout.fill(layout.TOKENS, dataset="quick", split=split) for split in layout.SPLITS]
    snakemake(project, "--configfile", "quick.yaml", "--", *map(str, data))
    return project


def run_study(project: Path, *arguments: str) -> str:
    command = [sys.executable, str(SCRIPT), "--experiment", "quick", "--configfile", "quick.yaml"]
    done = subprocess.run(
        [*command, "--output", "study.json", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_its_runs_are_those_of_the_workflow(with_tokens: Path) -> None:
    assert run_study(with_tokens, "--seconds", "1") == "1 done, 0 failed, 3 no time left"
    assert run_study(with_tokens, "--seconds", "600") == "3 done, 0 failed, 0 no time left"
    assert run_study(with_tokens, "--seconds", "600") == "0 done, 0 failed, 0 no time left"
    done = snakemake(with_tokens, "--cores", "2", "--configfile", "quick.yaml")
    jobs = job_counts(done.stdout + done.stderr)
    assert "aggregate" in jobs
    assert not {"train", "evaluate", "tokenize_train", "memmap_cache"} & set(jobs)
    assert (with_tokens / "results/quick/summary.csv").is_file()


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script as a module, in an empty folder with results/."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("gpu_study", SCRIPT)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_study", loaded)
    spec.loader.exec_module(loaded)
    (tmp_path / "results").mkdir()
    monkeypatch.chdir(tmp_path)
    return loaded


@pytest.mark.parametrize("ends_after", [1, 2, 3, 4])
def test_the_time_may_end_anywhere(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, ends_after: int
) -> None:
    """A run that does not fit is not begun, and each seed is finished before the next one."""
    config = config_files.read([ROOT / "config.yaml"])
    now = 0.0
    begun = []

    def step(main, place, **options) -> bool:
        nonlocal now
        now += 15
        begun.append((place["spectrum"], place["seed"]))
        return True

    monkeypatch.setattr(module, "_step", step)
    outcomes = list(module.study(config, "demo", 30 * ends_after + 1, clock=lambda: now))
    done = [(each.spectrum, each.seed) for each in outcomes if each.state == "done"]
    spectra = config.experiments["demo"].spectra
    assert done == [*dict.fromkeys(begun)]
    assert len(done) == ends_after
    assert now <= 30 * ends_after + 1
    assert done[: len(spectra)] == [(spectrum, 42) for spectrum in spectra][:ends_after]


def test_calls_beside_each_other_share_the_runs(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each does its own; both steps of a run get what the probe asks with."""
    config = config_files.read([ROOT / "config.yaml"])
    asked = []

    def step(main, place, **options) -> bool:
        asked.append(options["sentence"])
        return True

    monkeypatch.setattr(module, "_step", step)
    outcomes = list(module.study(config, "frontier_books", 60, ["*/seed2024", "geo_L/seed999"]))
    spectra = config.experiments["frontier_books"].spectra
    done = {(each.spectrum, each.seed) for each in outcomes}
    assert done == {(spectrum, 2024) for spectrum in spectra} | {("geo_L", 999)}
    assert set(asked) == {layout.fill(layout.PROBE, dataset="long-books")}
    assert len(asked) == 2 * len(outcomes)


def test_rows_that_are_remembered_are_the_rows(module: ModuleType) -> None:
    calls = []

    def change(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        calls.extend(numbers.tolist())
        return rows + numbers[:, None].astype(np.uint16)

    table = np.arange(40, dtype=np.uint16).reshape(8, 5)
    remembered = module.RememberedRows(change)
    for numbers in ([3, 1, 4], [1, 5, 3], [1, 3, 4]):
        chosen = np.array(numbers)
        expected = table[chosen] + chosen[:, None].astype(np.uint16)
        assert np.array_equal(remembered(table[chosen], chosen), expected)
    assert sorted(calls) == [1, 3, 4, 5]
