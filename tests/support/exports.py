"""Models with made-up weights to be exported, and what transformers makes of an export."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from rope_spectra.model.config import ModelConfig
from rope_spectra.model.llama import Llama
from rope_spectra.model.weights import build_model
from rope_spectra.rope.families import NamedSpectrum
from support.checkout import ROOT

SPECTRA: dict[str, dict[str, Any]] = {
    "geometric": {"family": "geometric", "theta": 500_000.0},
    "anchored_poly": {"family": "anchored_poly", "theta": 500_000.0, "p": 3.9, "omf": 0.3},
    "slow_start": {
        "family": "sigmoid",
        "theta": 100_000.0,
        "steepness": 8.0,
        "midpoint": 0.5,
        "omf": 0.3,
    },
    "mix": {
        "family": "mix",
        "alpha": 0.2,
        "a": {"family": "geometric", "theta": 100_000.0},
        "b": {"family": "anchored_poly", "theta": 100_000.0, "p": 3.9, "omf": 0.3},
    },
    "standstill": {"family": "values", "inv_freq": [0.7, 0.0, 1.9, 0.1, 0.0]},
    "nope": {"family": "nope"},
    "partial": {"family": "partial", "share": 0.25, "of": {"family": "geometric", "theta": 1e4}},
    "taper": {"family": "taper", "share": 0.5, "of": {"family": "geometric", "theta": 1e4}},
    "one_pair": {"family": "values", "inv_freq": [math.pi / 10]},
}
# The number of rotary pairs where a list of values fixes it.
PAIRS = {"standstill": 5, "one_pair": 1}
VOCAB = 61


def model_of(name: str) -> Llama:
    """A model with large weights: attention is sharp, so that a wrong angle shows in the logits."""
    sizes = ModelConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        head_dim=2 * PAIRS.get(name, 8),
        intermediate_size=40,
        vocab_size=VOCAB,
        initializer_range=0.2,
    )
    torch.manual_seed(5)
    spectrum = NamedSpectrum.model_validate({"name": name, **SPECTRA[name]})
    return build_model(sizes, spectrum).eval()


def read_elsewhere(requests: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Answers of a fresh process that has transformers and not this project; see read_export."""
    reader = ROOT / "tests/support/read_export.py"
    request = folder / "request.json"
    answers = folder / "answers.json"
    request.write_text(json.dumps(requests))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(reader), str(request), str(answers)],
        cwd=folder,
        env=environment | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "rope" not in done.stderr, "transformers complains about the rope parameters"
    return json.loads(answers.read_text())
