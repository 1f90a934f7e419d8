"""A whole search through Snakemake: killed on its way, it ends as one that was left alone."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from rope_spectra.artifacts import seal
from rope_spectra.config.search import FOUND
from support.checkout import SNAKEMAKE, fresh_checkout, job_counts, planned, snakemake

pytest.importorskip("optuna")
pytest.importorskip("cmaes")

SEARCH = """
run: [found]
searches:
  found:
    dataset: quick
    model: tiny
    training: quick
    evaluation: quick
    baseline: geo_10k
    space: {knots: 4, wavelength: [4, train_length*16], stilled: [0.0, 0.5]}
    objective: {metric: degradation, length: 256, limit: 0.1}
    sampler: tpe
    rounds:
      - {candidates: 2, share: 0.5, seeds: [1]}
      - {candidates: 2, proposals: 1, share: 0.5, seeds: [1]}
    confirmation: {seeds: [11], spectra: [geo_500k]}
"""
CALL = ["--cores", "2", "--resources", "gpu=1", "--configfile", "quick.yaml", "search.yaml"]
STATUS = [sys.executable, "-m", "rope_spectra.status"]
PARTS = ["round0", "round1", "confirmation"]


def checkout(project: Path) -> Path:
    fresh_checkout(project)
    (project / "search.yaml").write_text(SEARCH)
    return project


def kill_at(project: Path, path: Path) -> None:
    """Starts Snakemake and kills it with all of its jobs as soon as the file is there."""
    process = subprocess.Popen(
        [SNAKEMAKE, *CALL],
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not path.exists():
        assert process.poll() is None, "it ended before the file was there"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search that was killed twice."""
    project = checkout(tmp_path_factory.mktemp("killed") / "project")
    results = project / "results/found"
    kill_at(project, results / "round0/c00/seed1/config.json")
    kill_at(project, results / "round1/candidates.json")
    snakemake(project, *CALL)
    return project


def test_a_dry_run_shows_a_whole_search(fresh: Path) -> None:
    (fresh / "search.yaml").write_text(SEARCH)
    plan = planned(fresh, *CALL)
    wanted = {"propose": 3, "candidate_config": 6, "train": 10, "evaluate": 10, "best": 1}
    wanted["course"] = 1
    assert {rule: plan.get(rule) for rule in wanted} == wanted


def candidates(project: Path, part: str) -> list[dict[str, object]]:
    content = seal.read(project / "results/found" / part / "candidates.json")
    return list(content["candidates"])


@pytest.mark.slow
def test_a_killed_search_proposes_what_one_does_that_was_left_alone(
    killed: Path, tmp_path: Path
) -> None:
    other = checkout(tmp_path / "other")
    snakemake(other, "results/found/confirmation/candidates.json", *CALL)
    for part in PARTS:
        path = f"results/found/{part}/candidates.json"
        assert (killed / path).read_bytes() == (other / path).read_bytes()
    assert [each["proposal"] for each in candidates(killed, "round0")] == [0, 1]
    assert candidates(killed, "round1")[1]["proposal"] == 2
    assert [each["name"] for each in candidates(killed, "confirmation")] == list(FOUND[:2])


@pytest.mark.slow
def test_the_best_of_a_round_goes_on_without_training_again(killed: Path) -> None:
    run = seal.read(killed / "results/found/round1/c00/seed1/run.json")
    earlier = candidates(killed, "round1")[0]["proposal"]
    assert run["trained_as"] == f"found/round0/c{earlier:02}/seed1"


@pytest.mark.slow
def test_the_claims_are_sealed_before_anything_is_known(killed: Path) -> None:
    confirmation = killed / "results/found/confirmation"
    declared = seal.read(confirmation / "declaration.json")["declared"]
    assert {"name": "best", "family": "proposed"} in declared["spectra"]
    standing = seal.read(confirmation / "tables.json")["declaration"]
    assert (standing["earlier"], standing["changes"]) == (0, [])
    first = seal.read(killed / "results/found/round0/geo_10k/seed1/run.json")
    assert standing["sealed"] < first["finished"]


@pytest.mark.slow
def test_the_best_spectrum_can_be_pasted(killed: Path) -> None:
    text = (killed / "results/found/best.yaml").read_text()
    assert "selection " in text
    assert "confirmation " in text
    pasted = killed / "pasted.yaml"
    pasted.write_text(text)
    best = candidates(killed, "confirmation")[0]
    assert yaml.safe_load(text)["spectra"]["found_best"]["inv_freq"] == best["inv_freq"]
    snakemake(killed, "-n", *CALL, "pasted.yaml")


@pytest.mark.slow
def test_the_page_of_a_search_has_both_scores_and_its_figures(killed: Path) -> None:
    results = killed / "results/found"
    page = (results / "summary.md").read_text()
    assert "selection, 1 seed" in page
    assert "confirmation, 1 seed" in page
    for figure in re.findall(r"\((figures/\w+\.svg)\)", page):
        assert (results / figure).read_text().startswith("<?xml")
    course = pd.read_csv(results / "course.csv")
    assert course["proposal"].nunique() == 3
    best = candidates(killed, "confirmation")[0]["proposal"]
    last = course[course["round"] == 1]
    assert last.loc[last["rank"] == 1, "proposal"].item() == best
    found = pd.read_csv(results / "found.csv")
    assert found["selection"][0] == pytest.approx(last["value"].min(), rel=1e-6)


@pytest.mark.slow
def test_a_clone_of_a_search_makes_nothing_again(killed: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(killed, clone, ignore=shutil.ignore_patterns("*.safetensors", ".snakemake"))
    for folder in ("data", ".kept", "logs"):
        shutil.rmtree(clone / "results" / folder)
    paths = sorted(path for path in (clone / "results").rglob("*") if path.is_file())
    random.Random(0).shuffle(paths)
    for hours, path in enumerate(paths):
        os.utime(path, (1.7e9 + 3600 * hours, 1.7e9 + 3600 * hours))
    plan = job_counts(snakemake(clone, "-n", *CALL).stdout)
    assert not {"train", "evaluate", "propose", "candidate_config", "part_config"} & set(plan), plan


@pytest.mark.slow
def test_status_shows_the_parts_of_a_search(killed: Path) -> None:
    done = subprocess.run(
        [*STATUS, "--json", "--configfile", "quick.yaml", "search.yaml"],
        cwd=killed,
        capture_output=True,
        text=True,
        check=True,
    )
    experiments = {each["name"]: each["parts"] for each in json.loads(done.stdout)["experiments"]}
    assert list(experiments) == [f"found/{part}" for part in PARTS]
    for found in experiments.values():
        assert {part["state"] for part in found} == {"done"}
    assert "best spectrum" in [part["name"] for part in experiments["found/confirmation"]]
