"""Steps as a user runs them by hand, and the settings of a run that takes a second."""

import subprocess
import sys

SETTINGS = {
    "recipe": 1,
    "experiment": "hand",
    "seed": 1,
    "spectrum": {"name": "geo", "family": "geometric", "theta": 10_000.0},
    "model": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 8,
        "intermediate_size": 32,
        "vocab_size": 64,
        "rms_norm_eps": 1e-6,
        "initializer_range": 0.02,
    },
    "training": {
        "tokens": None,
        "seq_len": 16,
        "batch_size": 4,
        "micro_batch_size": 2,
        "learning_rate": 1e-3,
        "warmup_fraction": 0.02,
        "weight_decay": 0.1,
        "betas": [0.9, 0.95],
        "grad_clip": 1.0,
        "precision": "fp32",
        "deterministic": True,
        "compile": False,
        "device": "cpu",
    },
}


def step(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"rope_spectra.{module}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a step ends with when it refuses."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if " error: " in line]
    assert len(lines) == 1, done.stderr
    return lines[0].partition(" error: ")[2]
