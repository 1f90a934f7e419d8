"""A model of a few thousand parameters, a text that it can learn from, and a way to train it."""

import numpy as np
import pytest
import torch

from rope_spectra.config.sections import TrainingRecipe
from rope_spectra.model.config import ModelConfig
from rope_spectra.model.linear import has_bf16_products
from rope_spectra.model.llama import Llama
from rope_spectra.model.weights import build_model
from rope_spectra.rope.families import NamedSpectrum

SIZES = ModelConfig(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    head_dim=16,
    intermediate_size=48,
    vocab_size=61,
)
GEOMETRIC = {"family": "geometric", "theta": 500_000.0}

needs_bf16 = pytest.mark.skipif(not has_bf16_products(), reason="this CPU has no products in bf16")


def tokens(count: int, seed: int = 0) -> np.ndarray:
    """A text with something to learn: a noisy walk over the vocabulary."""
    steps = np.random.default_rng(seed).choice([1, 2, 7], size=count, p=[0.6, 0.3, 0.1])
    return (np.cumsum(steps) % 61).astype(np.uint16)


def config(**changes) -> TrainingRecipe:
    values = {
        "tokens": None,
        "seq_len": 64,
        "batch_size": 8,
        "micro_batch_size": "auto",
        "learning_rate": 3e-3,
        "warmup_fraction": 0.02,
        "weight_decay": 0.1,
        "betas": [0.9, 0.95],
        "grad_clip": 1.0,
        "precision": "fp32",
        "deterministic": True,
        "compile": False,
    }
    return TrainingRecipe(**{**values, **changes})


def llama(definition: dict, seed: int) -> Llama:
    torch.manual_seed(seed)
    return build_model(SIZES, NamedSpectrum(name="tiny", shape=definition))
