"""The attention kernel of a run: the fastest that the GPU has and that the run allows.

Hopper cards are fastest with cuDNN's kernel (forward at head_dim 64: 334 TFLOP/s, 262 with flash),
Ampere cards with flash. A deterministic run takes no kernel whose gradient may differ from one call
to the next. A CPU has one kernel.
"""

import torch
from torch.backends import cuda

_HOPPER = (9, 0)
# Name -> (can it serve these tensors?, the switch that allows or forbids it).
_KERNELS = {
    "cudnn": (cuda.can_use_cudnn_attention, cuda.enable_cudnn_sdp),
    "flash": (cuda.can_use_flash_attention, cuda.enable_flash_sdp),
    "efficient": (cuda.can_use_efficient_attention, cuda.enable_mem_efficient_sdp),
    "math": (lambda params: True, cuda.enable_math_sdp),  # noqa: ARG005 (the signature of the others)
}


def select_kernel(
    device: torch.device, precision: str, head_dim: int, length: int, deterministic: bool
) -> str:
    """Leaves scaled_dot_product_attention the best kernel for rows of `length` tokens; its name.

    All others are switched off: torch would otherwise choose anew at every call, by an order of its
    own. The kernel can also compute gradients, so training and evaluation use the same one.
    """
    if device.type == "cpu":
        return "cpu"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    row = torch.empty(1, 1, length, head_dim, dtype=dtype, device=device, requires_grad=True)
    params = cuda.SDPAParams(row, row, row, None, 0.0, True, False)
    names = candidates(torch.cuda.get_device_capability(device), deterministic)
    # There is always one: "math" comes last and serves everything.
    best = next(name for name in names if _KERNELS[name][0](params))
    for name, (_, enable) in _KERNELS.items():
        enable(name == best)
    return best


def allow_all() -> None:
    """Leaves the choice to torch again."""
    for _, enable in _KERNELS.values():
        enable(True)


def candidates(capability: tuple[int, int], deterministic: bool) -> list[str]:
    """Names of kernels, the fastest first, for a card of that compute capability."""
    fast = ["cudnn", "flash"] if capability >= _HOPPER else ["flash", "cudnn"]
    if deterministic:
        # The gradient of "efficient" is never deterministic. For cuDNN torch decides by itself.
        return [*fast, "math"]
    return [*fast, "efficient", "math"]
