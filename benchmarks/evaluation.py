"""Evaluation at 2048 to 16384 tokens: ours (output head and loss in chunks) against a plain loop.

    PYTHONPATH=workflow python benchmarks/evaluation.py --size 50m

Tokens/s and peak memory above the weights, with ratios to the plain loop, which holds the logits of
the whole text. Each side runs in a process of its own, in turn. On a CPU its largest resident set
counts as memory, on a GPU torch's own peak. Needs torch, numpy, pandas and safetensors.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import time

import common
import plain
import torch
from training import SIZES, frequencies, plain_model

from rope_spectra.evaluation import perplexity
from rope_spectra.model.llama import Llama, autocast


def model_of(side: str, size: str, device: torch.device) -> torch.nn.Module:
    """The model of a side with random weights, ready to be scored."""
    torch.manual_seed(0)
    sizes = SIZES[size]
    is_ours = side == "ours"
    model = Llama(sizes.model, frequencies(sizes)) if is_ours else plain_model(sizes)
    return model.to(device).eval()


def score(side: str, size: str, length: int, chunks: int) -> dict[str, float]:
    """Score the first chunks once: speed, peak bytes above those in use before, log PPL."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bf16 = device.type == "cuda"
    model = model_of(side, size, device)
    tokens = SIZES[size].ids(1 + length * chunks // SIZES[size].seq_len)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    before = peak_bytes(device)
    began = time.perf_counter()
    if side == "ours":
        with autocast(device, "bf16" if bf16 else "fp32"):
            nll = perplexity.first_chunks(model, tokens, length, chunks).nll
    else:
        nll = math.log(plain.perplexity(model, tokens, length, chunks, bf16))
    seconds = time.perf_counter() - began
    return {
        "tokens_per_s": length * chunks / seconds,
        "bytes_above_weights": peak_bytes(device) - before,
        "nll": nll,
    }


def peak_bytes(device: torch.device) -> int:
    """Peak memory so far: of the device, or the resident set of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_own_process(side: str, arguments: argparse.Namespace, length: int) -> dict[str, float]:
    """The score of a side: a process cannot forget its largest resident set."""
    command = [
        sys.executable,
        __file__,
        "--only",
        side,
        "--size",
        arguments.size,
        "--lengths",
        str(length),
        "--chunks",
        str(arguments.chunks),
        "--threads",
        str(arguments.threads),
    ]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> None:
    parser = common.parser(__doc__, "evaluation", rounds=3)
    parser.add_argument(
        "--size", choices=SIZES, default="4x128", help="model (default: %(default)s)"
    )
    parser.add_argument(
        "--lengths",
        nargs="+",
        type=int,
        default=[2048, 4096, 8192, 16384],
        help="tokens of a chunk",
    )
    parser.add_argument(
        "--chunks", type=int, default=1, help="chunks per length (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument(
        "--only",
        choices=["plain", "ours"],
        help="score one side in this process and print it as JSON",
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.only:
        print(json.dumps(score(args.only, args.size, args.lengths[0], args.chunks)))
        return
    results = {}
    for length in args.lengths:
        sides = {
            side: (lambda side=side, length=length: in_own_process(side, args, length))
            for side in ("plain", "ours")
        }
        results[length] = common.compare(sides, args.rounds)
        columns = {
            "tokens_per_s": "tokens/s",
            "bytes_above_weights": "bytes above weights",
            "nll": "nats per token",
        }
        ratios = {"tokens_per_s": "x plain", "bytes_above_weights": "memory x plain"}
        print(f"\n{length} tokens\n\n{common.table(results[length], columns, ratios)}")
    print(common.publish("evaluation", vars(args), results, args.output))


if __name__ == "__main__":
    main()
