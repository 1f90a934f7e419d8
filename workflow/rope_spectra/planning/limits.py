"""The minutes and memory that a job asks a cluster for, by its model and the amount of its text.

Estimates on the safe side, from the work per token and rates below what was measured, and from the
text that there is. A retry asks for more, but a training that resumes only for what is left. What
does not fit is set in the profile (`set-resources`), not here; `cluster` in config.yaml has a cap.
Imports nothing heavy, because the Snakefile is read anew for every job.
"""

import shutil
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from rope_spectra.artifacts import layout
from rope_spectra.config.sections import Config, Training
from rope_spectra.data.base import SplitName
from rope_spectra.planning.estimates import evaluation_passes, split_tokens, usage_passes
from rope_spectra.runtime import heartbeat
from rope_spectra.runtime.errors import UserError

RESULTS = Path("results")

# FLOP/s of one device by where and how it computes. On an A100 the study's own loop reached 75e12
# to 110e12 in bf16; a core of a current CPU about 60e9.
_RATES = {
    ("auto", "bf16"): 50e12,
    ("auto", "fp32"): 10e12,
    ("cpu", "bf16"): 20e9,
    ("cpu", "fp32"): 20e9,
    ("cpu", "bf16_products"): 20e9,  # evaluated in fp32
}
_TOKENIZED_PER_S = 300_000  # two cores of the `tokenizers` library gave 900,000 tokens/s
_COPIED_PER_S = 25_000_000  # tokens, that is 50 MB/s of a busy shared file system
# Of a split without a budget, whose text is elsewhere.
_UNKNOWN_TOKENS = {"train": 1_000_000_000, "validation": 20_000_000}
_MARGIN = 1.5  # on the time that an earlier attempt would still have taken
_START_MINUTES = 20  # interpreter, compilation, the check of the cache, on a busy node
_BASE_MB = 6_000  # interpreter, CUDA, compiler
# Bytes per parameter in fp32. A training has weights, gradients, AdamW's two moments, and copies of
# all but the gradients while it saves them; an evaluation has the weights twice while it loads
# them.
_TRAINING_BYTES = 28
_EVALUATION_BYTES = 8


def check_commands(executor: str) -> None:
    """Raises UserError if jobs are to go to Slurm from a machine that has no Slurm."""
    if executor == "slurm" and not shutil.which("sbatch"):
        raise UserError(
            "executor: slurm needs sbatch, which is not on this machine; run it on a login node,"
            " or without profiles/slurm"
        )


@dataclass(frozen=True)
class Resumed:
    """A training that resumes: the part of it that is left, and its seconds at the earlier rate."""

    left: float
    seconds: float


def resumed(experiment: str, spectrum: str, seed: str) -> Resumed | None:
    """The state of a training that an earlier attempt has saved; None without one."""
    place = {"experiment": experiment, "spectrum": spectrum, "seed": seed}
    if not layout.fill(layout.CHECKPOINT, **place).exists():
        return None
    log = layout.log("train/{experiment}/{spectrum}/seed{seed}").format(**place)
    beat = heartbeat.read(Path(log))
    position = beat.position if beat else None
    if position is None or position.label != "step" or not position.total:
        return None
    left = max(0, position.total - position.done)
    return Resumed(left / position.total, left / position.rate if position.rate > 0 else 0.0)


def train_minutes(
    config: Config, experiment: str, attempt: int, earlier: Resumed | None = None
) -> int:
    """Time limit of one training, or of what is left of one that resumes."""
    training = config.training_of(experiment)
    text = _tokens(config, config.experiments[experiment].dataset, "train")
    tokens = text if training.tokens is None else min(training.tokens, text)
    flop = 3 * tokens * config.model_of(experiment).forward_flop(training.seq_len)
    seconds = flop / training.gpus_per_run / _rate(training)
    if earlier is None:
        return _minutes(config, seconds, attempt)
    # The estimate is on the safe side already; only a device slower than it needs more.
    return _minutes(config, max(earlier.left * seconds, _MARGIN * earlier.seconds), 1)


def evaluate_minutes(config: Config, experiment: str, attempt: int) -> int:
    """Time limit of one evaluation."""
    model = config.model_of(experiment)
    text = _tokens(config, config.experiments[experiment].dataset, "validation")
    passes = evaluation_passes(config.evaluation_of(experiment), text)
    flop = sum(tokens * model.forward_flop(length) for length, tokens in passes)
    return _minutes(config, flop / _rate(config.training_of(experiment)), attempt)


def usage_minutes(config: Config, experiment: str, attempt: int) -> int:
    """Time limit of the measurement of what one run uses."""
    model = config.model_of(experiment)
    passes = usage_passes(
        config.evaluation_of(experiment), model.pairs, config.training_of(experiment).seq_len
    )
    flop = sum(tokens * model.forward_flop(length) for length, tokens in passes)
    return _minutes(config, flop / _rate(config.training_of(experiment)), attempt)


def tokenize_minutes(config: Config, dataset: str, split: SplitName, attempt: int) -> int:
    """Time limit of the tokenization of a split."""
    return _minutes(config, _tokens(config, dataset, split) / _TOKENIZED_PER_S, attempt)


def cache_minutes(config: Config, dataset: str, split: SplitName, attempt: int) -> int:
    """Time limit of the joining of a split's shards."""
    return _minutes(config, _tokens(config, dataset, split) / _COPIED_PER_S, attempt)


def train_mb(config: Config, experiment: str, attempt: int) -> int:
    """Memory of one training, without that of the GPU."""
    processes = config.training_of(experiment).gpus_per_run
    return attempt * processes * _megabytes(config, experiment, _TRAINING_BYTES)


def evaluate_mb(config: Config, experiment: str, attempt: int) -> int:
    """Memory of one evaluation, without that of the GPU."""
    return attempt * _megabytes(config, experiment, _EVALUATION_BYTES)


def _rate(training: Training) -> float:
    """FLOP/s of what a preset trains and evaluates on: a device, or its share of a GPU."""
    shares = training.runs_per_gpu if training.device == "auto" else 1
    return _RATES[training.device, training.precision] / shares


def _tokens(config: Config, dataset: str, split: SplitName) -> int:
    """The tokens of a split as far as they are known, else as many as it may well have."""
    found = split_tokens(config, dataset, split, RESULTS)
    return found.count if found else _UNKNOWN_TOKENS[split]


def _minutes(config: Config, seconds: float, attempt: int) -> int:
    minutes = attempt * (_START_MINUTES + ceil(seconds / 60))
    return min(minutes, config.cluster.longest_minutes or minutes)


def _megabytes(config: Config, experiment: str, bytes_per_parameter: int) -> int:
    parameters = config.model_of(experiment).num_parameters
    return _BASE_MB + ceil(bytes_per_parameter * parameters / 1e6)
