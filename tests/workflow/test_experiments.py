"""The experiments beyond the study: a small one with a selection, and those of the library."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from rope_spectra.analysis import published, statistics
from rope_spectra.config import frozen
from rope_spectra.config.design import CONFIRMATION
from rope_spectra.config.load import load
from rope_spectra.config.search import SearchPart
from support.checkout import ROOT, fresh_checkout, snakemake

LIBRARY = load(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))
BEYOND = ["theta_controls", "yarn_compare", "ten_seeds", "evq", "retrieval"]
SMALL = [f"{name}_small" for name in BEYOND]
# The seeds that the study used.
TEN = {42, 123, 7, 17, 97, 999, 2024, 2025, 2718, 31415}

CHOSEN = """
run: [chosen]
experiments:
  chosen:
    dataset: quick
    model: tiny
    training: quick
    evaluation: quick-remaps
    spectra: [geo_500k, evq_500k]
    seeds: [1, 2, 3]
    selection: {seeds: [2], blocks: 0.4}
    baseline: geo_500k+yarn
    contrasts: [evq_500k+none]
evaluation:
  quick-remaps: {lengths: [64, 256], chunks: 4, remaps: [none, yarn]}
"""


@pytest.fixture(scope="module")
def chosen(fresh: Path) -> Path:
    """A small experiment with a selection and a remap, through Snakemake."""
    (fresh / "chosen.yaml").write_text(CHOSEN)
    snakemake(
        fresh, "--cores", "2", "--resources", "gpu=1", "--configfile", "quick.yaml", "chosen.yaml"
    )
    return fresh / "results/chosen"


@pytest.mark.slow
def test_each_phase_is_scored_on_its_own_seeds_and_blocks(chosen: Path) -> None:
    table_of_runs, result = pd.read_csv(chosen / "runs.csv"), pd.read_csv(chosen / "summary.csv")
    assert dict(zip(table_of_runs["seed"], table_of_runs["phase"], strict=True)) == {
        1: "confirmation",
        2: "selection",
        3: "confirmation",
    }
    # 40 % of the 23 blocks of 256 in 6000 tokens.
    for seed, kept in ((2, slice(None, 9)), (3, slice(9, None))):
        nll = np.load(chosen / f"evq_500k/seed{seed}/eval.npz")["yarn/256/nll"]
        assert len(nll) == 23
        row = table_of_runs.query(
            "spectrum == 'evq_500k' and remap == 'yarn' and protocol == 'full'"
            f" and length == 256 and seed == {seed}"
        )
        assert row["nll"].item() == pytest.approx(
            nll[kept].sum() / (256 * len(nll[kept])), rel=1e-9
        )
        assert (row["tokens"].item(), row["chunks"].item()) == (
            256 * len(nll[kept]),
            len(nll[kept]),
        )
    seeds = dict(zip(result["phase"], result["seeds"].astype(str), strict=True))
    assert seeds == {"confirmation": "1 3", "selection": "2"}
    assert not result.duplicated(["phase", "spectrum", "remap", "protocol", "length"]).any()
    tokens = result[result["protocol"] == "full"].groupby("phase")["eval_tokens"].unique()
    assert {phase: list(counts) for phase, counts in tokens.items()} == {
        "confirmation": [14 * 256],
        "selection": [9 * 256],
    }


@pytest.mark.slow
def test_only_confirmation_gives_verdicts_and_the_page_says_what_is_what(chosen: Path) -> None:
    result, page = pd.read_csv(chosen / "summary.csv"), (chosen / "summary.md").read_text()
    exploratory = result[(result["phase"] == "selection") | (result["protocol"] == "first_chunks")]
    assert set(exploratory["verdict"]) == {"exploratory", "baseline"}
    assert exploratory["p_holm"].isna().all()
    confirmed = result.query("phase == 'confirmation' and protocol == 'full'")
    assert "exploratory" not in set(confirmed["verdict"])
    claimed = confirmed.dropna(subset="p_holm")
    assert set(zip(claimed["spectrum"], claimed["remap"], claimed["baseline"], strict=True)) == {
        ("evq_500k", "none", "geo_500k+yarn")
    }
    assert "Selection: seeds 2 on the first 40 %" in page
    assert "Confirmation: seeds 1, 3 on the other blocks" in page
    assert page.index("tokens against geo_500k + yarn") < page.index(
        "## Selection: exploratory, no verdicts"
    )
    joined = (chosen.parent / "summary.md").read_text()
    assert "evq_500k + yarn" in joined


@pytest.mark.slow
def test_the_run_holds_the_tau_of_its_experiment(chosen: Path) -> None:
    settings = json.loads((chosen / "evq_500k/seed1/config.json").read_text())
    assert settings["spectrum"] == {
        "name": "evq_500k",
        "family": "evq_cosh",
        "theta": 500_000.0,
        "tau": 32 / 64**0.5,
    }


# --- the library ----------------------------------------------------------------------------------


@pytest.mark.parametrize("experiment", BEYOND + SMALL)
def test_declared_contrasts_can_become_significant(experiment: str) -> None:
    """m contrasts over the n seeds of confirmation: Holm's smallest p is m * 2 / 2^n."""
    design = frozen.design(LIBRARY, experiment)
    family = design.comparisons.family(design.remaps)
    seeds = design.seeds_of(CONFIRMATION)
    assert len(seeds) >= 6
    assert 0 < len(family) * statistics.smallest_p(len(seeds)) < statistics.ALPHA


