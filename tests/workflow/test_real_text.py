"""Real TinyStories and the real NeoX tokenizer through the whole chain.

The text comes once in the layout of the hub and once from text files.
"""

import json
from pathlib import Path

import pandas as pd
import pytest

from support.checkout import snakemake

CONFIG = """
run: [from_hub, from_text]
experiments:
  from_hub: &real
    dataset: hub_layout
    model: tiny_neox
    training: few_steps
    evaluation: short
    spectra: [geo_500k]
    seeds: [42]
    baseline: geo_500k
  from_text: {{<<: *real, dataset: text_files}}
datasets:
  hub_layout:
    source: hub
    path: {data}/tinystories
    train_tokens: 60_000
    tokenizer: &neox {{path: {data}/neox}}
  text_files:
    source: text
    train: {data}/tinystories/train.txt
    validation: {data}/tinystories/validation.txt
    separator: "<|endoftext|>"
    train_tokens: 60_000
    tokenizer: *neox
models:
  tiny_neox:
    hidden_size: 64
    num_hidden_layers: 2
    num_attention_heads: 2
    head_dim: 32
    intermediate_size: 192
    vocab_size: 50304
training:
  few_steps:
    seq_len: 128
    batch_size: 16
    learning_rate: 3.0e-3
    precision: fp32
    compile: false
    tokens: 24_576
    device: cpu
evaluation:
  short: {{lengths: [128, 512], protocols: [first_chunks]}}
"""


@pytest.mark.slow
def test_hub_layout_and_text_files_give_the_same_result(fresh: Path, real_data: Path) -> None:
    (fresh / "real.yaml").write_text(CONFIG.format(data=real_data))
    snakemake(fresh, "--cores", "2", "--resources", "gpu=1", "--configfile", "real.yaml")
    manifests = {
        (dataset, split): json.loads((fresh / f"results/data/{dataset}/{split}.json").read_text())
        for dataset in ("hub_layout", "text_files")
        for split in ("train", "validation")
    }
    assert manifests["hub_layout", "train"]["tokens"] == 60_000
    assert manifests["hub_layout", "validation"]["documents"] == 801
    for split in ("train", "validation"):
        for key in ("sha256", "tokens", "documents", "bytes", "tokenizer_sha256"):
            assert manifests["hub_layout", split][key] == manifests["text_files", split][key]
    summary = pd.read_csv(fresh / "results/summary.csv")
    by_experiment = {
        name: group["ppl_mean"].tolist() for name, group in summary.groupby("experiment")
    }
    assert by_experiment["from_hub"] == by_experiment["from_text"]
    # An untrained model is at 50,304; twelve steps already know the common words.
    assert all(100 < ppl < 20_000 for ppl in by_experiment["from_hub"])


def test_the_real_tokenizer_is_copied_to_the_byte(fresh: Path, real_data: Path) -> None:
    (fresh / "real.yaml").write_text(CONFIG.format(data=real_data))
    target = "results/data/hub_layout/tokenizer/tokenizer.json"
    snakemake(fresh, target, "--configfile", "real.yaml")
    assert (fresh / target).read_bytes() == (real_data / "neox/tokenizer.json").read_bytes()
