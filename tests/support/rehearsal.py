"""Prints what training and evaluation do on a card that is not there (run as a program).

The study's 50m model with two layers: a training that is stopped and resumes, its evaluation at
2048 and 16384 tokens, and parts of both with a fault in the code, one fault at a time.
"""

import gc
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._pytree import tree_map_only

from rope_spectra import evaluate
from rope_spectra.artifacts import seal
from rope_spectra.config import frozen
from rope_spectra.config.frozen import RunSettings
from rope_spectra.config.load import load
from rope_spectra.config.sections import EvaluationSettings, RunOptions
from rope_spectra.data.cache import Manifest, open_tokens, write_cache
from rope_spectra.data.sources import SplitSettings
from rope_spectra.evaluation import passes, perplexity, usage
from rope_spectra.evaluation.record import EVAL_NLL, EvaluationFacts, evaluated
from rope_spectra.model import llama
from rope_spectra.model.llama import Llama
from rope_spectra.model.weights import build_model
from rope_spectra.training import batches, checkpoint, loop, trainer
from rope_spectra.training.record import CONFIG, data_facts, read_run
from rope_spectra.training.run import Run
from rope_spectra.training.trainer import Trainer
from support.checkout import ROOT
from support.fake_card import Watch, card, kind
from support.probed import KEY

STEPS = 4
ROWS_THAT_FIT = 16
LONG = 16384
EVALUATION = {
    "lengths": [2048, LONG],
    "chunks": 2,
    "remaps": ["none", "yarn"],
    "retrieval": {"trials": 10, "distractors": 9},
}
# What is noted under its own name; all else is "outside".
PHASES = [
    (Trainer, "_micro_batch_size"),
    (Trainer, "step"),
    (perplexity, "token_nll"),
    (perplexity, "candidate_nll"),
    (usage, "attention_by_distance"),
]

Found = dict[str, Any]


def settings() -> RunSettings:
    config = load(yaml.safe_load((ROOT / "config.yaml").read_text()))
    shipped = frozen.run_settings(config, "unified_search_3cfg_3seed", "geo_500k", 42)
    # The compiler would need the card.
    training = shipped.training.model_copy(update={"tokens": None, "compile": False})
    model = shipped.model.model_copy(update={"num_hidden_layers": 2})
    return shipped.model_copy(update={"training": training, "model": model})


def cache(path: Path, tokens: int) -> Manifest:
    source = {"source": "tokens", "file": path.name, "vocab_size": 50304}
    split = SplitSettings.model_validate({"split": "train", "tokens": None, "source": source})
    digest = write_cache(path, [np.zeros(tokens, dtype="<u2")], tokens)
    return Manifest(settings=split, vocab_size=50304, tokens=tokens, sha256=digest)