@pytest.mark.parametrize("experiment", BEYOND + SMALL)
def test_candidates_were_chosen_on_seed_42_and_are_confirmed_on_others(experiment: str) -> None:
    design = frozen.design(LIBRARY, experiment)
    assert design.selection is not None
    assert design.selection.content() == {"seeds": [42], "blocks": 0.5}
    assert 42 not in design.seeds_of(CONFIRMATION)
    assert set(design.seeds) <= TEN


@pytest.mark.parametrize("experiment", BEYOND)
def test_small_versions_ask_the_same_of_the_toy(experiment: str) -> None:
    large = frozen.design(LIBRARY, experiment)
    small = frozen.design(LIBRARY, f"{experiment}_small")
    names = [spectrum.name for spectrum in large.spectra]
    assert [spectrum.name for spectrum in small.spectra] == names
    assert small.baseline == large.baseline
    assert set(small.contrasts) <= set(large.contrasts)
    assert small.model == "tiny"
    assert small.training.partition("-")[0] == "tiny"
    assert small.remaps == large.remaps


def test_every_hybrid_comes_with_the_geometric_spectrum_of_its_theta() -> None:
    for name in BEYOND:
        names = LIBRARY.experiments[name].spectra
        for hybrid in (each for each in names if each.startswith("hybrid")):
            assert f"geo_{hybrid.partition('_t')[2]}" in names


def test_ten_seeds_are_the_published_ones() -> None:
    facts = published.published_runs("ten_seeds")
    experiment = LIBRARY.experiments["ten_seeds"]
    assert set(facts["seed"]) == set(experiment.seeds)
    assert set(facts["spectrum"]) < set(experiment.spectra)


def test_every_spectrum_of_the_library_can_be_made_for_every_model() -> None:
    for name, experiment in LIBRARY.experiments.items():
        if isinstance(experiment, SearchPart):
            continue
        design = frozen.design(LIBRARY, name)
        for spectrum in design.spectra:
            assert np.isfinite(spectrum.inv_freq(design.head_dim)).all()


@pytest.fixture(scope="module")
def without_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of its own: runs that other tests leave in theirs would be planned no more."""
    return fresh_checkout(tmp_path_factory.mktemp("without-runs"))


@pytest.mark.slow
@pytest.mark.parametrize("experiment", BEYOND + SMALL)
def test_snakemake_plans_every_run(without_runs: Path, experiment: str) -> None:
    plan = snakemake(without_runs, "-n", "--config", f"run={experiment}").stdout
    counts = dict(re.findall(r"^(train|evaluate) +([0-9]+)$", plan, flags=re.MULTILINE))
    runs = str(len(frozen.runs(LIBRARY, experiment)))
    assert counts == {"train": runs, "evaluate": runs}
