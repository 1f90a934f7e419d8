"""Everything that needs a GPU, in one command: checks first, then speed.

    PYTHONPATH=workflow python benchmarks/gpu.py

Checks, each of which can fail: fp32 losses on the card equal those on the CPU; the same seed gives
the same bits twice; a resumed training gives the bits of one that was not stopped. Then the speed
of training and evaluation against the plain loop for both sizes of the study, the cost of
determinism, and the seconds outside training with a cold and a warm compile cache. Writes
benchmarks/results/gpu.json after every part, so that a lease that ends early loses one part;
docs/performance.md shows it. Needs torch, numpy, pandas, safetensors, pydantic, psutil and rich.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import islice

import common
import evaluation
import numpy as np
import torch
import training

from rope_spectra.model import attention
from rope_spectra.model.llama import Llama
from rope_spectra.runtime.determinism import make_deterministic
from rope_spectra.training.trainer import Trainer

DEMO = training.SIZES["demo"]
STEPS = 20


def trainer(device: torch.device, precision: str) -> Trainer:
    """The demo's model with the weights of seed 42, ready for STEPS steps."""
    torch.manual_seed(42)
    model = Llama(DEMO.model, training.frequencies(DEMO))
    return Trainer(model, training.recipe(DEMO, precision), device)


def losses(device: torch.device, precision: str) -> list[float]:
    return [row.loss for _, row in trainer(device, precision).run(DEMO.ids(STEPS), 42, 1)]


def interrupted_losses(device: torch.device, precision: str) -> list[float]:
    """The same in two parts: the second Trainer resumes from the first one's state at half-time."""
    first, second = trainer(device, precision), trainer(device, precision)
    before = [row.loss for _, row in islice(first.run(DEMO.ids(STEPS), 42, 1), STEPS // 2)]
    second.restore(first.state())
    return before + [row.loss for _, row in second.run(DEMO.ids(STEPS), 42, 1, start=STEPS // 2)]


def check_numbers(device: torch.device) -> dict[str, float | bool]:
    cpu, here = losses(torch.device("cpu"), "fp32"), losses(device, "fp32")
    once = losses(device, "bf16")
    return {
        "fp32_largest_relative_difference": float(np.max(np.abs(np.array(here) / cpu - 1))),
        "bf16_repeats_to_the_bit": once == losses(device, "bf16"),
        "bf16_resumes_to_the_bit": once == interrupted_losses(device, "bf16"),
    }


def check_evaluation(size: str, rounds: int) -> dict[str, object]:
    """Both sides at the longest length, in turn."""
    longest = 8 * training.SIZES[size].seq_len
    sides = {
        side: (lambda side=side: evaluation.score(side, size, longest, 1))
        for side in ("plain", "ours")
    }
    return common.compare(sides, rounds)


def main() -> None:
    parser = common.parser(__doc__, "gpu", rounds=2)
    parser.add_argument(
        "--sizes", nargs="*", choices=training.SIZES, default=["50m", "350m"], help="models to time"
    )
    parser.add_argument(
        "--job-steps", type=int, default=100, help="steps of the whole jobs (default: %(default)s)"
    )
    parser.add_argument(
        "--device", choices=["cuda", "cpu"], default="cuda", help="cpu tries the script itself"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=300,
        help="begin no part of the measurements after so many seconds (default: %(default)s)",
    )
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit(
            "no CUDA device here; --device cpu --sizes demo --rounds 1 tries the script itself"
        )
    make_deterministic()
    device = torch.device(args.device)
    began = time.monotonic()
    results: dict[str, object] = {}
    for name, part in parts(args, device).items():
        if time.monotonic() - began > args.seconds:
            results[name] = "no time left"
            continue
        part_began = time.monotonic()
        results[name] = part()
        print(f"{name}: {time.monotonic() - part_began:.0f} s", file=sys.stderr, flush=True)
        path = common.publish("gpu", vars(args), results, args.output)
    print(path)
    # Twenty steps of fp32 on two kinds of hardware differ by rounding alone.
    numbers = results["numbers"]
    if numbers.pop("fp32_largest_relative_difference") > 1e-4 or not all(numbers.values()):
        sys.exit("a check failed: see `numbers` in the file")


def parts(args: argparse.Namespace, device: torch.device) -> dict[str, Callable[[], object]]:
    """The parts by name, the most wanted first; a call measures its part."""
    measurements: dict[str, Callable[[], object]] = {
        "numbers": partial(check_numbers, device),
        "attention": partial(attention_kernels, device),
    }
    for size in args.sizes:
        measurements[f"training {size}"] = partial(training.measure, size, device, args.rounds)
        measurements[f"evaluation {size}"] = partial(check_evaluation, size, args.rounds)
    first = args.sizes[0]
    measurements[f"outside training {first}"] = partial(
        training.outside_training, first, args.job_steps
    )
    return measurements


def attention_kernels(device: torch.device) -> dict[str, str]:
    """The names of the kernels that the study's runs use."""
    return {
        name: attention.select_kernel(device, "bf16", 64, 2048, deterministic)
        for name, deterministic in (("deterministic", True), ("not deterministic", False))
    }


if __name__ == "__main__":
    main()