def new_run(folder: Path) -> Run:
    """A run of STEPS steps, with its token cache and its settings in the folder."""
    asked = settings()
    tokens = STEPS * asked.training.batch_size * asked.training.seq_len
    options = RunOptions(log_every=2, checkpoint_minutes=None, checkpoint_steps=STEPS // 2)
    seal.write(folder / CONFIG, asked.content())
    return Run(folder, asked, cache(folder / "train.npy", tokens), options)


def memory_for(rows: int, asked: RunSettings) -> int:
    """Bytes of the logits of so many rows, the largest tensor of a step."""
    return rows * asked.training.seq_len * asked.model.vocab_size * torch.float32.itemsize


class Stopped(Exception):
    pass


def train(folder: Path, watch: Watch) -> Found:
    """A training that is stopped at its first checkpoint, and once more, to its end."""
    run = new_run(folder)
    made: list[Trainer] = []
    tried: list[tuple[int, bool]] = []
    gradients: list[str] = []  # that the search has left
    fits, save = Trainer._fits_gpu, checkpoint.save_state

    def noted_fits(self: Trainer, size: int) -> bool:
        tried.append((size, fits(self, size)))
        gradients.extend(
            name for name, each in self.model.named_parameters() if each.grad is not None
        )
        return tried[-1][1]

    def noted_trainer(*arguments: Any) -> Trainer:
        made.append(Trainer(*arguments))
        return made[-1]

    def save_and_stop(path: Path, state: checkpoint.State) -> None:
        save(path, state)
        raise Stopped

    with (
        patch.object(watch, "memory", memory_for(ROWS_THAT_FIT, run.settings)),
        patch.object(Trainer, "_fits_gpu", noted_fits),
        patch.object(loop, "Trainer", noted_trainer),
    ):
        with suppress(Stopped), patch.object(checkpoint, "save_state", save_and_stop):
            loop.train(run, folder / "train.npy", threads=1)
        loop.train(run, folder / "train.npy", threads=1)
    record = read_run(folder).content()
    held = [tensors(each) for each in made]
    return {"tried": tried, "gradients": gradients, "tensors": held, "record": record}


def tensors(made: Trainer) -> dict[str, str]:
    """Devices and types of all that a training holds."""
    names = {parameter: name for name, parameter in made.model.named_parameters()}
    held = dict(made.model.named_parameters()) | dict(made.model.named_buffers())
    for parameter, state in made.optimizer.state.items():
        held |= {f"{key} of {names[parameter]}": value for key, value in state.items()}
    return {name: kind(tensor) for name, tensor in held.items()}


def evaluate_it(folder: Path) -> Found:
    """The evaluation of that training, as the command does it."""
    tokens = folder / "validation.npy"
    manifest = cache(tokens, 2 * LONG + 1)
    run = read_run(folder)
    asked = EvaluationSettings.model_validate(EVALUATION)
    facts = EvaluationFacts(run=evaluated(run), settings=asked, data=data_facts(manifest, KEY))
    model = evaluate._load(folder, run, threads=1, runs_per_gpu=1)
    evaluate._evaluate(model, open_tokens(tokens, manifest), KEY, None, facts, folder)
    text = np.zeros(LONG // 2, dtype=np.uint16)
    with passes.autocast(model.inv_freq.device, "bf16"):
        usage.observe(model, text, len(text), perplexity.bin_edges(len(text), 2048))
    with np.load(folder / EVAL_NLL) as arrays:
        shapes = {name: array.shape for name, array in arrays.items()}
    return {"tied": model.lm_head.weight is model.embed_tokens.weight, "shapes": shapes}


def two_steps(_: Watch) -> Found:
    """A step, its state through a file on the CPU, and a step."""
    asked = settings()
    recipe = asked.training.model_copy(update={"batch_size": 2, "micro_batch_size": 1})
    made = Trainer(build_model(asked.model, asked.spectrum), recipe, torch.device("cuda"))
    batch = torch.zeros(2, recipe.seq_len, dtype=torch.int16)
    made.step(batch, 1e-3)
    made.restore(tree_map_only(Tensor, Tensor.cpu, made.state()))
    made.step(batch, 1e-3)
    return {"tensors": [tensors(made)]}


def search(watch: Watch) -> Found:
    """The search for a micro-batch: bytes on the card each time that its cache is emptied."""
    asked = settings()
    alive: list[int] = []

    def noted() -> None:
        on_card = [each for each in gc.get_objects() if type(each) is FakeTensor and each.is_cuda]
        alive.append(sum(each.nbytes for each in on_card))

    gc.collect()
    with (
        patch.object(watch, "memory", memory_for(ROWS_THAT_FIT, asked)),
        patch.object(torch.cuda, "empty_cache", noted),
    ):
        model = build_model(asked.model, asked.spectrum)
        Trainer(model, asked.training, torch.device("cuda"))
    weights = sum(each.nbytes for each in model.parameters())
    return {"alive": [size / weights for size in alive]}


def long_text(_: Watch) -> Found:
    """The perplexity of one text of 16384 tokens."""
    asked = settings()
    model = build_model(asked.model, asked.spectrum).to(torch.device("cuda")).eval()
    how = EvaluationSettings.model_validate(
        {"lengths": [LONG], "chunks": 1, "protocols": ["first_chunks"]}
    )
    passes.perplexities(model, np.zeros(LONG, dtype=np.uint16), how, 2048, "bf16")
    return {}


def spectrum_left_behind(model: Llama, device: torch.device) -> Llama:
    nn.Module.to(model, device)
    model.inv_freq = model.inv_freq.cpu()
    return model


def weights_in_bf16(model: Llama, device: torch.device) -> Llama:
    return nn.Module.to(model, device, torch.bfloat16)


def moments_left_behind(made: Trainer, state: checkpoint.State) -> None:
    made.model.load_state_dict(state["model"])
    made.optimizer.load_state_dict(state["optimizer"])
    for held in made.optimizer.state.values():
        held["exp_avg"] = held["exp_avg"].cpu()


def ids_widened_on_the_cpu(batch: Tensor, device: torch.device) -> Tensor:
    return (batch.long() & 0xFFFF).pin_memory().to(device, non_blocking=True)


def ids_not_pinned(batch: Tensor, device: torch.device) -> Tensor:
    return batch.to(device, non_blocking=True).long() & 0xFFFF


def logits_in_fp32(model: Llama, ids: Tensor) -> Tensor:
    hidden = model.hidden(ids)
    with torch.autocast("cuda", enabled=False):
        return F.linear(hidden, model.lm_head.weight)


def residual_in_bf16(block: llama.Block, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    x = x.bfloat16()
    x = x + block.self_attn(block.input_layernorm(x), cos, sin)
    return x + block.mlp(block.post_attention_layernorm(x))


def rotated_in_bf16(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat((-second, first), dim=-1) * sin.to(x.dtype)


def losses_that_are_read(made: Trainer, ids: Tensor, share: float, _: bool) -> Tensor:
    loss = made.objective(ids) * share
    loss.backward()
    loss.item()
    return loss.detach()


def errors_that_are_kept(made: Trainer, size: int) -> bool:
    ids = torch.zeros(size, made.recipe.seq_len, dtype=torch.long, device=made.device)
    try:
        made.objective(ids).backward()
    except torch.OutOfMemoryError as error:
        made.kept = error
        return False
    finally:
        made.optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
    return True


def attention_as_a_matrix(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> Tensor:
    return (q @ k.mT).softmax(-1).to(v.dtype) @ v


def no_autocast(*_: object) -> AbstractContextManager[None]:
    return nullcontext()


ATTENTION = "scaled_dot_product_attention"
all_logits_at_once = partial(perplexity.token_nll, head_rows=LONG)

Fault = tuple[Callable[[Watch], Found], object, str, Callable[..., Any]]
FAULTS: dict[str, Fault] = {
    "spectrum left on the CPU": (two_steps, Llama, "to", spectrum_left_behind),
    "weights in bf16": (two_steps, Llama, "to", weights_in_bf16),
    "moments left on the CPU": (two_steps, Trainer, "restore", moments_left_behind),
    "ids widened on the CPU": (two_steps, batches, "to_ids", ids_widened_on_the_cpu),
    "ids not pinned": (two_steps, batches, "to_ids", ids_not_pinned),
    "training without autocast": (two_steps, trainer, "autocast", no_autocast),
    "logits in fp32": (two_steps, Llama, "forward", logits_in_fp32),
    "residual in bf16": (two_steps, llama.Block, "forward", residual_in_bf16),
    "rotated in bf16": (two_steps, llama, "apply_rotary", rotated_in_bf16),
    "losses that are read": (two_steps, Trainer, "_backward", losses_that_are_read),
    "errors that are kept": (search, Trainer, "_fits_gpu", errors_that_are_kept),
    "evaluation without autocast": (long_text, passes, "autocast", no_autocast),
    "all logits at once": (long_text, perplexity, "token_nll", all_logits_at_once),
    "attention as a matrix": (long_text, F, ATTENTION, attention_as_a_matrix),
}


def rehearsed(watch: Watch, scenario: Callable[[], Found]) -> Found:
    """What a scenario found, its operations by phase, and the error that ended it."""
    watch.take()
    with ExitStack() as phases:
        for target, name in PHASES:
            phases.enter_context(watch.phase(target, name))
        try:
            found = scenario()
        except (RuntimeError, TypeError) as error:
            found = {"error": str(error)}
    return found | {"operations": [asdict(each) for each in watch.take()]}


def main() -> None:
    os.environ.pop("LD_PRELOAD", None)  # or git, which a training asks for its commit, has it too
    found = {}
    with card() as watch, tempfile.TemporaryDirectory() as name:
        found["train"] = rehearsed(watch, partial(train, Path(name), watch))
        found["evaluate"] = rehearsed(watch, partial(evaluate_it, Path(name)))
        for scenario in (search, two_steps, long_text):
            found[scenario.__name__] = rehearsed(watch, partial(scenario, watch))
        for fault, (scenario, target, attribute, wrong) in FAULTS.items():
            with patch.object(target, attribute, wrong):
                found[fault] = rehearsed(watch, partial(scenario, watch))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
