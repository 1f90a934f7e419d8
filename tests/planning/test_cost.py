"""Estimates of an experiment against published numbers, real files and a real model."""

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rope_spectra.artifacts import layout, seal
from rope_spectra.config import files, frozen
from rope_spectra.config.sections import Config, Evaluation, EvaluationSettings, Retrieval
from rope_spectra.data.cache import write_cache
from rope_spectra.data.hub import HubData
from rope_spectra.data.sentence import Sentence
from rope_spectra.data.sources import Dataset
from rope_spectra.data.text_files import TextData
from rope_spectra.data.token_files import TokensData
from rope_spectra.evaluation import perplexity, probe, usage
from rope_spectra.model.llama import Llama
from rope_spectra.planning import estimates
from rope_spectra.planning.estimates import Tokens
from support import tiny_model
from support.checkout import ROOT

TINY_TEXT = Tokens(3_000, "budget")


@pytest.fixture(scope="module")
def config() -> Config:
    """The library of config.yaml."""
    with contextlib.chdir(ROOT):
        return files.load(argparse.Namespace(configfile=[], config=["run=350m_final"]))


def cost(folder: Path, *arguments: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "rope_spectra.cost", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert (done.returncode == 0) == ok, done.stderr
    return done


@pytest.fixture(scope="module")
def known() -> dict[str, dict[str, Any]]:
    """The study's two sizes by name, as the command says it."""
    done = cost(
        ROOT,
        "--config",
        "run=350m_final,unified_search_3cfg_3seed",
        "--json",
        "--results",
        "/nowhere",
    )
    return {item["experiment"]: item for item in json.loads(done.stdout)}


def test_the_50m_experiment_takes_what_is_known(known: dict[str, dict[str, Any]]) -> None:
    """Sizes and steps of docs/protocol.md, FLOP of docs/performance.md."""
    item = known["unified_search_3cfg_3seed"]
    assert (item["runs"], item["rows"], item["steps"]) == (9, 24_414, 762)
    assert item["parameters"] / 1e6 == pytest.approx(50.9, abs=0.05)
    assert item["flop_per_token"] / 1e6 == pytest.approx(381, abs=0.5)
    assert item["tokens_per_run"] == 762 * 32 * 2048
    assert item["training_flop"] == 9 * item["tokens_per_run"] * item["flop_per_token"]
    assert item["cache_bytes"] == 2 * (50_000_000 + 4_753_217) + 2 * 128
    assert item["validation_data"] == {"count": 4_753_217, "source": "count"}
    assert item["memory_bytes_whole_batch"] / 1e9 == pytest.approx(22, abs=0.5)


def test_the_350m_experiment_takes_what_is_known(known: dict[str, dict[str, Any]]) -> None:
    item = known["350m_final"]
    assert (item["runs"], item["rows"], item["steps"]) == (2, 230_844, 7_213)
    assert item["parameters"] / 1e6 == pytest.approx(454.2, abs=0.05)
    assert item["flop_per_token"] / 1e6 == pytest.approx(3329, abs=0.5)
    assert item["train_data"] == {"count": 472_770_254, "source": "count"}
    a100 = next(entry for entry in item["throughputs"] if entry["name"] == "a100")
    assert a100["tokens_per_s"] == pytest.approx(34_500, rel=0.001)
    assert 218 <= 60 * a100["hours"]["training"] / 2 <= 237, (
        "minutes per run of the study on an A100"
    )


@pytest.mark.parametrize("name", ["tiny", "50m", "350m"])
def test_parameters_are_those_of_the_real_model(config: Config, name: str) -> None:
    sizes = config.models[name]
    with torch.device("meta"):
        model = Llama(sizes, torch.ones(sizes.pairs))
    assert sizes.num_parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("tokens", [700, 1024, 1025, 3_000])
def test_evaluation_passes_are_what_the_evaluation_does(tokens: int, monkeypatch) -> None:
    retrieval = Retrieval(trials=10, distractors=9)
    lengths = [64, 96, 256]
    fed = 0

    def count(model: Any, ids: torch.Tensor, targets: torch.Tensor, *_: Any) -> torch.Tensor:
        nonlocal fed
        fed += ids.numel()
        return torch.zeros(targets.shape)

    monkeypatch.setattr(perplexity, "token_nll", count)
    model = torch.nn.Module()
    model.register_buffer("inv_freq", torch.ones(4))
    model.hidden = lambda ids: count(model, ids, ids)[..., None]
    model.lm_head = torch.nn.Linear(1, 60)
    sentence = Sentence(before=(50,), after=(51,), values=tuple(range(20)))
    text = np.zeros(tokens, np.uint16)
    for length in lengths:
        perplexity.first_chunks(model, text, length, 4)
        perplexity.full(model, text, length, 256, 64)
    without = fed
    for length in lengths:
        perplexity.candidate_nll(model, *probe.trials(sentence, text, length, 10, 9))
    for probed, expected in ((None, without), (retrieval, fed)):
        evaluation = EvaluationSettings(lengths=lengths, chunks=4, retrieval=probed)
        passes = estimates.evaluation_passes(evaluation, tokens)
        assert sum(passed for _, passed in passes) == expected


@pytest.mark.parametrize("usage_tokens", [1, 200])
def test_usage_passes_are_what_the_measurement_does(usage_tokens: int) -> None:
    fed = Counter()
    model = tiny_model.llama({"family": "geometric", "theta": 100.0}, seed=0).eval()
    hidden = model.hidden

    def count(ids: torch.Tensor) -> torch.Tensor:
        fed[ids.shape[1]] += ids.numel()
        return hidden(ids)

    model.hidden = count
    evaluation = Evaluation(lengths=[8, 64], usage=True, usage_tokens=usage_tokens)
    usage.measure(model, tiny_model.tokens(1000), evaluation.usage_settings, 16, "fp32")
    assert dict(estimates.usage_passes(evaluation, pairs=8, train_length=16)) == fed


def test_a_cache_has_the_bytes_that_were_said(tmp_path: Path, config: Config) -> None:
    write_cache(tmp_path / "a.npy", iter([np.zeros(3_000, "<u2")]), 3_000)
    said = estimates.estimate(config, "demo", TINY_TEXT, Tokens(0, "budget")).cache_bytes
    assert said == (tmp_path / "a.npy").stat().st_size + 128


NEOX, OTHER = {"path": "EleutherAI/gpt-neox-20b"}, {"path": "./mine"}


def tokens_of(dataset: Dataset) -> Tokens | None:
    config = Config.model_construct(datasets={"a": dataset})
    return estimates.split_tokens(config, "a", "train", Path("/nowhere"))


def hub_tokens(tokenizer: dict[str, str], budget: int | None = None) -> Tokens | None:
    dataset = HubData(
        source="hub", path="roneneldan/TinyStories", tokenizer=tokenizer, train_tokens=budget
    )
    return tokens_of(dataset)


def test_how_the_size_of_a_text_is_known(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(bytes(4000))
    file = str(tmp_path / "a.txt")
    assert hub_tokens(NEOX, 500_000_000) == Tokens(472_770_254, "count")
    assert hub_tokens(NEOX, 50_000_000) == Tokens(50_000_000, "count")
    assert hub_tokens(OTHER, 50_000_000) == Tokens(50_000_000, "budget")
    assert hub_tokens(OTHER) is None
    tokens = TokensData(source="tokens", train=file, validation=file, vocab_size=10)
    assert tokens_of(tokens) == Tokens(2_000, "file")
    for budget, count in ((None, 1_000), (10_000, 1_000), (900, 900)):
        text = TextData(
            source="text", train=[file], validation=[file], tokenizer=OTHER, train_tokens=budget
        )
        assert tokens_of(text) == Tokens(count, "guess")


def test_a_finished_cache_knows_better_if_it_is_of_the_same_text(
    tmp_path: Path, config: Config
) -> None:
    path = layout.within(tmp_path, layout.MANIFEST.format(dataset="toy-stories", split="train"))
    path.parent.mkdir(parents=True)
    same = frozen.data_settings(config, "toy-stories", "train").content()
    manifest = {
        "settings": same,
        "tokenizer_sha256": None,
        "vocab_size": 512,
        "documents": 9,
        "tokens": 319_998,
        "bytes": 9,
        "dtype": "<u2",
        "sha256": "",
    }
    seal.write(path, manifest)
    found = estimates.split_tokens(config, "toy-stories", "train", tmp_path)
    assert found == Tokens(319_998, "cache")
    seal.write(path, manifest | {"settings": same | {"tokens": 5}, "tokens": 5})
    found = estimates.split_tokens(config, "toy-stories", "train", tmp_path)
    assert found == Tokens(320_000, "generated")


def test_hours_follow_from_the_throughput_that_is_given(config: Config) -> None:
    item = estimates.estimate(
        config,
        "unified_search_3cfg_3seed",
        Tokens(50_000_000, "cache"),
        Tokens(4_753_217, "cache"),
    )
    hours = estimates.hours(item, estimates.Throughput("given", 100_000, ""))
    assert hours["training"] == pytest.approx(9 * item.tokens_per_run / 100_000 / 3600)
    assert hours["evaluation"] == pytest.approx(
        hours["training"] * item.evaluation_flop / item.training_flop
    )
    assert hours["tokenization"] == 0, "the caches are there"


def test_other_sizes_lie_between_the_known_ones_and_tiny_ones_are_not_guessed() -> None:
    flop_per_s = [
        estimates.on_gpu("a100", size, 1.0).tokens_per_s
        for size in (50_900_000, 150_000_000, 454_200_000)
    ]
    assert flop_per_s == sorted(flop_per_s)
    assert flop_per_s[0] == pytest.approx(230_000 * 381e6)
    assert estimates.on_gpu("a100", 139_000, 1e6) is None


def test_earlier_runs_are_the_best_guide(tmp_path: Path, config: Config) -> None:
    for seed, seconds in ((1, 10.0), (2, 8.0)):
        run = tmp_path / f"demo/geo/seed{seed}"
        run.mkdir(parents=True)
        (run / "config.json").write_text("{}")
        record = {
            "identity": "",
            "settings": frozen.run_settings(config, "demo", "geo_500k", seed).content(),
            "data": {"sha256": "", "tokens": 80_000},
            "inv_freq": [],
            "parameters": 1,
            "steps": 1,
            "tokens": 80_000,
            "micro_batch_size": 1,
            "processes": 1,
            "resumed_at_steps": [],
            "device": {"name": "EPYC"},
            "versions": {},
            "seconds": {"training": seconds},
            "files": {},
        }
        seal.write(run / "run.json", record)
    assert estimates.measured(tmp_path, config, "demo") == estimates.Throughput(
        "earlier", 10_000, "measured: earlier runs, EPYC"
    )
    # Of the demo's model and training, and of others.
    alike = estimates.measured(tmp_path, config, "ten_seeds_small")
    assert alike == estimates.Throughput(
        "earlier", 10_000, "measured: earlier runs like these, EPYC"
    )
    assert estimates.measured(tmp_path, config, "retrieval_small") is None


def test_the_table_fits_a_terminal_and_says_how_things_are_known() -> None:
    done = cost(
        ROOT,
        "--config",
        "run=350m_final",
        "--gpu",
        "a100",
        "--throughput",
        "120000",
        "--results",
        "/nowhere",
    )
    assert max(map(len, done.stdout.splitlines())) <= 80
    for words in (
        "7,213 steps",
        "measured by the study",
        "given by --throughput",
        "counted in the published data",
        "34,497",
    ):
        assert words in done.stdout
    assert "h100" not in done.stdout


def test_a_text_of_unknown_size_and_a_wrong_throughput_are_one_line(tmp_path: Path) -> None:
    shutil.copy(ROOT / "config.yaml", tmp_path)
    (tmp_path / "open.yaml").write_text(
        "run: [unified_search]\n"
        "datasets: {tinystories-50m: {path: some/other, train_tokens: null}}\n"
    )
    for arguments, words in (
        (("--configfile", "open.yaml"), "datasets.tinystories-50m.train_tokens: give a number"),
        (("--throughput", "-1"), "--throughput: -1.0 should be above 0"),
        (("--config", "demo"), "--config demo: should be KEY=VALUE"),
        (("--configfile", "none.yaml"), "none.yaml: no such file"),
    ):
        done = cost(tmp_path, *arguments, ok=False)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert words in done.stderr


def test_it_imports_nothing_heavy() -> None:
    code = (
        "import runpy, sys; sys.argv = ['cost']\n"
        "runpy.run_module('rope_spectra.cost', run_name='__main__')\n"
        "heavy = {'torch', 'numpy', 'pandas', 'scipy', 'transformers', 'matplotlib'}\n"
        "print(sorted(heavy & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"
