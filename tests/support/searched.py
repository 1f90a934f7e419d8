"""A small configuration with a search in it."""

import copy
from typing import Any

import yaml

from rope_spectra.config.load import load
from rope_spectra.config.sections import Config

CONFIG = yaml.safe_load("""
run: [s]
experiments: {}
datasets:
  toy: {source: synthetic, train_tokens: 40_000, validation_tokens: 6_000,
        tokenizer: {train: 100_000, vocab_size: 400}}
models:
  toy: {hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 1, head_dim: 32,
        intermediate_size: 32, vocab_size: 400}
training:
  toy: {tokens: 32_768, seq_len: 64, batch_size: 16, learning_rate: 3.0e-3}
  all: {seq_len: 64, batch_size: 16, learning_rate: 3.0e-3}
  long: {tokens: 50_000, seq_len: 64, batch_size: 16, learning_rate: 3.0e-3}
evaluation:
  toy: {lengths: [64, 256]}
spectra:
  geo_10k: {family: geometric, theta: 10_000}
  geo_500k: {family: geometric, theta: 500_000}
searches:
  s:
    dataset: toy
    model: toy
    training: toy
    evaluation: toy
    baseline: geo_10k
    space: {knots: 5, wavelength: [4, train_length*16], stilled: [0.0, 0.5]}
    objective: {metric: degradation, length: 256, limit: 0.02}
    sampler: random
    rounds:
      - {candidates: 4, share: 0.25, seeds: [1]}
      - {candidates: 4, proposals: 2, share: 0.25, seeds: [1]}
      - {candidates: 2, share: 0.5, seeds: [1, 2]}
    confirmation: {seeds: [11, 12], spectra: [geo_500k]}
""")


def config_of(**changes: Any) -> Config:
    """The configuration, these keys of its search changed: objective__length is one in another."""
    content = copy.deepcopy(CONFIG)
    for path, value in changes.items():
        place: Any = content["searches"]["s"]
        *outer, key = path.split("__")
        for each in outer:
            place = place[int(each) if each.isdigit() else each]
        place[key] = value
    return load(content)
