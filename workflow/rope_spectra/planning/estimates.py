"""Estimates what an experiment will take: tokens, FLOP, disk, memory, and hours.

Counts are exact where the tokens of a split are known (`Tokens.source` says how); memory and hours
are estimates.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from rope_spectra.artifacts import layout, seal
from rope_spectra.config.sections import Config, Evaluation, EvaluationKeys
from rope_spectra.data.base import ReadyTokenizer, SplitName
from rope_spectra.data.hub import HubData
from rope_spectra.data.sources import Dataset, SplitSettings
from rope_spectra.model.config import ModelConfig
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Record

# By tokenizer, dataset and split (docs/protocol.md section 1).
_KNOWN = {
    ("EleutherAI/gpt-neox-20b", "roneneldan/TinyStories", "train"): 472_770_254,
    ("EleutherAI/gpt-neox-20b", "roneneldan/TinyStories", "validation"): 4_753_217,
}
_BYTES_PER_TOKEN = 4.0  # of English text, with a vocabulary of about 50,000
# Bytes of text in a byte of a compressed file.
_COMPRESSION = 3.0
COMPRESSED = (".gz", ".zst", ".bz2", ".xz", ".parquet")
_NPY_HEADER = 128

# Training throughput in tokens/s at the study's two sizes, (parameters, FLOP per token), and how it
# is known.
_SIZES = ((50_900_000, 381e6), (454_200_000, 3329e6))
_ANCHORS = {
    "a100": ((230_000, 34_500), "measured by the study"),
    # The cores of an H200, which the model sizes of the study are bound by.
    "h100": ((1_017_000, 138_300), "estimate: as an H200"),
    "h200": ((1_017_000, 138_300), "measured, docs/performance.md"),
}
GPUS = tuple(_ANCHORS)
# The factor by which a model may be smaller or larger than those two; tiny ones are bound by other
# things than FLOP.
_FURTHEST = 3.0
MODEL_BYTES = 4  # of a parameter
CHECKPOINT_BYTES = 12  # weights and AdamW's two moments
START_S = 25.0  # interpreter, CUDA, compilation
TOKENIZED_PER_S = 450_000  # measured by the study, one story at a time


@dataclass(frozen=True)
class Tokens:
    """The size of a split and how it is known.

    source: cache, generated, count (of the published data), file, budget (at most) or guess.
    """

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
    """The needs of all runs of an experiment, unless the name says per run.

    FLOP are 6N + 12 L d T per trained token.
    """

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
    flop_per_token: int
    training_flop: int
    evaluation_tokens: int
    evaluation_flop: int
    cache_bytes: int
    shard_bytes: int
    model_bytes: int
    table_bytes: int
    checkpoint_bytes_per_run: int
    memory_bytes_least: int
    memory_bytes_whole_batch: int


# The keys that matter here of a manifest and of run.json: their own models would load numpy.
class _Cache(Record):
    settings: SplitSettings
    tokens: int


class _Run(Record):
    tokens: int
    seconds: dict[str, float]
    device: dict[str, str | int | bool | None]


def split_tokens(config: Config, dataset: str, split: SplitName, results: Path) -> Tokens | None:
    """The tokens that a split has or will have; None where only the text could tell."""
    section = config.datasets[dataset]
    source = section.split(split)
    budget = section.budget(split)
    cached = _cached(results, dataset, SplitSettings(split=split, tokens=budget, source=source))
    if cached is not None:
        return Tokens(cached, "cache")
    if budget is not None and source.is_endless:
        return Tokens(budget, "generated")
    whole = _whole_split(section, split)
    if budget is not None and (whole is None or budget <= whole.count):
        return Tokens(budget, whole.source if whole else "budget")
    return whole


def _whole_split(section: Dataset, split: SplitName) -> Tokens | None:
    """The size of a split without its budget, as far as it is known."""
    source = section.split(split)
    if isinstance(section, HubData) and isinstance(section.tokenizer, ReadyTokenizer):
        key = (section.tokenizer.path, section.path, section.split(split).split)
        if key in _KNOWN:
            return Tokens(_KNOWN[key], "count")
    count = source.known_tokens()
    if count is not None:
        return Tokens(count, "file")
    size = sum(_text_bytes(file) for file in source.raw_files())
    return Tokens(round(size / _BYTES_PER_TOKEN), "guess") if size else None


def _text_bytes(path: Path) -> float:
    size = path.stat().st_size
    return size * _COMPRESSION if path.suffix.lower() in COMPRESSED else size


def _cached(results: Path, dataset: str, settings: SplitSettings) -> int | None:
    """The tokens of a finished cache, if it is of the same text."""
    path = layout.MANIFEST.format(dataset=dataset, split=settings.split)
    try:
        manifest = seal.load_record(layout.within(results, path), _Cache)
    except UserError:  # there is none, or it will be made again
        return None
    return manifest.tokens if manifest.settings == settings else None


def estimate(config: Config, experiment: str, train: Tokens, validation: Tokens) -> Estimate:
    """Everything but hours."""
    parts = config.experiments[experiment]
    model = config.model_of(experiment)
    training = config.training_of(experiment)
    evaluation = config.evaluation_of(experiment)
    runs = len(parts.runs)
    parameters = model.num_parameters
    steps = training.steps(train.count)
    batch = training.batch_size * training.seq_len
    flop_per_token = 3 * model.forward_flop(training.seq_len)
    passes = evaluation_passes(evaluation, validation.count)
    if evaluation.usage:
        passes += usage_passes(evaluation, model.pairs, training.seq_len)
    evaluation_flop = sum(count * model.forward_flop(length) for length, count in passes)
    tables = _table_bytes(evaluation, validation.count, steps // training.log_every)
    data = train.count + validation.count
    return Estimate(
        experiment=experiment,
        model=parts.model,
        dataset=parts.dataset,
        runs=runs,
        parameters=parameters,
        train_data=train,
        validation_data=validation,
        rows=training.rows(train.count),
        steps=steps,
        tokens_per_run=steps * batch,
        flop_per_token=flop_per_token,
        training_flop=runs * steps * batch * flop_per_token,
        evaluation_tokens=runs * sum(count for _, count in passes),
        evaluation_flop=runs * evaluation_flop,
        cache_bytes=2 * data + 2 * _NPY_HEADER,
        shard_bytes=2 * data,
        model_bytes=runs * MODEL_BYTES * parameters,
        table_bytes=runs * tables,
        checkpoint_bytes_per_run=CHECKPOINT_BYTES * parameters,
        memory_bytes_least=memory_bytes(model, training.seq_len),
        memory_bytes_whole_batch=memory_bytes(model, batch),
    )


def evaluation_passes(evaluation: EvaluationKeys, tokens: int) -> list[tuple[int, int]]:
    """(length, tokens that go through the model) of each pass of the evaluation of one run.

    There is a pass for each remap, length and protocol; the retrieval probe counts as one more.
    """
    longest = max(evaluation.lengths)
    passes = []
    for length in evaluation.lengths * len(evaluation.remaps):
        if "first_chunks" in evaluation.protocols:
            chunks = min(evaluation.chunks, tokens // length)
            passes.append((length, chunks * (length - 1)))
        if "full" in evaluation.protocols:
            passes.append((length, (tokens - 1) // longest * longest))
        if evaluation.retrieval:
            texts = evaluation.retrieval.trials
            # Each task is asked with and without its statements.
            texts *= 2 * len(evaluation.retrieval.tasks or ()) or 1
            passes.append((length, texts * (length - 1)))
    return passes


def usage_passes(evaluation: Evaluation, pairs: int, train_length: int) -> list[tuple[int, int]]:
    """As evaluation_passes, of the measurement of what a run uses.

    The model reads as it is, with each pair stilled, with each pair and all slower ones (the
    slowest has none), and once more while it is watched. The text is the same at both lengths.
    """
    settings = evaluation.usage_settings
    blocks = max(1, settings.tokens // settings.length)
    count = (2 * pairs + 1) * blocks * settings.length
    return [(min(train_length, settings.length), count), (settings.length, count)]


def memory_bytes(model: ModelConfig, tokens: int) -> int:
    """Device memory to train on `tokens` tokens at once, in bf16: a rough estimate.

    Weights, gradients and AdamW's two moments take 16 bytes per parameter. A token takes two copies
    of its logits in bf16 and 40 bytes per layer and unit of width: these give the 22 GB that
    docs/performance.md has for 50m and 65,536 tokens.
    """
    per_token = 4 * model.vocab_size + 40 * model.num_hidden_layers * model.hidden_size
    return 16 * model.num_parameters + tokens * per_token


def _table_bytes(evaluation: EvaluationKeys, tokens: int, log_rows: int) -> int:
    """The bytes of eval.npz and of the log of one run.

    eval.npz has NLLs of blocks and position bins (8 bytes) and of probed words (4 bytes) for each
    remap; the log is kept as text and as TensorBoard events.
    """
    blocks = (tokens - 1) // max(evaluation.lengths)
    bins = sum(int(math.log2(length)) + 2 for length in evaluation.lengths)
    probe = evaluation.retrieval
    candidates = probe.trials * (1 + probe.distractors) * len(evaluation.lengths) if probe else 0
    if probe and probe.tasks:
        candidates *= 3 * len(probe.tasks)  # as asked, without statements, and truncated
    return (8 * blocks * bins + 4 * candidates) * len(evaluation.remaps) + 160 * log_rows


def on_gpu(gpu: str, parameters: int, flop_per_token: float) -> Throughput | None:
    """Throughput of one GPU: its FLOP/s at the two known sizes, interpolated over log(parameters).

    None for a model far from both.
    """
    (small, small_flop), (large, large_flop) = _SIZES
    if not small / _FURTHEST <= parameters <= large * _FURTHEST:
        return None
    (small_rate, large_rate), source = _ANCHORS[gpu]
    at_small = small_rate * small_flop
    at_large = large_rate * large_flop
    share = math.log(parameters / small) / math.log(large / small)
    share = min(max(share, 0.0), 1.0)
    flop_per_s = at_small + share * (at_large - at_small)
    is_known = any(abs(parameters / known - 1) < 0.01 for known in (small, large))
    source = source if is_known else f"other sizes; {source}"
    return Throughput(gpu, flop_per_s / flop_per_token, source)


def measured(results: Path, config: Config, experiment: str) -> Throughput | None:
    """Throughput of the fastest finished run of the experiment in `results`, if there is one.

    Without one, that of an experiment that trains the same model in the same way, as the demo's is
    known for the first experiment of one's own with its presets.
    """
    alike = [
        other
        for other in config.experiments
        if config.model_of(other) == config.model_of(experiment)
        and config.training_of(other) == config.training_of(experiment)
    ]
    own = _rates(results, experiment)
    known = own or [rate for other in alike for rate in _rates(results, other)]
    if not known:
        return None
    rate, device = max(known)
    whose = "earlier runs" if own else "earlier runs like these"
    return Throughput("earlier", rate, f"measured: {whose}, {device}")


def _rates(results: Path, experiment: str) -> list[tuple[float, str]]:
    """Tokens/s and device of each finished run of an experiment."""
    any_run = layout.RUN.format(experiment=experiment, spectrum="*", seed="[0-9]*")
    known = []
    for record in results.glob(any_run.removeprefix("results/")):
        run = seal.load_record(record, _Run)
        known.append((run.tokens / run.seconds["training"], str(run.device["name"])))
    return known


def hours(estimate: Estimate, throughput: Throughput) -> dict[str, float]:
    """Hours of tokenization (once), and of start, training and evaluation of all runs in turn."""
    flop_per_hour = 3600 * throughput.tokens_per_s * estimate.flop_per_token
    data = estimate.train_data.count + estimate.validation_data.count
    if estimate.train_data.source in ("cache", "file"):
        data = 0  # there is nothing to tokenize
    return {
        "tokenization": data / TOKENIZED_PER_S / 3600,
        "start": estimate.runs * START_S / 3600,
        "training": estimate.training_flop / flop_per_hour,
        "evaluation": estimate.evaluation_flop / flop_per_hour,
    }
