"""Training speed of three sides, in turn: ours, the plain loop (benchmarks/plain.py), transformers.

    PYTHONPATH=workflow python benchmarks/training.py --sizes demo 4x128        # on a CPU
    PYTHONPATH=workflow python benchmarks/training.py --sizes 50m 350m          # on a GPU

Per size: tokens/s, MFU, the fraction of the matrix product speed measured here, peak memory of the
device, ratios to the plain loop. On a CPU, speed is by CPU time, products in bf16 are a side where
there are any, and results/table.md here gets a row for each side. Then seconds outside training of
`python -m rope_spectra.train`, with an empty compile cache and with a warm one. Needs torch, numpy,
pandas and safetensors; the transformers side needs transformers and accelerate and is left out
without them.
"""

import importlib.util
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import common
import numpy as np
import plain
import torch

from rope_spectra.config.frozen import RunSettings
from rope_spectra.config.sections import TrainingRecipe
from rope_spectra.model import attention
from rope_spectra.model.config import ModelConfig
from rope_spectra.model.linear import Linear, has_bf16_products
from rope_spectra.model.llama import Llama
from rope_spectra.rope.families import NamedSpectrum
from rope_spectra.runtime.determinism import make_deterministic
from rope_spectra.training.trainer import Trainer, keep_freed_memory

Figures = dict[str, float]

GEO = {"family": "geometric", "theta": 500_000.0}
RATIOS = {"tokens_per_s": "x plain", "tokens_per_cpu_s": "x plain by CPU time"}
# Peak of dense bf16 products by the maker's data sheet, for MFU: by a part of the card's name.
DATA_SHEET = {"H200": 989e12, "H100": 989e12, "A100": 312e12}


@dataclass(frozen=True)
class Size:
    """A model, its rows and batch; the study splits a batch into `accumulate` parts.

    Warm-up steps are not timed.
    """

    model: ModelConfig
    seq_len: int
    batch_size: int
    accumulate: int
    warmup: int
    steps: int

    @property
    def tokens(self) -> int:
        return self.seq_len * self.batch_size * self.steps

    def ids(self, steps: int) -> np.ndarray:
        count = self.seq_len * self.batch_size * steps
        return np.random.default_rng(0).integers(0, self.model.vocab_size, count).astype(np.uint16)


def model_config(
    hidden: int, layers: int, heads: int, head_dim: int, intermediate: int, vocab: int
) -> ModelConfig:
    return ModelConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        head_dim=head_dim,
        intermediate_size=intermediate,
        vocab_size=vocab,
    )


SIZES = {
    "demo": Size(model_config(64, 2, 2, 32, 192, 512), 128, 8, 1, 3, 30),
    "4x128": Size(model_config(128, 4, 4, 32, 384, 4096), 256, 16, 1, 2, 4),
    "50m": Size(model_config(512, 6, 8, 64, 2048, 50304), 2048, 32, 1, 4, 30),
    "350m": Size(model_config(1024, 24, 16, 64, 4096, 50304), 2048, 32, 4, 3, 8),
}


def frequencies(size: Size) -> torch.Tensor:
    """The spectrum of all sides [head_dim / 2], in radians per token."""
    spectrum = NamedSpectrum(name="geo_500k", shape=GEO)
    return torch.from_numpy(spectrum.inv_freq(size.model.head_dim))


def recipe(
    size: Size, precision: str, compiled: bool | str = "auto", deterministic: bool = True
) -> TrainingRecipe:
    """The study's way to train, on all rows there are."""
    return TrainingRecipe(
        seq_len=size.seq_len,
        batch_size=size.batch_size,
        learning_rate=6e-4,
        precision=precision,
        deterministic=deterministic,
        compile=compiled,
    )


