"""What an experiment will take, from its configuration alone: tokens, FLOP, disk, memory, and hours at known throughputs.

Counts are exact where the tokens of a split are known (`Tokens.source` says how); memory and hours are estimates.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rope_spectra.artifacts import layout
from rope_spectra.artifacts.files import read_json
from rope_spectra.config import legacy as frozen
from rope_spectra.planning.limits import forward_flops, parameters

Settings = dict[str, Any]

# Counted with the GPT-NeoX tokenizer, protocol.md section 2.
_KNOWN = {
    ("roneneldan/TinyStories", "train"): 472_770_254,
    ("roneneldan/TinyStories", "validation"): 4_753_217,
}
_KNOWN_TOKENIZER = "EleutherAI/gpt-neox-20b"
_BYTES_PER_TOKEN = 4.0  # of English text, with a vocabulary of about 50,000
_NPY_HEADER = 128

# Training throughput in tokens/s at the study's two sizes, (parameters, FLOP per token), and how it is known.
_SIZES = ((50_900_000, 381e6), (454_200_000, 3329e6))
_ANCHORS = {
    "a100": ((230_000, 34_500), "measured by the study"),
    "h100": (
        (1_038_000, 141_000),
        "estimate: best published loops",
    ),  # 40 and 47.5 % of 989 TFLOP/s
    "h200": ((1_060_000, 147_500), "estimate: account of a step"),
}
GPUS = tuple(_ANCHORS)
_FURTHEST = 3.0  # by which factor a model may be smaller or larger than those two; tiny ones are bound by other things
START_S = 25.0  # interpreter, CUDA, compilation
TOKENIZED_PER_S = 450_000  # measured by the study, one story at a time


@dataclass(frozen=True)
class Tokens:
    """Size of a split and how it is known: cache, generated, count (of the published data), file, budget (at most) or guess."""

    count: int
    source: str


@dataclass(frozen=True)
class Throughput:
    """Training tokens per second of one run, on what, and who says so."""

    name: str
    tokens_per_s: float
    source: str


@dataclass(frozen=True)
class Estimate:
    """What all runs of an experiment take, unless the name says per run; FLOP are 6N + 12 L d T per trained token."""

    experiment: str
    model: str
    dataset: str
    runs: int
    parameters: int
    train_data: Tokens
    validation_data: Tokens
    rows: int
    steps: int
    tokens_per_run: int
    flop_per_token: float
    training_flop: float
    evaluation_tokens: int
    evaluation_flop: float
    cache_bytes: int
    shard_bytes: int
    model_bytes: int
    table_bytes: int
    checkpoint_bytes_per_run: int
    memory_bytes_least: int
    memory_bytes_whole_batch: int


def split_tokens(settings: Settings, dataset: str, split: str, results: Path) -> Tokens | None:
    """How many tokens a split has or will have; None where only the text could tell."""
    definition = settings["datasets"][dataset]
    budget = definition[f"{split}_tokens"]
    if (cached := _cached(settings, dataset, split, results)) is not None:
        return Tokens(cached, "cache")
    if definition["source"] == "synthetic":
        return Tokens(budget, "generated")
    found = _whole_split(settings, dataset, split)
    if budget is not None and (found is None or budget <= found.count):
        return Tokens(budget, found.source if found else "budget")
    return found


def _whole_split(settings: Settings, dataset: str, split: str) -> Tokens | None:
    definition = settings["datasets"][dataset]
    if definition["source"] == "hub":
        is_known = definition["tokenizer"].get("path") == _KNOWN_TOKENIZER
        known = _KNOWN.get((definition["path"], definition[f"{split}_split"])) if is_known else None
        return Tokens(known, "count") if known else None
    size = sum(Path(file).stat().st_size for file in frozen.raw_files(settings, dataset, split))
    return (
        Tokens(size // 2, "file")
        if definition["source"] == "tokens"
        else Tokens(round(size / _BYTES_PER_TOKEN), "guess")
    )


def _cached(settings: Settings, dataset: str, split: str, results: Path) -> int | None:
    manifest = layout.within(results, layout.MANIFEST.format(dataset=dataset, split=split))
    try:
        content = json.loads(manifest.read_bytes())
        is_same = content["settings"] == frozen.data_settings(
            settings, dataset, "train" if split == "train" else "validation"
        )
        return content["tokens"] if is_same else None
    except (OSError, ValueError, KeyError):
        return None


def estimate(settings: Settings, experiment: str, train: Tokens, validation: Tokens) -> Estimate:
    """Everything but hours."""
    parts = settings["experiments"][experiment]
    model, training = settings["models"][parts["model"]], settings["training"][parts["training"]]
    evaluation, runs = (
        settings["evaluation"][parts["evaluation"]],
        len(frozen.runs(settings, experiment)),
    )
    size, rows = (
        parameters(model),
        min(training["tokens"] or train.count, train.count) // training["seq_len"],
    )
    steps = rows // training["batch_size"]
    tokens = steps * training["batch_size"] * training["seq_len"]
    flop_per_token = 3 * forward_flops(model, training["seq_len"])
    passes = evaluation_passes(evaluation, validation.count)
    splits = (train.count, validation.count)
    return Estimate(
        experiment=experiment,
        model=parts["model"],
        dataset=parts["dataset"],
        runs=runs,
        parameters=size,
        train_data=train,
        validation_data=validation,
        rows=rows,
        steps=steps,
        tokens_per_run=tokens,
        flop_per_token=flop_per_token,
        training_flop=runs * tokens * flop_per_token,
        evaluation_tokens=runs * sum(count for _, count in passes),
        evaluation_flop=runs
        * sum(count * forward_flops(model, length) for length, count in passes),
        cache_bytes=sum(_NPY_HEADER + 2 * count for count in splits),
        shard_bytes=sum(2 * count for count in splits),
        model_bytes=runs * 4 * size,
        table_bytes=runs
        * _table_bytes(evaluation, validation.count, steps // training["log_every"]),
        checkpoint_bytes_per_run=12 * size,
        memory_bytes_least=memory_bytes(model, training["seq_len"]),
        memory_bytes_whole_batch=memory_bytes(model, training["batch_size"] * training["seq_len"]),
    )


def evaluation_passes(evaluation: Settings, tokens: int) -> list[tuple[int, int]]:
    """(length, tokens that go through the model) of each remap, protocol (the probe is one more) and length of one run."""
    longest = max(evaluation["lengths"])
    passes = []
    for length in evaluation["lengths"] * len(evaluation["remaps"]):
        if "first_chunks" in evaluation["protocols"]:
            passes.append((length, min(evaluation["chunks"], tokens // length) * (length - 1)))
        if "full" in evaluation["protocols"]:
            passes.append((length, (tokens - 1) // longest * longest))
        if evaluation["retrieval"]:
            passes.append((length, evaluation["retrieval"]["trials"] * (length - 1)))
    return passes


def memory_bytes(model: Settings, tokens: int) -> int:
    """Device memory to train on `tokens` tokens at once, in bf16: a rough estimate.

    Weights, gradients and AdamW's two moments take 16 bytes per parameter. A token takes two copies of its logits in bf16 and 40
    bytes per layer and unit of width: so the 22 GB come out that performance.md gives for 50m and 65,536 tokens.
    """
    per_token = 4 * model["vocab_size"] + 40 * model["num_hidden_layers"] * model["hidden_size"]
    return 16 * parameters(model) + tokens * per_token


def _table_bytes(evaluation: Settings, tokens: int, log_rows: int) -> int:
    """eval.npz (NLLs of blocks and position bins, 8 bytes, of probed words, 4) and the log of one run, as text and as events."""
    blocks, probe = (
        (tokens - 1) // max(evaluation["lengths"]),
        evaluation["retrieval"] or {"trials": 0, "distractors": 0},
    )
    bins = sum(int(math.log2(length)) + 2 for length in evaluation["lengths"])
    candidates = probe["trials"] * (1 + probe["distractors"]) * len(evaluation["lengths"])
    return (8 * blocks * bins + 4 * candidates) * len(evaluation["remaps"]) + 160 * log_rows


def on_gpu(gpu: str, size: int, flop_per_token: float) -> Throughput | None:
    """Throughput of one GPU for a model of `size` parameters: its FLOP/s at the two known sizes, interpolated over log(size).

    None for a model far from both.
    """
    (small, _), (large, _) = _SIZES
    if not small / _FURTHEST <= size <= large * _FURTHEST:
        return None
    rates, source = _ANCHORS[gpu]
    at_small, at_large = (rate * flop for rate, (_, flop) in zip(rates, _SIZES, strict=True))
    share = min(max(math.log(size / small) / math.log(large / small), 0.0), 1.0)
    is_known = any(abs(size / known - 1) < 0.01 for known, _ in _SIZES)
    flop_per_s = at_small + share * (at_large - at_small)
    return Throughput(
        gpu, flop_per_s / flop_per_token, source if is_known else f"other sizes; {source}"
    )


def measured(results: Path, experiment: str) -> Throughput | None:
    """Throughput of the fastest finished run of the experiment in `results`, if there is one."""
    known = []
    for name, spectrum, seed in layout.found_runs(results):
        path = layout.within(
            results, layout.RUN.format(experiment=name, spectrum=spectrum, seed=seed)
        )
        if name == experiment and path.is_file():
            run = read_json(path, "tokens", "seconds", "device")
            known.append((run["tokens"] / run["seconds"]["training"], run["device"]["name"]))
    if not known:
        return None
    rate, device = max(known)
    return Throughput("earlier", rate, f"measured: earlier runs, {device}")


def hours(estimate: Estimate, throughput: Throughput) -> dict[str, float]:
    """Hours of tokenization (once), and of the start-up, training and evaluation of all runs, one after the other."""
    flop_per_hour = 3600 * throughput.tokens_per_s * estimate.flop_per_token
    data = (
        0.0
        if estimate.train_data.source in ("cache", "file")
        else estimate.train_data.count + estimate.validation_data.count
    )
    return {
        "tokenization": data / TOKENIZED_PER_S / 3600,
        "start": estimate.runs * START_S / 3600,
        "training": estimate.training_flop / flop_per_hour,
        "evaluation": estimate.evaluation_flop / flop_per_hour,
    }
