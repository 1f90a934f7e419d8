"""What an experiment takes, against published numbers, real files and a real model."""

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rope_spectra.artifacts import layout
from rope_spectra.config import files
from rope_spectra.config import legacy as frozen
from rope_spectra.data.cache import write_cache
from rope_spectra.data.sentence import Sentence
from rope_spectra.evaluation import perplexity, probe
from rope_spectra.model.llama import Llama, ModelConfig
from rope_spectra.planning import estimates
from rope_spectra.planning.estimates import Tokens
from support.checkout import ROOT

TINY_TEXT = Tokens(3_000, "budget")


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """The library of config.yaml."""
    with contextlib.chdir(ROOT):
        return files.load_legacy(argparse.Namespace(configfile=[], config=["run=350m_final"]))


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
    """Sizes and steps of protocol.md, FLOP of performance.md."""
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
def test_parameters_are_those_of_the_real_model(settings: dict[str, Any], name: str) -> None:
    sizes = ModelConfig(**settings["models"][name])
    with torch.device("meta"):
        model = Llama(sizes, torch.ones(sizes.head_dim // 2))
    assert estimates.parameters(settings["models"][name]) == sum(
        parameter.numel() for parameter in model.parameters()
    )


@pytest.mark.parametrize("tokens", [700, 1024, 1025, 3_000])
def test_evaluation_passes_are_what_the_evaluation_does(tokens: int, monkeypatch) -> None:
    retrieval = {"trials": 5, "distractors": 9}
    evaluation = {
        "lengths": [64, 96, 256],
        "protocols": ["first_chunks", "full"],
        "chunks": 4,
        "remaps": ["none"],
    }
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
    for length in evaluation["lengths"]:
        perplexity.first_chunks(model, text, length, 4)
        perplexity.full(model, text, length, 256, 64)
    without = fed
    for length in evaluation["lengths"]:
        perplexity.candidate_nll(model, *probe.trials(sentence, text, length, 5, 9))
    for probed, expected in ((None, without), (retrieval, fed)):
        assert (
            sum(
                passed
                for _, passed in estimates.evaluation_passes(
                    evaluation | {"retrieval": probed}, tokens
                )
            )
            == expected
        )


def test_a_cache_has_the_bytes_that_were_said(tmp_path: Path, settings: dict[str, Any]) -> None:
    write_cache(tmp_path / "a.npy", iter([np.zeros(3_000, "<u2")]), 3_000)
    said = estimates.estimate(settings, "demo", TINY_TEXT, Tokens(0, "budget")).cache_bytes
    assert said == (tmp_path / "a.npy").stat().st_size + 128


def tokens_of(**definition: Any) -> Tokens | None:
    whole = {"train_tokens": None, "validation_tokens": None, "train_split": "train", **definition}
    return estimates.split_tokens({"datasets": {"a": whole}}, "a", "train", Path("/nowhere"))


def test_how_the_size_of_a_text_is_known(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 4000)
    neox, other = {"path": "EleutherAI/gpt-neox-20b"}, {"path": "./mine"}
    hub = {"source": "hub", "path": "roneneldan/TinyStories"}
    text = {"source": "text", "train": [str(tmp_path / "a.txt")], "tokenizer": other}
    assert tokens_of(**hub, tokenizer=neox, train_tokens=500_000_000) == Tokens(
        472_770_254, "count"
    )
    assert tokens_of(**hub, tokenizer=neox, train_tokens=50_000_000) == Tokens(50_000_000, "count")
    assert tokens_of(**hub, tokenizer=other, train_tokens=50_000_000) == Tokens(
        50_000_000, "budget"
    )
    assert tokens_of(**hub, tokenizer=other) is None
    assert tokens_of(source="tokens", train=str(tmp_path / "a.txt")) == Tokens(2_000, "file")
    assert tokens_of(**text) == Tokens(1_000, "guess")
    assert tokens_of(**text, train_tokens=10_000) == Tokens(1_000, "guess")
    assert tokens_of(**text, train_tokens=900) == Tokens(900, "guess")


def test_a_finished_cache_knows_better_if_it_is_of_the_same_text(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    manifest = layout.within(tmp_path, layout.MANIFEST.format(dataset="toy-stories", split="train"))
    manifest.parent.mkdir(parents=True)
    same = frozen.data_settings(settings, "toy-stories", "train")
    manifest.write_text(json.dumps({"settings": same, "tokens": 319_998}))
    assert estimates.split_tokens(settings, "toy-stories", "train", tmp_path) == Tokens(
        319_998, "cache"
    )
    manifest.write_text(json.dumps({"settings": same | {"tokens": 5}, "tokens": 5}))
    assert estimates.split_tokens(settings, "toy-stories", "train", tmp_path) == Tokens(
        320_000, "generated"
    )


def test_hours_follow_from_the_throughput_that_is_given(settings: dict[str, Any]) -> None:
    item = estimates.estimate(
        settings,
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


def test_earlier_runs_are_the_best_guide(tmp_path: Path) -> None:
    for seed, seconds in ((1, 10.0), (2, 8.0)):
        run = tmp_path / f"demo/geo/seed{seed}"
        run.mkdir(parents=True)
        (run / "config.json").write_text("{}")
        (run / "run.json").write_text(
            json.dumps(
                {"tokens": 80_000, "seconds": {"training": seconds}, "device": {"name": "EPYC"}}
            )
        )
    assert estimates.measured(tmp_path, "demo") == estimates.Throughput(
        "earlier", 10_000, "measured: earlier runs, EPYC"
    )
    assert estimates.measured(tmp_path, "other") is None


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
        "run: [unified_search]\ndatasets: {tinystories-50m: {path: some/other, train_tokens: null}}\n"
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
        "print(sorted({'torch', 'pandas', 'scipy', 'transformers', 'matplotlib'} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"
