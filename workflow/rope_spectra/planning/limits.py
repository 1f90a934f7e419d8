"""What a job asks a cluster for: minutes and memory, by the size of its model and the amount of its text.

Estimates on the safe side, from the work per token and rates below what was measured. A retry asks for more, and loses little:
trainings and tokenizations go on where they were. What does not fit is set in the profile (`set-resources`), not here.
Imports nothing heavy, because the Snakefile is read anew for every job.
"""

import shutil
from math import ceil, prod
from typing import Any

from rope_spectra.runtime.errors import UserError

Settings = dict[str, Any]

# FLOP/s of one device by where and how it computes. On an A100 the study's own loop reached 75e12 to 110e12 in bf16;
# a core of a current CPU about 60e9.
_RATES = {
    ("auto", "bf16"): 50e12,
    ("auto", "fp32"): 10e12,
    ("cpu", "bf16"): 20e9,
    ("cpu", "fp32"): 20e9,
}
_TOKENIZED_PER_S = 300_000  # two cores of the `tokenizers` library gave 900,000 tokens/s
_COPIED_PER_S = 25_000_000  # tokens, that is 50 MB/s of a busy shared file system
_UNKNOWN_TOKENS = 1_000_000_000  # of a split without a budget
_START_MINUTES = 20  # interpreter, compilation, the check of the cache, on a busy node
_BASE_MB = 6_000  # interpreter, CUDA, compiler


def check_commands(executor: str) -> None:
    """UserError where jobs are to go to Slurm from a machine that has no Slurm."""
    if executor == "slurm" and not shutil.which("sbatch"):
        raise UserError(
            "executor: slurm needs sbatch, which is not on this machine; run it on a login node, or without profiles/slurm"
        )


def train_minutes(config: Settings, experiment: str, attempt: int) -> int:
    """Time limit of one training."""
    parts, model, training = _parts(config, experiment)
    tokens = training["tokens"] or _budget(config, parts["dataset"], "train")
    work = tokens * 3 * forward_flops(model, training["seq_len"]) / training["gpus_per_run"]
    return _minutes(work / _RATES[training["device"], training["precision"]], attempt)


def evaluate_minutes(config: Settings, experiment: str, attempt: int) -> int:
    """Time limit of the evaluation of one run: all validation text, and the retrieval probe, once per length and remap."""
    parts, model, training = _parts(config, experiment)
    evaluation = config["evaluation"][parts["evaluation"]]
    text, trials = (
        _budget(config, parts["dataset"], "validation"),
        (evaluation["retrieval"] or {"trials": 0})["trials"],
    )
    passes = {
        length: (text + trials * length) * len(evaluation["remaps"])
        for length in evaluation["lengths"]
    }
    work = sum(tokens * forward_flops(model, length) for length, tokens in passes.items())
    return _minutes(work / _RATES[training["device"], training["precision"]], attempt)


def tokenize_minutes(config: Settings, dataset: str, split: str, attempt: int) -> int:
    """Time limit of the tokenization of a split."""
    return _minutes(_budget(config, dataset, split) / _TOKENIZED_PER_S, attempt)


def cache_minutes(config: Settings, dataset: str, split: str, attempt: int) -> int:
    """Time limit of the joining of a split's shards."""
    return _minutes(_budget(config, dataset, split) / _COPIED_PER_S, attempt)


def train_mb(config: Settings, experiment: str, attempt: int) -> int:
    """Memory of one training, without that of the GPU: weights, gradients, optimiser and a copy to save them, in fp32."""
    _, model, training = _parts(config, experiment)
    return attempt * training["gpus_per_run"] * (_BASE_MB + ceil(28 * parameters(model) / 1e6))


def evaluate_mb(config: Settings, experiment: str, attempt: int) -> int:
    """Memory of one evaluation, without that of the GPU: the weights twice, in fp32."""
    return attempt * (_BASE_MB + ceil(8 * parameters(_parts(config, experiment)[1]) / 1e6))


def parameters(model: Settings) -> int:
    """Trained numbers of a model: tied embedding, attention, SwiGLU, norms."""
    width, inner = model["hidden_size"], model["num_attention_heads"] * model["head_dim"]
    block = 4 * width * inner + 3 * width * model["intermediate_size"] + 2 * width
    return model["vocab_size"] * width + model["num_hidden_layers"] * block + width


def forward_flops(model: Settings, length: int) -> float:
    """FLOP per token of a forward pass at a context length, attention counted in full; a training takes three times that."""
    attention = prod(model[key] for key in ("num_hidden_layers", "num_attention_heads", "head_dim"))
    return 2 * parameters(model) + 4 * attention * length


def _parts(config: Settings, experiment: str) -> tuple[Settings, Settings, Settings]:
    parts = config["experiments"][experiment]
    return parts, config["models"][parts["model"]], config["training"][parts["training"]]


def _budget(config: Settings, dataset: str, split: str) -> int:
    return config["datasets"][dataset][f"{split}_tokens"] or _UNKNOWN_TOKENS


def _minutes(seconds: float, attempt: int) -> int:
    return attempt * (_START_MINUTES + ceil(seconds / 60))
