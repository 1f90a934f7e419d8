"""Which attention kernel a GPU uses: the fastest that it has and that the run allows.

Hopper cards are fastest with cuDNN's kernel, Ampere with flash (performance.md: 262 -> 334 TFLOP/s forward at head_dim 64).
A deterministic run takes no kernel whose gradient may differ from one run to the next. On a CPU there is one kernel.
"""

import torch
from torch.backends import cuda

_HOPPER = (9, 0)
_SWITCHES = {
    "cudnn": (cuda.can_use_cudnn_attention, cuda.enable_cudnn_sdp),
    "flash": (cuda.can_use_flash_attention, cuda.enable_flash_sdp),
    "efficient": (cuda.can_use_efficient_attention, cuda.enable_mem_efficient_sdp),
    "math": (lambda params: True, cuda.enable_math_sdp),  # noqa: ARG005 (the signature of the others)
}


def choose(
    device: torch.device, precision: str, head_dim: int, length: int, deterministic: bool
) -> str:
    """Leave scaled_dot_product_attention one kernel, the best for rows of `length` tokens with gradients, and name it."""
    if device.type == "cpu":
        return "cpu"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    row = torch.empty(1, 1, length, head_dim, dtype=dtype, device=device, requires_grad=True)
    params = cuda.SDPAParams(row, row, row, None, 0.0, True, False)
    best = next(
        name
        for name in candidates(torch.cuda.get_device_capability(device), deterministic)
        if _SWITCHES[name][0](params)
    )
    for name, (_, enable) in _SWITCHES.items():
        enable(name == best)
    return best


def allow_all() -> None:
    """Leave the choice to torch again."""
    for _, enable in _SWITCHES.values():
        enable(True)


def candidates(capability: tuple[int, int], deterministic: bool) -> list[str]:
    """Kernels by speed. With cuDNN torch decides itself whether it is deterministic; the efficient one never is."""
    fast = ["cudnn", "flash"] if capability >= _HOPPER else ["flash", "cudnn"]
    return [*fast, "math"] if deterministic else [*fast, "efficient", "math"]
