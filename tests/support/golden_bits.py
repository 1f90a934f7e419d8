"""Prints what a tiny study computes, as hashes: run as a program by the test of golden bits.

It has every feature of the recipe: retrieval rows, micro-batches of unequal size, warm-up, clipped
gradients, several spectra; and of the evaluation: both protocols, remaps, the probe.
"""

import hashlib
import json
import sys
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from rope_spectra.config.sections import EvaluationSettings
from rope_spectra.data.sentence import Sentence, with_sentences
from rope_spectra.evaluation import passes
from rope_spectra.model.llama import Llama
from rope_spectra.runtime.determinism import make_deterministic
from rope_spectra.training.trainer import Trainer
from support.tiny_model import GEOMETRIC, config, llama, tokens

POLY = {"family": "anchored_poly", "theta": 500_000.0, "p": 3.9, "omf": 0.3}
SPECTRA = {
    "geometric": GEOMETRIC,
    "mix": {"family": "mix", "alpha": 0.2, "a": {"family": "geometric", "theta": 1e5}, "b": POLY},
}
SENTENCE = Sentence(before=(50, 51), after=(52,), values=tuple(range(53, 61)) + tuple(range(8)))
RECIPE = config(micro_batch_size=3, warmup_fraction=0.25, grad_clip=0.5, learning_rate=1e-2)
SETTINGS = EvaluationSettings.model_validate(
    {
        "lengths": [64, 256],
        "chunks": 4,
        "remaps": ["none", "pi", "ntk", "dynamic_ntk", "yarn"],
        "retrieval": {"trials": 10, "distractors": 9},
    }
)


def digest(*arrays: NDArray) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]


def weights(model: Llama) -> str:
    return digest(*(tensor.numpy() for _, tensor in sorted(model.state_dict().items())))


def study(name: str) -> dict[str, str]:
    """Trains one model and evaluates it."""
    model = llama(SPECTRA[name], seed=7)
    found = {f"{name}: initial weights": weights(model)}
    trainer = Trainer(model, RECIPE, torch.device("cpu"))
    change = partial(with_sentences, sentence=SENTENCE, share=0.5)
    rows = list(trainer.run(tokens(64 * 8 * 12), seed=7, log_every=1, change=change))
    losses = [row.loss for _, row in rows]
    print(name, losses, file=sys.stderr)
    found[f"{name}: weights after 12 steps"] = weights(model)
    text = tokens(1100, seed=1)
    scores, arrays = passes.perplexities(model, text, SETTINGS, 64, "fp32")
    probed = passes.retrieval(model, text, SENTENCE, SETTINGS, 64, "fp32")
    every = [array for _, array in sorted((arrays | probed).items())]
    nll = np.array([score.nll for score in scores])
    found[f"{name}: evaluation"] = digest(nll, *every)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    make_deterministic()
    print(json.dumps(study("geometric") | study("mix"), indent=4))
