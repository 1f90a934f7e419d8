"""The noise floor: one run trained several times, and how far the repeats differ."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rope_spectra.analysis import noise_floor
from rope_spectra.artifacts import files, layout, seal
from rope_spectra.config import frozen
from rope_spectra.config.design import Design
from rope_spectra.config.load import load
from rope_spectra.runtime.errors import UserError
from support import small_experiment as small
from support.checkout import snakemake
from support.designs import make_design

PAGE, TABLE = Path("results/small/summary.md"), Path("results/small/noise_floor.csv")
LONGEST = "protocol == 'full' and length == 32"
FIRST, REPEATS = small.folder_of("geo", 1), [small.folder_of("geo", f"1-repeat{k}") for k in (1, 2)]


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Design]:
    """The design of a finished experiment in results/ whose first run was repeated twice."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("noise"))
    try:
        yield small.make_experiment(noise_floor=2)
    finally:
        os.chdir(before)


@pytest.fixture
def copied(repeated: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Design:
    shutil.copytree("results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return repeated


def test_which_runs_are_repeated() -> None:
    design = make_design("geo", baseline="geo+yarn", seeds=[42, 7], noise_floor=2)
    assert design.repeats == [("geo", "42-repeat1"), ("geo", "42-repeat2")]
    assert design.noise_floor_runs == [("geo", "42"), ("geo", "7"), *design.repeats]
    assert make_design("geo").repeats == []


def test_a_repeat_is_frozen_as_the_run_it_repeats(repeated: Design) -> None:
    assert {(folder / "config.json").read_bytes() for folder in REPEATS} == {
        (FIRST / "config.json").read_bytes()
    }
    assert (
        len(
            {
                json.loads((folder / "run.json").read_text())["identity"]
                for folder in (FIRST, *REPEATS)
            }
        )
        == 1
    )


def page_with(design: Design) -> str:
    """The page of the experiment, with the table of its noise floor."""
    path = small.design_file(design)
    small.done("noise_floor", "--definition", path, "--csv", TABLE)
    small.done("page", *small.page_arguments(design), "--noise-floor", TABLE)
    return PAGE.read_text()


def test_deterministic_repeats_are_equal_to_the_bit_and_the_page_says_so(
    repeated: Design,
) -> None:
    small.done("noise_floor", "--definition", small.design_file(repeated), "--csv", TABLE)
    table = pd.read_csv(TABLE)
    assert len(table) == 2 * 2  # protocols x lengths
    assert set(table["n_runs"]) == {3}
    assert set(table["n_weights"]) == {1}
    assert table["ppl_spread"].max() == table["ppl_std"].max() == 0
    seeds = [
        pd.read_csv(small.folder_of("geo", seed) / "eval.csv").query(LONGEST)["ppl"].iloc[0]
        for seed in (1, 2)
    ]
    assert table.query(LONGEST)["seed_std"].iloc[0] == pytest.approx(
        np.std(seeds, ddof=1), rel=1e-8
    )
    page = page_with(repeated)
    assert "geo seed 1 trained 3 times: bit-equal weights; at 32 tokens" in page
    assert "(protocol `full`) the spread is 0 PPL" in page
    assert "not measured here" not in page


def shift(folder: Path, factor: float) -> None:
    """Let a run have ended with other weights, whose perplexity is `factor` times as large."""
    scores = pd.read_csv(folder / "eval.csv")
    scores.assign(ppl=factor * scores["ppl"]).to_csv(folder / "eval.csv", index=False)
    run, evaluation = seal.read(folder / "run.json"), seal.read(folder / "eval.json")
    run["files"]["model.safetensors"] = evaluation["run"]["model"] = f"{factor:064}"
    evaluation["files"]["eval.csv"] = files.sha256(folder / "eval.csv")
    seal.write(folder / "run.json", run)
    seal.write(folder / "eval.json", evaluation)


def test_repeats_that_differ_are_measured_next_to_the_seeds(copied: Design) -> None:
    first = pd.read_csv(FIRST / "eval.csv").query(LONGEST)["ppl"].iloc[0]
    shift(REPEATS[0], 1.1)
    shift(REPEATS[1], 0.9)
    row = noise_floor.measure(copied).query(LONGEST).iloc[0]
    assert row["n_weights"] == 3
    assert row["ppl_spread"] == pytest.approx(0.2 * first)
    assert row["ppl_std"] == pytest.approx(0.1 * first)
    assert [float(value) for value in row["ppl"].split()] == pytest.approx(
        [first, 1.1 * first, 0.9 * first]
    )
    assert row["n_seeds"] == 2
    small.done("aggregate", *small.aggregate_arguments(copied))
    page = page_with(copied)
    assert "3 different sets of weights; at 32 tokens (protocol `full`)" in page
    assert f"spread is {0.2 * first:.3g} PPL next to a seed std of {row['seed_std']:.3g}" in page


def test_repeats_do_not_count_as_seeds(repeated: Design) -> None:
    runs = pd.read_csv("results/small/runs.csv")
    assert sorted(set(runs["seed"])) == [1, 2]
    assert set(pd.read_csv("results/small/summary.csv")["n_seeds"]) == {2}


def test_a_run_that_is_no_repeat_is_refused(copied: Design) -> None:
    shutil.rmtree(REPEATS[1])
    shutil.copytree(small.folder_of("geo", 2), REPEATS[1])
    with pytest.raises(
        UserError,
        match=r"seed1-repeat2: not a repeat of seed1, its settings or data differ; delete it",
    ):
        noise_floor.measure(copied)


def test_a_damaged_repeat_is_refused(copied: Design) -> None:
    content = (REPEATS[0] / "eval.csv").read_bytes()
    (REPEATS[0] / "eval.csv").write_bytes(content.replace(b"full", b"fuLl", 1))
    with pytest.raises(
        UserError, match=r"repeat1/eval.csv: not the file that .*eval.json describes"
    ):
        noise_floor.measure(copied)


def test_nothing_is_repeated_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load(small.EXPERIMENT)
    assert frozen.repeats(loaded, "small") == []
    path = small.design_file(frozen.design(loaded, "small"))
    status, lines = small.step("noise_floor", "--definition", path, "--csv", TABLE)
    assert (status, lines[-1]) == (
        1,
        f"error: {path}: small repeats no run; set its noise_floor to 1 or more",
    )
    assert not TABLE.exists()


def test_the_workflow_plans_the_repeats_and_the_page_waits_for_them(fresh: Path) -> None:
    (fresh / "noise.yaml").write_text("experiments: {quick: {noise_floor: 2}}\n")
    without = snakemake(fresh, "-n", "--configfile", "quick.yaml").stdout
    assert "noise_floor" not in without
    plan = snakemake(fresh, "-n", "--configfile", "quick.yaml", "noise.yaml", "--forceall").stdout
    assert plan.count("rule train:") == 4 + 2
    assert plan.count("rule noise_floor:") == 1
    page = next(part for part in plan.split("\n\n") if "rule page:" in part)
    assert layout.NOISE_FLOOR.format(experiment="quick") in page
    repeat = layout.EVAL.format(experiment="quick", spectrum="geo_500k", seed="1-repeat2")
    table = next(part for part in plan.split("\n\n") if "rule noise_floor:" in part)
    assert repeat in table


@pytest.mark.slow
def test_repeats_through_snakemake(finished: Path, tmp_path: Path) -> None:
    """The finished experiment asks for a repeat afterwards: that run is trained, no other."""
    project = tmp_path / "project"
    shutil.copytree(finished, project)
    (project / "noise.yaml").write_text("experiments: {quick: {noise_floor: 1}}\n")
    done = snakemake(project, "--configfile", "quick.yaml", "noise.yaml", "--cores", "2")
    assert done.stderr.count("] train ") == 1
    table = pd.read_csv(project / "results/quick/noise_floor.csv")
    assert set(table["n_weights"]) == {1}
    assert (
        "geo_500k seed 1 trained 2 times: bit-equal weights"
        in (project / "results/quick/summary.md").read_text()
    )
