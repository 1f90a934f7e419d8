"""The linear layer of the model: torch's own, except that on a CPU its fp32 products are oneDNN's.

torch leaves fp32 products on x86 to MKL, which makes no use of AVX-512 on AMD processors: it
reaches 105 GFLOP/s on a core of Zen 5, where oneDNN, which comes with torch too, reaches 250. In
bf16, oneDNN is twice as fast again on CPUs that multiply bf16; `multiply_in_bf16` chooses that.
Shapes: N rows, I in_features, O out_features.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rope_spectra.runtime.errors import UserError

# Builds of torch for other processors may lack one of the two; they keep torch's own product.
_HAS_BOTH = torch.backends.mkl.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")

# torch.compile would take the weight of oneDNN's operator for a constant and bake it into the
# graph. So it is given an operator that it cannot look into, with a rule for the shape alone.
_library = torch.library.Library("rope_spectra", "DEF")
_library.define("product(Tensor x_NI, Tensor w_OI) -> Tensor")
_library.impl(
    "product",
    lambda x_NI, w_OI: torch.ops.mkldnn._linear_pointwise(x_NI, w_OI, None, "none", [], ""),
    "CPU",
)
_library.impl("product", lambda x_NI, w_OI: x_NI.new_empty(len(x_NI), len(w_OI)), "Meta")
_product = torch.ops.rope_spectra.product.default


class _OneDNN(torch.autograd.Function):
    """x [N, I] times w [O, I] transposed, and the gradients of both."""

    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, w_OI: Tensor) -> Tensor:
        ctx.save_for_backward(x_NI, w_OI)
        return _product(x_NI, w_OI)

    @staticmethod
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor, Tensor]:
        return _gradients(grad_NO, *ctx.saved_tensors)


class _OneDNNInBf16(torch.autograd.Function):
    """The same of fp32 tensors: factors and results of products are rounded to bf16, sums are fp32.

    The casts are outside of the product, so that torch.compile joins them to what is next to them.
    """

    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, w_OI: Tensor) -> Tensor:
        x_NI, w_OI = x_NI.bfloat16(), w_OI.bfloat16()
        ctx.save_for_backward(x_NI, w_OI)
        return _product(x_NI, w_OI).float()

    @staticmethod
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor, Tensor]:
        grad_NI, grad_OI = _gradients(grad_NO.bfloat16(), *ctx.saved_tensors)
        return grad_NI.float(), grad_OI.float()


def _gradients(grad_NO: Tensor, x_NI: Tensor, w_OI: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of x and of w."""
    # The gradient of w is grad^T x, or the transpose of x^T grad. oneDNN copies a transposed first
    # factor and not a transposed second one, so the narrower of the two goes first. It is copied
    # here, where torch.compile can do it: 4 % of a step of 4 layers on a core of Zen 4.
    if x_NI.shape[1] < grad_NO.shape[1]:
        grad_OI = _product(x_NI.t().contiguous(), grad_NO.t()).t()
    else:
        grad_OI = _product(grad_NO.t().contiguous(), x_NI.t())
    return _product(grad_NO, w_OI.t()), grad_OI


class Linear(nn.Linear):
    """x W^T, without bias."""

    in_bf16 = False  # as multiply_in_bf16 has set it

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # Under autocast the product is in bf16, which torch gives to oneDNN by itself.
        if (
            x.device.type == "cpu"
            and x.dtype == torch.float32
            and _HAS_BOTH
            and not torch.is_autocast_enabled("cpu")
        ):
            product = _OneDNNInBf16 if self.in_bf16 else _OneDNN
            return product.apply(x.flatten(0, -2), self.weight).unflatten(0, x.shape[:-1])
        return F.linear(x, self.weight)


def has_bf16_products() -> bool:
    """True where oneDNN multiplies in bf16; elsewhere that would be slower than in fp32."""
    return _HAS_BOTH and torch.cpu._is_avx512_bf16_supported()


def multiply_in_bf16(model: nn.Module) -> None:
    """Has all linear layers of a model multiply in bf16 on a CPU; its weights stay fp32.

    UserError on a CPU that has no such products.
    """
    if not has_bf16_products():
        raise UserError(
            "precision: bf16_products needs a CPU with avx512_bf16, which this one lacks;"
            " use precision: fp32"
        )
    for module in model.modules():
        if isinstance(module, Linear):
            module.in_bf16 = True
