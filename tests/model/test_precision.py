"""Compiled and bf16 training stay close to fp32 eager; determinism holds to the bit."""

import ctypes
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rope_spectra.config.sections import EvaluationSettings
from rope_spectra.evaluation import passes
from rope_spectra.model import attention
from rope_spectra.model.llama import Llama
from rope_spectra.training.trainer import Trainer, is_worth_compiling
from support.checkout import ROOT
from support.tiny_model import GEOMETRIC, SIZES, config, llama, needs_bf16, tokens

TEXT = tokens(64 * 8 * 20)


def losses(**changes) -> list[float]:
    trainer = Trainer(llama(GEOMETRIC, 7), config(**changes), torch.device("cpu"))
    return [row.loss for _, row in trainer.run(TEXT, seed=7, log_every=1)]


def test_the_same_seed_gives_the_same_bits() -> None:
    assert losses() == losses()


def test_the_log_interval_changes_no_number() -> None:
    every_step = losses()
    trainer = Trainer(llama(GEOMETRIC, 7), config(), torch.device("cpu"))
    rows = [row for _, row in trainer.run(TEXT, seed=7, log_every=7) if row]
    assert [row.step for row in rows] == [0, 7, 14, 19]
    assert [row.loss for row in rows] == [every_step[row.step] for row in rows]


def test_bf16_is_used_and_stays_close() -> None:
    fp32, bf16 = losses(), losses(precision="bf16")
    assert fp32 != bf16
    # bf16 keeps 8 bits: a relative step of 4e-3 per product, averaged over many.
    np.testing.assert_allclose(bf16, fp32, rtol=0.02)


@needs_bf16
def test_products_in_bf16_stay_close_and_give_the_same_bits_again() -> None:
    fp32, bf16 = losses(), losses(precision="bf16_products")
    assert fp32 != bf16
    assert bf16 == losses(precision="bf16_products")
    np.testing.assert_allclose(bf16, fp32, rtol=0.02)


@needs_bf16
def test_a_model_trained_with_products_in_bf16_is_evaluated_in_fp32() -> None:
    model = llama(GEOMETRIC, 7)
    Trainer(model, config(precision="bf16_products"), torch.device("cpu"))
    loaded = llama(GEOMETRIC, 8)
    loaded.load_state_dict(model.state_dict())
    settings = EvaluationSettings(lengths=[64, 128])
    scores = [
        passes.perplexities(loaded, TEXT, settings, 64, precision)[0]
        for precision in ("fp32", "bf16_products", "bf16")
    ]
    assert scores[0] == scores[1] != scores[2]


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch.compile on a CPU needs a C++ compiler"
)
@pytest.mark.parametrize(
    ("precision", "rtol"),
    [("fp32", 1e-4), pytest.param("bf16_products", 5e-3, marks=needs_bf16)],
)
def test_compiled_training_follows_eager(precision: str, rtol: float) -> None:
    eager = losses(precision=precision)
    np.testing.assert_allclose(losses(precision=precision, compile=True), eager, rtol=rtol)


@pytest.mark.parametrize(
    ("seq_len", "vocab_size", "rows"), [(128, 512, 32), (512, 16384, 8), (2048, 50304, 1)]
)
def test_micro_batches_are_bounded_on_a_cpu_by_the_size_of_the_logits(
    seq_len: int, vocab_size: int, rows: int
) -> None:
    model = Llama(SIZES.model_copy(update={"vocab_size": vocab_size}), torch.ones(8))
    assert (
        Trainer(model, config(seq_len=seq_len, batch_size=32), torch.device("cpu")).micro_batch_size
        == rows
    )


@pytest.mark.slow
def test_the_gpu_benchmark_runs_and_finds_the_cpu_equal_to_itself(tmp_path: Path) -> None:
    options = [
        "--device",
        "cpu",
        "--sizes",
        "demo",
        "--rounds",
        "1",
        "--job-steps",
        "30",
        "--output",
        tmp_path / "gpu.json",
    ]
    subprocess.run(
        [sys.executable, "benchmarks/gpu.py", *options], cwd=ROOT, check=True, capture_output=True
    )
    results = json.loads((tmp_path / "gpu.json").read_text())["results"]
    assert results["numbers"] == {
        "fp32_largest_relative_difference": 0.0,
        "bf16_repeats_to_the_bit": True,
        "bf16_resumes_to_the_bit": True,
    }
    sides = results["training demo"]["sides"]
    assert set(sides) >= {"plain", "ours", "ours, compiled"}
    assert all(side["median"]["tokens_per_s"] > 0 for side in sides.values())
    scores = [side["median"]["nll"] for side in results["evaluation demo"].values()]
    np.testing.assert_allclose(scores, np.log(512), rtol=0.02)
    assert results["outside training demo"]["cold"]["wall_s"] > 0


def test_the_gpu_benchmark_says_where_there_is_no_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert (
        done.stderr
        == "no CUDA device here; --device cpu --sizes demo --rounds 1 tries the script itself\n"
    )


@pytest.mark.parametrize(
    ("capability", "deterministic", "names"),
    [
        ((9, 0), False, ["cudnn", "flash", "efficient", "math"]),
        ((9, 0), True, ["cudnn", "flash", "math"]),
        ((8, 0), True, ["flash", "cudnn", "math"]),
    ],
)
def test_attention_kernels_by_card(
    capability: tuple[int, int], deterministic: bool, names: list[str]
) -> None:
    assert attention.candidates(capability, deterministic) == names
    assert attention.select_kernel(torch.device("cpu"), "bf16", 64, 2048, deterministic) == "cpu"


def test_long_runs_are_compiled_where_that_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rope_spectra.training.trainer.shutil.which", lambda _: "/usr/bin/g++")
    cpu = torch.device("cpu")
    assert is_worth_compiling(1e6, torch.device("cuda"))
    assert not is_worth_compiling(4e11, cpu)
    assert is_worth_compiling(1e14, cpu)
    monkeypatch.setattr("rope_spectra.training.trainer.shutil.which", lambda _: None)
    assert not is_worth_compiling(1e14, cpu)


def test_deterministic_means_that_torch_refuses_what_is_not() -> None:
    code = (
        "import sys, torch\n"
        "from rope_spectra.runtime.determinism import make_deterministic; make_deterministic()\n"
        "assert torch.are_deterministic_algorithms_enabled()\n"
        "assert not torch.is_deterministic_algorithms_warn_only_enabled()\n"
        "assert 'torch._inductor' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc"
)
def test_memory_freed_by_a_step_serves_the_next_one() -> None:
    """A block of 64 MB has 16384 pages; after some times none is asked for again."""
    code = (
        "import resource, torch\n"
        "from rope_spectra.training.trainer import keep_freed_memory; keep_freed_memory()\n"
        "for _ in range(20): torch.ones(2**24)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(10): torch.ones(2**24)\n"
        "assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 1000\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
