"""An experiment with the retrieval probe, through Snakemake."""

import json
import os
import random
import re
from pathlib import Path

import pandas as pd
import pytest

from rope_spectra.data.episodes import read_probe
from rope_spectra.data.sentence import Sentence
from rope_spectra.runtime.errors import UserError
from support import small_experiment as small
from support.checkout import fresh_checkout, planned, snakemake
from support.damage import damages

PROBED = """
run: [probed]
experiments:
  probed:
    dataset: probed
    model: tiny
    training: probed
    evaluation: probed
    spectra: [geo_500k, hybrid_a0.2_t100k]
    seeds: [1, 2]
    baseline: geo_500k
    primary: {length: 128}
    retrieval: {length: 128}
datasets:
  probed:
    source: synthetic
    train_tokens: 20_000
    validation_tokens: 4_000
    tokenizer: {train: 300_000, vocab_size: 512}
training:
  probed:
    tokens: 16_384
    seq_len: 64
    batch_size: 16
    learning_rate: 3.0e-3
    precision: fp32
    compile: false
    device: cpu
    retrieval_share: 0.5
evaluation:
  probed: {lengths: [64, 128], protocols: [full], remaps: [none, pi], retrieval: {trials: 20}}
"""


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of its own after an experiment with the probe."""
    project = fresh_checkout(tmp_path_factory.mktemp("probed"))
    (project / "probed.yaml").write_text(PROBED)
    snakemake(project, "--cores", "2", "--configfile", "probed.yaml")
    return project


def test_every_run_is_probed_and_tabulated(probed: Path) -> None:
    runs = pd.read_csv(probed / "results/probed/retrieval_runs.csv")
    assert len(runs) == 2 * 2 * 2 * 2
    assert set(runs["trials"]) == {20}
    assert set(runs["chance"]) == {0.1}
    gaps = runs.pivot(index=["length", "spectrum", "seed"], columns="remap", values="nll_gap")
    assert (gaps.loc[64, "none"] == gaps.loc[64, "pi"]).all()  # no remap within the training length
    assert (gaps.loc[128, "none"] != gaps.loc[128, "pi"]).all()
    summary = pd.read_csv(probed / "results/probed/retrieval.csv")
    assert len(summary) == 2 * 2 * 2
    page = (probed / "results/probed/summary.md").read_text()
    assert "## Retrieval" in page
    assert "the retrieval probe does, for one kind of sentence" in page
    assert (probed / "results/probed/figures/retrieval.svg").read_text().startswith("<?xml")


def test_a_retrieval_endpoint_gives_a_frontier(probed: Path) -> None:
    table = pd.read_csv(probed / "results/probed/frontier.csv").set_index(["spectrum", "remap"])
    assert len(table) == 2 * 2
    assert table.loc["geo_500k", "verdict"].tolist() == ["baseline"] * 2
    assert table.loc["hybrid_a0.2_t100k", "verdict"].tolist() == ["too few seeds"] * 2
    runs = pd.read_csv(probed / "results/probed/retrieval_runs.csv")
    by_arm = runs[runs["length"] == 128].groupby(["spectrum", "remap"])["accuracy"].mean()
    assert table["accuracy"].to_dict() == pytest.approx(by_arm.to_dict())
    summary = pd.read_csv(probed / "results/probed/summary.csv").set_index(["spectrum", "remap"])
    growth = summary[summary["length"] == 128]["degradation_mean"]
    assert table["degradation"].to_dict() == pytest.approx(growth.to_dict())
    page = (probed / "results/probed/summary.md").read_text()
    assert "## The frontier: degradation at 128 tokens against retrieval at 128" in page
    assert "![Perplexity against retrieval](figures/frontier.svg)" in page
    assert (probed / "results/probed/figures/frontier.svg").read_text().startswith("<?xml")


def test_experiments_at_other_rates_are_built_along(probed: Path) -> None:
    (probed / "rates.yaml").write_text(
        "experiments:\n"
        "  probed: {rates: [faster]}\n"
        "  faster: {dataset: probed, model: tiny, training: faster, evaluation: probed,\n"
        "           spectra: [geo_500k, hybrid_a0.2_t100k], seeds: [1], baseline: geo_500k}\n"
        "training:\n"
        "  faster: {tokens: 16_384, seq_len: 64, batch_size: 16, learning_rate: 6.0e-3,\n"
        "           precision: fp32, compile: false, device: cpu, retrieval_share: 0.5}\n"
    )
    plan = planned(probed, "--configfile", "probed.yaml", "rates.yaml")
    assert (plan["train"], plan["evaluate"], plan["aggregate"]) == (2, 2, 1)
    assert (plan["rates"], plan["page"]) == (1, 1)


def test_a_run_says_what_sentences_it_saw(probed: Path, finished: Path) -> None:
    run = json.loads((probed / "results/probed/geo_500k/seed1/run.json").read_text())
    record = json.loads((probed / "results/data/probed/sentence.json").read_text())
    assert run["data"]["sentence"] == Sentence(**record).sha256
    assert run["settings"]["training"]["retrieval_share"] == 0.5
    other = json.loads((finished / "results/quick/geo_500k/seed1/run.json").read_text())
    assert "sentence" not in other["data"]
    assert "retrieval_share" not in other["settings"]["training"]


def test_nothing_is_left_to_do_and_another_sentence_trains_again(probed: Path) -> None:
    assert "Nothing to be done" in snakemake(probed, "-n", "--configfile", "probed.yaml").stdout
    (probed / "other.yaml").write_text(
        'datasets: {probed: {retrieval_sentence: "Remember {value}!"}}\n'
    )
    plan = planned(probed, "--configfile", "probed.yaml", "other.yaml")
    assert (plan["sentence"], plan["train"], plan["evaluate"]) == (1, 4, 4)
    assert "tokenize_train" not in plan


def test_rows_with_tasks_are_made_of_words_and_train_again(probed: Path) -> None:
    tasks = PROBED.replace("retrieval_share: 0.5", "retrieval_share: {key: 0.5}")
    (probed / "tasks.yaml").write_text(tasks)
    plan = planned(probed, "--configfile", "tasks.yaml")
    assert (plan["probe_words"], plan["train"], plan["evaluate"]) == (1, 4, 4)
    assert "tokenize_train" not in plan
    # The sentence is there already, for the evaluation.
    assert "sentence" not in plan


def test_a_step_that_needs_the_sentence_says_so(
    probed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(probed)
    status, lines = small.step(
        "evaluate",
        *("--run", "results/probed/geo_500k/seed1"),
        *("--settings", "results/probed/evaluation.json"),
        *("--tokens", "results/data/probed/validation.npy"),
        *("--manifest", "results/data/probed/validation.json"),
    )
    assert status == 1
    assert len(lines) == 1
    assert re.match("error: --sentence: is missing, .*; give the file that", lines[0])


def test_damage_to_the_sentence_is_found(probed: Path, tmp_path: Path) -> None:
    path = tmp_path / "sentence.json"
    content = (probed / "results/data/probed/sentence.json").read_bytes()
    for _, damaged in damages(content, random.Random(0)):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"sentence\.json: "):
            read_probe(path, "sentence")
    path.write_bytes(content)
    assert read_probe(path, "sentence") == Sentence(**json.loads(content))


@pytest.mark.slow
def test_tasks_are_asked_and_tabulated_by_length_and_distance(fresh: Path) -> None:
    shares = "retrieval_share: {key: 0.3, pairs: 0.1}"
    tasks = "retrieval: {trials: 10, tasks: [key, keys, pairs]}"
    text = PROBED.replace("retrieval_share: 0.5", shares).replace("retrieval: {trials: 20}", tasks)
    (fresh / "tasks.yaml").write_text(text.replace("seeds: [1, 2]", "seeds: [1]"))
    snakemake(fresh, "--cores", "2", "--configfile", "tasks.yaml")
    results = fresh / "results/probed"
    runs = pd.read_csv(results / "retrieval_runs.csv")
    assert len(runs) == 2 * 2 * 2 * 3
    truncated = runs.set_index("length")["truncated_accuracy"]
    assert truncated.loc[64].isna().all()
    assert truncated.loc[128].notna().all()
    summary = pd.read_csv(results / "retrieval.csv").set_index("task")
    assert set(summary.index) == {"key", "keys", "pairs", "all"}
    assert set(summary.loc["keys", "trained_share"]) == {0}
    distances = pd.read_csv(results / "retrieval_distance.csv")
    at = distances[(distances["task"] == "all") & (distances["length"] == 128)]
    assert set(at.groupby(["spectrum", "remap"])["trials"].sum()) == {30}
    for figure in ("retrieval", "retrieval_distance"):
        assert (results / f"figures/{figure}.svg").read_text().startswith("<?xml")
    assert "No training row had keys:" in (results / "summary.md").read_text()
    assert "Nothing to be done" in snakemake(fresh, "-n", "--configfile", "tasks.yaml").stdout
    # A clone has its files in any order of time: equal words train nothing again.
    os.utime(fresh / "results/data/probed/probe.json")
    plan = planned(fresh, "--configfile", "tasks.yaml")
    assert not {"train", "evaluate"} & plan.keys()


@pytest.mark.slow
def test_a_trained_toy_model_finds_the_word_within_its_training_length(fresh: Path) -> None:
    (fresh / "one.yaml").write_text(
        "experiments: {retrieval_small: {spectra: [geo_500k], seeds: [42, 123]}}\n"
    )
    snakemake(fresh, "--cores", "2", "--configfile", "one.yaml", "--config", "run=retrieval_small")
    runs = pd.read_csv(fresh / "results/retrieval_small/retrieval_runs.csv").set_index("length")
    assert runs.loc[128, "accuracy_wilson95_low"] > 2 * runs.loc[128, "chance"]
    assert runs.loc[128, "nll_gap_ci95_low"] > 0
