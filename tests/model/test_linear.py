"""The linear layer equals torch's own."""

import pytest
import torch
from torch import nn

from rope_spectra.model.linear import Linear, multiply_in_bf16
from rope_spectra.runtime.errors import UserError
from support.tiny_model import GEOMETRIC, llama, needs_bf16


def pair(inputs: int, outputs: int) -> tuple[Linear, nn.Linear]:
    ours, theirs = Linear(inputs, outputs), nn.Linear(inputs, outputs, bias=False)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("size", [(24, 56), (56, 24), (32, 32)], ids=str)
@pytest.mark.parametrize("rows", [(7,), (3, 5), (2, 1)], ids=str)
def test_product_and_gradients_are_those_of_torch(
    size: tuple[int, int], rows: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    layers = pair(*size)
    inputs = [torch.linspace(-1, 1, size[0]).repeat(*rows, 1).requires_grad_() for _ in layers]
    outputs = [layer(x) for layer, x in zip(layers, inputs, strict=True)]
    for y in outputs:
        (y * torch.arange(y.numel()).view_as(y).sin()).sum().backward()
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*(x.grad for x in inputs))
    torch.testing.assert_close(*(layer.weight.grad for layer in layers))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_left_to_torch(dtype: torch.dtype) -> None:
    ours, theirs = (layer.to(dtype) for layer in pair(8, 16))
    x = torch.randn(4, 8, dtype=dtype)
    assert torch.equal(ours(x), theirs(x))


def test_autocast_decides_as_it_does_for_torch() -> None:
    ours, theirs = pair(8, 16)
    x = torch.randn(4, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ours(x), theirs(x))


@needs_bf16
@pytest.mark.parametrize("size", [(24, 56), (56, 24)], ids=str)
def test_products_in_bf16_are_those_of_rounded_factors_rounded_once(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    ours, theirs = pair(*size)
    multiply_in_bf16(ours)
    x = torch.randn(3, 5, size[0]).bfloat16().float().requires_grad_()
    same = x.detach().clone().requires_grad_()
    theirs.weight.data = ours.weight.data.bfloat16().float()
    y, exact = ours(x), theirs(same)
    grad = torch.randn_like(y).bfloat16().float()
    y.backward(grad)
    exact.backward(grad)
    assert y.dtype == ours.weight.grad.dtype == torch.float32
    # Half a step of bf16, and where fp32 sums of another order lie on two sides of a tie, a step.
    close = {"rtol": 2**-8, "atol": 1e-5}
    torch.testing.assert_close(y, exact, **close)
    torch.testing.assert_close(x.grad, same.grad, **close)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, **close)
    assert torch.equal(y, y.bfloat16().float())


def test_products_in_bf16_are_refused_where_the_cpu_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    with pytest.raises(UserError, match=r"^precision: bf16_products .* precision: fp32$"):
        multiply_in_bf16(llama(GEOMETRIC, 7))
