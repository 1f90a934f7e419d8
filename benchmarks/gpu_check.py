"""Check training and evaluation on a GPU in one command; needs only torch, numpy, pandas and safetensors.

    PYTHONPATH=workflow python benchmarks/gpu_check.py --output gpu_check.json

Three checks, each of which can fail: fp32 losses on the device equal those on the CPU; the same seed gives the same bits twice;
a model of study size trains at its full batch and is scored at 16384 tokens. Prints what it measured as JSON.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from rope_spectra import perplexity, provenance, spectra
from rope_spectra.model import Llama, ModelConfig, autocast
from rope_spectra.trainer import Trainer, TrainingConfig, make_deterministic

TINY = ModelConfig(64, 2, 2, 32, 192, 512)
SIZES = {"tiny": TINY, "50m": ModelConfig(512, 6, 8, 64, 2048, 50304), "350m": ModelConfig(1024, 24, 16, 64, 4096, 50304)}
# Sequence length, batch and longest evaluation by size, as in config.yaml.
SHAPES = {"tiny": (128, 8, 1024), "50m": (2048, 32, 16384), "350m": (2048, 32, 16384)}


def text(count: int, vocab_size: int) -> np.ndarray:
    """Tokens with something to learn: a noisy walk over the vocabulary."""
    steps = np.random.default_rng(0).choice([1, 2, 7], size=count, p=[0.6, 0.3, 0.1])
    return (np.cumsum(steps) % vocab_size).astype(np.uint16)


def trainer(sizes: ModelConfig, device: torch.device, seq_len: int, batch_size: int, precision: str) -> Trainer:
    """A geo_500k model with the weights of seed 42, ready to train."""
    config = TrainingConfig(
        None, seq_len, batch_size, "auto", 6e-4, 0.02, 0.1, (0.9, 0.95), 1.0, precision, deterministic=True, compile="auto"
    )
    torch.manual_seed(42)
    omega = torch.from_numpy(spectra.inv_freq({"family": "geometric", "theta": 500_000.0}, sizes.head_dim))
    return Trainer(Llama(sizes, omega), config, device)


def losses(device: torch.device, precision: str) -> list[float]:
    """Twenty steps of the tiny model."""
    rows = trainer(TINY, device, 128, 8, precision).run(text(128 * 8 * 20, 512), seed=42, log_every=1)
    return [row.loss for row in rows]


def check_numbers(device: torch.device) -> dict[str, float | bool]:
    """How far fp32 losses are from the CPU's, and whether bf16 training repeats to the bit."""
    cpu, here = losses(torch.device("cpu"), "fp32"), losses(device, "fp32")
    return {
        "fp32_largest_relative_difference": float(np.max(np.abs(np.array(here) / cpu - 1))),
        "bf16_repeats_to_the_bit": losses(device, "bf16") == losses(device, "bf16"),
    }


def check_size(name: str, device: torch.device, steps: int) -> dict[str, float | int]:
    """Throughput and memory of training and of one block of evaluation; the first ten steps, which compile, do not count."""
    sizes, (seq_len, batch_size, longest) = SIZES[name], SHAPES[name]
    run = trainer(sizes, device, seq_len, batch_size, "bf16")
    rows = list(run.run(text(seq_len * batch_size * steps, sizes.vocab_size), seed=42, log_every=10))
    result = {
        "micro_batch_size": run.micro_batch_size,
        "train_tokens_per_s": float(np.median([row.tokens_per_s for row in rows[2:]])),
        "train_peak_bytes": peak_bytes(device),
        "last_loss": rows[-1].loss,
    }
    began = time.perf_counter()
    with autocast(device, "bf16"):
        table = perplexity.full(run.model.eval(), text(longest + 1, sizes.vocab_size), longest, longest, seq_len)
    return result | {
        "eval_tokens_per_s": longest / (time.perf_counter() - began),
        "eval_peak_bytes": peak_bytes(device),
        "eval_nll": float(table.nll.sum() / longest),
    }


def peak_bytes(device: torch.device) -> int:
    """Peak memory of the device since the last call; 0 on a CPU."""
    if device.type != "cuda":
        return 0
    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="write the JSON here as well")
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=["50m", "350m"], help="models to time")
    parser.add_argument("--steps", type=int, default=50, help="steps per model, at least 30")
    parser.add_argument("--device", default="cuda", help="cpu tries the script itself")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device here; --device cpu --sizes tiny tries the script itself")
    make_deterministic()
    device = torch.device(args.device)
    result = {"numbers": check_numbers(device), **{name: check_size(name, device, args.steps) for name in args.sizes}}
    result |= {"device": provenance.device_facts(device), "versions": provenance.versions()}
    print(json.dumps(result, indent=2))
    if args.output:
        args.output.write_text(json.dumps(result, indent=2) + "\n")
    # Twenty steps of fp32 on two kinds of hardware differ by rounding alone.
    if result["numbers"]["fp32_largest_relative_difference"] > 1e-4 or not result["numbers"]["bf16_repeats_to_the_bit"]:
        sys.exit("a check failed: see `numbers` above")


if __name__ == "__main__":
    main()