def timed(device: torch.device, tokens: int, run) -> Figures:  # noqa: ANN001 (any call without arguments)
    """Speed and peak memory of a call that trains on so many tokens.

    The speed is taken by the clock and, for machines that are shared, by CPU time.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    began, cpu_began = time.perf_counter(), time.process_time()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    figures: Figures = {"tokens_per_s": tokens / wall, "tokens_per_cpu_s": tokens / cpu}
    if device.type == "cuda":
        figures["peak_bytes"] = torch.cuda.max_memory_allocated()
    return figures


def plain_model(size: Size) -> plain.PlainModel:
    """The model of the plain side, with random weights."""
    sizes = size.model
    return plain.PlainModel(
        sizes.hidden_size,
        sizes.num_hidden_layers,
        sizes.num_attention_heads,
        sizes.head_dim,
        sizes.intermediate_size,
        sizes.vocab_size,
        frequencies(size),
    )


def plain_side(size: Size, device: torch.device, bf16: bool) -> Figures:
    torch.set_deterministic_debug_mode("default")
    attention.allow_all()
    model = plain_model(size).to(device)
    rows = size.ids(size.warmup + size.steps).astype(np.int64).reshape(-1, size.seq_len)
    first = size.warmup * size.batch_size
    plain.train(model, rows[:first], size.batch_size, size.accumulate, bf16, size.warmup)
    return timed(
        device,
        size.tokens,
        lambda: plain.train(
            model, rows[first:], size.batch_size, size.accumulate, bf16, size.steps
        ),
    )


def our_side(
    size: Size,
    device: torch.device,
    precision: str,
    compiled: bool | str,
    deterministic: bool = True,
) -> Figures:
    if device.type == "cpu":
        keep_freed_memory()
    torch.use_deterministic_algorithms(deterministic)
    attention.select_kernel(device, precision, size.model.head_dim, size.seq_len, deterministic)
    how = recipe(size, precision, compiled, deterministic)
    trainer = Trainer(Llama(size.model, frequencies(size)), how, device)
    for _ in trainer.run(size.ids(size.warmup), seed=0, log_every=10):
        pass
    ids = size.ids(size.steps)
    return timed(device, size.tokens, lambda: list(trainer.run(ids, seed=0, log_every=10))) | {
        "micro_batch_size": trainer.micro_batch_size
    }


def transformers_side(size: Size, device: torch.device, bf16: bool) -> Figures:
    import transformers

    torch.set_deterministic_debug_mode("default")
    attention.allow_all()
    sizes = size.model
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            hidden_size=sizes.hidden_size,
            num_hidden_layers=sizes.num_hidden_layers,
            num_attention_heads=sizes.num_attention_heads,
            head_dim=sizes.head_dim,
            intermediate_size=sizes.intermediate_size,
            vocab_size=sizes.vocab_size,
            tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": GEO["theta"]},
        )
    )
    rows = torch.from_numpy(size.ids(size.warmup + size.steps).astype(np.int64)).view(
        -1, size.seq_len
    )
    clock: list[tuple[float, float]] = []

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **_) -> None:  # noqa: ANN001, ANN003, ARG002 (as there)
            if state.global_step in (size.warmup, size.warmup + size.steps):
                if device.type == "cuda":
                    torch.cuda.synchronize()
                clock.append((time.perf_counter(), time.process_time()))

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder,
            per_device_train_batch_size=size.batch_size // size.accumulate,
            gradient_accumulation_steps=size.accumulate,
            max_steps=size.warmup + size.steps,
            learning_rate=6e-4,
            weight_decay=0.1,
            adam_beta2=0.95,
            bf16=bf16,
            use_cpu=device.type == "cpu",
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        data = [{"input_ids": row, "labels": row} for row in rows]
        transformers.Trainer(
            model=model, args=arguments, train_dataset=data, callbacks=[Clock()]
        ).train()
    wall, cpu = (end - begin for begin, end in zip(*clock, strict=True))
    return {"tokens_per_s": size.tokens / wall, "tokens_per_cpu_s": size.tokens / cpu}


def speed_of(device: torch.device) -> str:
    """The figure that a share of the ceiling is of: on a CPU, which may be shared, by CPU time."""
    return "tokens_per_s" if device.type == "cuda" else "tokens_per_cpu_s"


def product_ceiling(device: torch.device) -> float:
    """FLOP/s of a square matrix product of ours here, the best of ten; on a CPU, of one core.

    bf16 at a side of 8192 on a GPU, fp32 at 1024 on a CPU.
    """
    side, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (1024, torch.float32)
    a = torch.randn(side, side, dtype=dtype, device=device)
    product = Linear(side, side).to(device, dtype)
    best = 0.0
    for _ in range(10):
        speed = timed(device, 1, lambda: product(a))[speed_of(device)]
        best = max(best, 2 * side**3 * speed)
    return best


def outside_training(name: str, steps: int) -> dict[str, Figures]:
    """Wall seconds of whole training jobs beyond steps x their steady time.

    "cold" begins with an empty compile cache; "warm" is another spectrum after it.
    """
    size = SIZES[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "raw.bin").write_bytes(size.ids(steps).tobytes())
        source = {
            "source": "tokens",
            "file": str(path / "raw.bin"),
            "vocab_size": size.model.vocab_size,
        }
        (path / "split.json").write_text(
            json.dumps({"split": "train", "tokens": None, "source": source})
        )
        cache = ["--output", path / "tokens.npy", "--manifest", path / "tokens.json"]
        step(
            "memmap_cache", "--settings", path / "split.json", "--shards", path / "raw.bin", *cache
        )
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(path / "compiled")}
        return {
            label: _whole_job(size, path, spectrum, environment)
            for label, spectrum in (("cold", GEO), ("warm", GEO | {"theta": 100_000.0}))
        }


def _whole_job(
    size: Size, path: Path, spectrum: dict[str, float | str], environment: dict[str, str]
) -> Figures:
    settings = RunSettings(
        recipe=1,
        experiment="speed",
        seed=1,
        spectrum=NamedSpectrum(name="geo", shape=spectrum),
        model=size.model,
        training=recipe(size, "bf16" if torch.cuda.is_available() else "fp32"),
    )
    run = path / f"theta{spectrum['theta']}"
    run.mkdir()
    (run / "config.json").write_text(json.dumps(settings.content()))
    tokens = ["--tokens", path / "tokens.npy", "--manifest", path / "tokens.json"]
    began = time.perf_counter()
    threads = ["--threads", str(torch.get_num_threads())]
    step(
        "train",
        "--settings",
        run / "config.json",
        *tokens,
        "--output",
        run,
        *threads,
        env=environment,
    )
    wall = time.perf_counter() - began
    rows = [line.split(",") for line in (run / "train.csv").read_text().splitlines()[1:]]
    steady = float(np.median([float(row[4]) for row in rows[len(rows) // 2 :]]))
    return {"wall_s": wall, "outside_s": wall - int(rows[-1][3]) / steady}


def step(module: str, *arguments: str | Path, **options: dict[str, str]) -> None:
    subprocess.run(
        [sys.executable, "-m", f"rope_spectra.{module}", *map(str, arguments)],
        check=True,
        **options,
    )


def set_up(threads: int) -> None:
    torch.set_num_threads(threads)
    make_deterministic()


def apart(
    side: Callable[..., Figures], size: Size, device: torch.device, *options: bool | str
) -> Figures:
    """Runs a side; on a CPU in a process of its own, because ours has glibc keep freed memory."""
    if device.type == "cuda":
        return side(size, device, *options)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, set_up, (torch.get_num_threads(),)) as pool:
        return pool.submit(side, size, device, *options).result()


def measure(name: str, device: torch.device, rounds: int) -> dict[str, Any]:
    """All sides of one size, with what the speed of the last one means."""
    size, bf16 = SIZES[name], device.type == "cuda"
    sides = {"plain": lambda: apart(plain_side, size, device, bf16)}
    if importlib.util.find_spec("accelerate") and importlib.util.find_spec("transformers"):
        sides["transformers"] = lambda: apart(transformers_side, size, device, bf16)
    ours = partial(apart, our_side, size, device)
    if bf16:
        sides["ours"] = partial(ours, "bf16", True)
        sides["ours, not deterministic"] = partial(ours, "bf16", True, False)
    else:
        sides["ours"] = partial(ours, "fp32", False)
        sides["ours, compiled"] = partial(ours, "fp32", True)
    if not bf16 and has_bf16_products():
        sides["ours, bf16 products"] = partial(ours, "bf16_products", False)
        sides["ours, bf16 products, compiled"] = partial(ours, "bf16_products", True)
    results = common.compare(sides, rounds)
    ceiling, peak = product_ceiling(device), _data_sheet(device)
    # A step of training costs three times its forward pass.
    flop_per_token = 3 * size.model.forward_flop(size.seq_len)
    for side in results.values():
        flop_per_s = side["median"][speed_of(device)] * flop_per_token
        side["median"]["of_ceiling"] = flop_per_s / ceiling
        if peak:
            side["median"]["mfu"] = flop_per_s / peak
    return {
        "parameters": size.model.num_parameters,
        "product_flop_per_s": ceiling,
        "sides": results,
    }


def _data_sheet(device: torch.device) -> float | None:
    name = torch.cuda.get_device_name() if device.type == "cuda" else ""
    return next((peak for card, peak in DATA_SHEET.items() if card in name), None)


def rows(results: dict[str, dict[str, Any]]) -> list[list[str]]:
    """A row for each size and side, for the table of all machines."""
    return [
        [
            size,
            name,
            common.number(side["median"]["tokens_per_cpu_s"]),
            f"{side['ratio']['tokens_per_cpu_s']:.2f}",
            f"{side['median']['of_ceiling']:.2f}",
        ]
        for size, result in results.items()
        for name, side in result["sides"].items()
    ]


def main() -> None:
    parser = common.parser(__doc__, "training", rounds=5)
    parser.add_argument(
        "--sizes", nargs="+", choices=SIZES, default=["demo", "4x128"], help="models to train"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument(
        "--job-steps",
        type=int,
        default=60,
        help="steps of the whole jobs, 0 for none (default: %(default)s)",
    )
    args = parser.parse_args()
    set_up(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    results = {name: measure(name, device, args.rounds) for name in args.sizes}
    for name, result in results.items():
        if args.job_steps:
            result["outside_training"] = outside_training(name, args.job_steps)
        columns = {
            speed_of(device): "tokens/s" if device.type == "cuda" else "tokens/CPU s",
            "mfu": "MFU",
            "of_ceiling": "of ceiling",
            "peak_bytes": "peak bytes",
        }
        table = common.table(result["sides"], columns, RATIOS)
        print(f"\n{name}\n\n{table}\n{result.get('outside_training', '')}")
    if device.type == "cpu":
        heading = ["model", "side", "tokens/CPU s", "x plain", "of ceiling"]
        print(common.append_rows(heading, rows(results)))
    print(common.publish("training", vars(args), results, args.output))


if __name__ == "__main__":
    main()
