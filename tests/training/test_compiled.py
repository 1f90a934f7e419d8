"""Compiling costs the start of a run more than all else, so it may not happen twice."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from rope_spectra.training.trainer import Trainer
from support.tiny_model import GEOMETRIC, config, llama, tokens

SPECTRA = [GEOMETRIC, {"family": "geometric", "theta": 10_000.0}]


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The graphs that are handed to the compiler, which runs them as they are."""
    found: list[Any] = []

    def backend(graph: Any, _: Any) -> Callable[..., Any]:
        found.append(graph)
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    return found


def train(spectrum: dict, seed: int, attention_factor: float) -> None:
    """The search for a micro-batch, as on a GPU, and three steps of two micro-batches each."""
    model = llama(spectrum, seed)
    model.attention_factor = attention_factor
    recipe = config(compile=True, micro_batch_size=4, deterministic=False)
    trainer = Trainer(model, recipe, torch.device("cpu"))
    assert trainer._fits_gpu(4)
    assert len(list(trainer.run(tokens(64 * 8 * 3), seed, log_every=1))) == 3


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "expected"), [(1.0, 1), (1.1, 2)])
def test_one_graph_serves_search_and_steps_of_every_spectrum_and_seed(
    graphs: list[Any], factor: float, expected: int
) -> None:
    """A number that is no tensor is part of the graph, so another one needs another graph."""
    train(SPECTRA[0], seed=1, attention_factor=1.0)
    assert len(graphs) == 1
    train(SPECTRA[1], seed=2, attention_factor=factor)
    assert len(graphs) == expected
