"""Loading a configuration: defaults, canonical values, paths."""

import copy
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from rope_spectra.config.load import load
from support.checkout import ROOT
from support.configs import GOOD, SHIPPED, edited


@pytest.mark.parametrize("run", ["demo, other", "demo,other,", ["demo", "other"]])
def test_run_may_be_text_or_a_list(run: Any) -> None:
    assert load(GOOD | {"run": run}).run == ["demo", "other"]


def test_load_leaves_its_argument_alone_and_fills_in_defaults() -> None:
    raw = copy.deepcopy(GOOD)
    config = load(raw)
    assert raw == GOOD
    loaded = config.content()
    assert loaded["training"]["tiny"] == {
        "tokens": 2048,
        "seq_len": 32,
        "batch_size": 8,
        "micro_batch_size": "auto",
        "learning_rate": 0.003,
        "warmup_fraction": 0.02,
        "weight_decay": 0.1,
        "betas": [0.9, 0.95],
        "grad_clip": 1.0,
        "precision": "bf16",
        "deterministic": True,
        "compile": "auto",
        "device": "auto",
        "gpus_per_run": 1,
        "log_every": 10,
        "checkpoint_minutes": 10.0,
        "checkpoint_steps": None,
        "tensorboard": "auto",
    }
    assert loaded["evaluation"]["tiny"] == {
        "lengths": [32, 64],
        "protocols": ["first_chunks", "full"],
        "chunks": 10,
        "remaps": ["none"],
        "equivalence_margin": 0.01,
        "usage": False,
        "usage_tokens": 8192,
    }
    assert loaded["spectra"]["hybrid"]["b"] == {
        "family": "anchored_poly",
        "theta": 10000.0,
        "p": 3.9,
        "omf": 0.3,
    }
    assert loaded["datasets"]["books"]["train"] == ["train/*.txt"]
    assert config.experiments["demo"].declared_contrasts == ["poly", "hybrid"]
    assert config.training["tiny"].retrieval_share == 0.0
    assert config.evaluation["tiny"].retrieval is None


def test_loading_twice_changes_nothing() -> None:
    once = load(SHIPPED)
    content = once.content()
    for section in ("experiments", "training"):  # the parts of searches follow from these
        content[section] = {
            name: each for name, each in content[section].items() if "/" not in name
        }
    assert load(content) == once


def test_nothing_of_a_configuration_can_be_changed() -> None:
    """Parts that share a YAML alias could not be told apart otherwise."""
    loaded = load(GOOD)
    with pytest.raises(ValidationError, match="frozen"):
        loaded.evaluation["tiny"].chunks = 3


def test_a_name_that_yaml_reads_as_a_number_is_a_name() -> None:
    raw = copy.deepcopy(GOOD)
    raw["models"][350] = raw["models"]["tiny"]
    assert "350" in load(raw).models


def test_home_directory_in_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/reader")
    loaded = load(edited("datasets/web/path", "~/copy"))
    assert loaded.datasets["web"].path == "/home/reader/copy"


def test_importing_and_loading_need_no_heavy_library() -> None:
    code = (
        "import sys, yaml; from rope_spectra.config.load import load;"
        " load(yaml.safe_load(open('config.yaml')));"
        "print(*({'torch', 'transformers', 'datasets', 'pandas', 'numpy', 'scipy'} &"
        " set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
