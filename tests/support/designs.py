"""Designs of experiments that a test makes up."""

from typing import Any

from rope_spectra.config.design import Design


def make_design(*spectra: str, **changes: Any) -> Design:
    """The design of `demo`, with those spectra; the first is the baseline, the others contrasts."""
    content = {
        "experiment": "demo",
        "description": "Which is better?",
        "dataset": "toy",
        "model": "tiny",
        "training": "tiny",
        "seeds": [1, 2, 3],
        "baseline": spectra[0],
        "contrasts": list(spectra[1:]),
        "selection": None,
        "noise_floor": 0,
        "lengths": [64, 128],
        "protocols": ["first_chunks", "full"],
        "remaps": ["none"],
        "equivalence_margin": 0.01,
        "head_dim": 32,
        "train_length": 64,
        "spectra": [
            {"name": name, "family": "geometric", "theta": 10_000.0 + 1000 * k}
            for k, name in enumerate(spectra)
        ],
    }
    return Design.model_validate(content | changes)
