"""A text as a task of lm-evaluation-harness, and the commands that run it. Pure.

The harness reads a text in windows of `max_length` tokens, each with one token of context from the
window before it: these are the pieces of protocol `full` (docs/protocol.md section 6). Only for the
first window there is no such token; `prefix_token_id` names the one that ours had.
"""

from pathlib import Path

import yaml

TESTED = "0.4.13"
TASK = "rope_spectra"


def command(
    model: str, length: int, task: str, include: Path | None = None, prefix: int | None = None
) -> str:
    """The command, on three lines, that runs a task at a length in tokens.

    include is the folder of the task, where it is none of the harness; prefix the token before it.
    """
    arguments = f"pretrained={model},dtype=float32,max_length={length}"
    if prefix is not None:
        arguments += f",prefix_token_id={prefix}"
    tasks = f"--tasks {task}" if include is None else f"--include_path {include} --tasks {task}"
    return f"lm_eval --model hf --batch_size 1 \\\n  {tasks} \\\n  --model_args {arguments}"


def task(text: Path) -> str:
    """The definition of the task as YAML: log-likelihood of a text in a file of JSON lines."""
    metrics = ("word_perplexity", "byte_perplexity", "bits_per_byte")
    definition = {
        "task": TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"validation": str(text)}},
        "output_type": "loglikelihood_rolling",
        "validation_split": "validation",
        "doc_to_text": "",
        "doc_to_target": "text",
        "metric_list": [{"metric": metric} for metric in metrics],
        "metadata": {"version": 1.0},
    }
    return yaml.safe_dump(definition, sort_keys=False)
