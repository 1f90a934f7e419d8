"""A small good configuration, edits of it, and the mistakes that loading finds in them."""

import copy
from typing import Any

import pytest
import yaml

from rope_spectra.config.load import load
from rope_spectra.runtime.errors import UserError
from support.checkout import ROOT

SHIPPED = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
GOOD = yaml.safe_load("""
run: [demo]
experiments:
  demo: {dataset: toy, model: tiny, training: tiny, evaluation: tiny,
         spectra: [geo, poly, hybrid], seeds: [42, 7], baseline: geo}
  other: {dataset: toy, model: tiny, training: tiny, evaluation: tiny,
          spectra: [geo, own], seeds: [1], baseline: own}
  hubbed: {dataset: web, model: tiny, training: tiny, evaluation: tiny,
           spectra: [geo], seeds: [1], baseline: geo}
  texts: {dataset: books, model: tiny, training: tiny, evaluation: tiny,
          spectra: [geo], seeds: [1], baseline: geo}
  tokens: {dataset: raw, model: tiny, training: tiny, evaluation: tiny,
           spectra: [geo], seeds: [1], baseline: geo}
datasets:
  toy: {source: synthetic, train_tokens: 4096, validation_tokens: 1000,
        tokenizer: {train: 10000, vocab_size: 300}}
  web: {source: hub, path: some/where, tokenizer: {path: some/tokenizer}}
  books: {source: text, train: "train/*.txt", validation: [val.txt], tokenizer: {path: ./tokenizer}}
  raw: {source: tokens, train: train.bin, validation: val.bin, vocab_size: 64}
models:
  tiny: {hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, head_dim: 8,
         intermediate_size: 32, vocab_size: 512}
training:
  tiny: {tokens: 2048, seq_len: 32, batch_size: 8, learning_rate: 3.0e-3}
evaluation:
  tiny: {lengths: [64, 32]}
spectra:
  geo: {family: geometric, theta: 500000}
  poly: {family: anchored_poly, theta: 500000}
  sig: {family: sigmoid, theta: 1.0e+5}
  hybrid: {family: mix, alpha: 0.2, a: {family: geometric, theta: 10000},
           b: {family: anchored_poly, theta: 10000}}
  own: {family: values, inv_freq: [1, 0.5, 0.25, 0]}
  evq: {family: evq_cosh, theta: 500000}
  cut: {family: truncate, of: {family: geometric, theta: 500000}}
  whole: {family: resonance, of: {family: geometric, theta: 500000}}
  slow: {family: ntk, theta: 10000, factor: 8}
""")
A_SPECTRUM = {"family": "geometric", "theta": 10000}
REMOVED = object()


class Renamed(str):
    """Marks an edit that gives a key another name."""


def edited(path: str, value: Any, base: dict[str, Any] = GOOD) -> dict[str, Any]:
    """A copy of `base` with one key set, removed or renamed."""
    result = copy.deepcopy(base)
    *parents, last = path.split("/")
    section = result
    for parent in parents:
        section = section[parent]
    if value is REMOVED:
        del section[last]
    elif isinstance(value, Renamed):
        section[str(value)] = section.pop(last)
    else:
        section[last] = value
    return result


def mistakes(raw: dict[str, Any]) -> list[str]:
    """The lines of the error that `raw` raises."""
    with pytest.raises(UserError) as caught:
        load(raw)
    return str(caught.value).split("\n")
