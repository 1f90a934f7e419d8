"""The linear layer of the model: torch's own, except that on a CPU its fp32 products are oneDNN's.

torch leaves fp32 products on x86 to MKL, which makes no use of AVX-512 on AMD processors: 105 GFLOP/s on a core of Zen 5, where
oneDNN, which comes with torch too, reaches 250. Shapes: N rows, I in_features, O out_features.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_HAS_BOTH = torch.backends.mkl.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")

# torch.compile takes the weight of oneDNN's operator for a constant, so it is given one that it does not look into.
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
        x_NI, w_OI = ctx.saved_tensors
        # A transposed first factor is copied, a transposed second one is not: the narrower goes first.
        x_first = x_NI.shape[1] < grad_NO.shape[1]
        grad_OI = (
            _product(x_NI.t(), grad_NO.t()).t() if x_first else _product(grad_NO.t(), x_NI.t())
        )
        return _product(grad_NO, w_OI.t()), grad_OI


class Linear(nn.Linear):
    """x W^T, without bias."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if (
            x.device.type == "cpu"
            and x.dtype == torch.float32
            and _HAS_BOTH
            and not torch.is_autocast_enabled("cpu")
        ):
            return _OneDNN.apply(x.flatten(0, -2), self.weight).unflatten(0, x.shape[:-1])
        return F.linear(x, self.weight)
