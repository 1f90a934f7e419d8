"""The optimizer is torch's own, and what a run needs does not load torch's compiler."""

import os
import subprocess
import sys
from copy import deepcopy

import pytest
import torch

from rope_spectra.training.optimizer import AdamW
from support.checkout import PACKAGE, ROOT

WITHOUT_COMPILER = """
import sys
import torch
from rope_spectra.model.weights import build_model
from rope_spectra.rope.families import NamedSpectrum
from rope_spectra.training.optimizer import AdamW
from support.tiny_model import GEOMETRIC, SIZES

spectrum = NamedSpectrum(name="tiny", shape=GEOMETRIC)
assert build_model(SIZES, spectrum, empty=True).lm_head.weight.is_meta
model = build_model(SIZES, spectrum)
optimizer = AdamW(model.parameters(), fused=True)
model(torch.zeros(1, 4, dtype=torch.long)).sum().backward()
optimizer.step()
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""


def trained(kind: type[torch.optim.AdamW]) -> torch.optim.AdamW:
    """An optimizer after two steps with gradients that need the graph to stay out of it."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(5, 3)
    optimizer = kind(layer.parameters(), lr=0.1, weight_decay=0.1, fused=True)
    for _ in range(2):
        layer(torch.ones(2, 5)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return optimizer


def test_weights_and_state_have_the_bits_of_torchs_own() -> None:
    ours, theirs = trained(AdamW), trained(torch.optim.AdamW)
    for mine, other in zip(
        ours.param_groups[0]["params"], theirs.param_groups[0]["params"], strict=True
    ):
        assert mine.grad is None
        assert torch.equal(mine, other)
    state, other_state = ours.state_dict(), theirs.state_dict()
    assert state["param_groups"] == other_state["param_groups"]
    assert state["state"].keys() == other_state["state"].keys() == {0, 1}
    for index, values in state["state"].items():
        assert values.keys() == other_state["state"][index].keys()
        for name, value in values.items():
            assert torch.equal(value, other_state["state"][index][name])


def test_a_state_of_torchs_own_continues_to_the_same_bits() -> None:
    theirs = trained(torch.optim.AdamW)
    ours = AdamW([p.detach().clone() for p in theirs.param_groups[0]["params"]], fused=True)
    ours.load_state_dict(deepcopy(theirs.state_dict()))  # or both would share their moments
    for optimizer in (ours, theirs):
        for parameter in optimizer.param_groups[0]["params"]:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    pairs = zip(ours.param_groups[0]["params"], theirs.param_groups[0]["params"], strict=True)
    assert all(torch.equal(mine, other) for mine, other in pairs)


@pytest.mark.slow
def test_an_eager_run_does_not_load_the_compiler() -> None:
    command = [sys.executable, "-c", WITHOUT_COMPILER]
    path = os.pathsep.join(map(str, [PACKAGE, ROOT / "tests"]))
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert done.stdout == "False\n"
