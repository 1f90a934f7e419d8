"""A CUDA device that is not there: shapes, types and devices of tensors are real, values are not.

torch's fake tensors go through a program without computing anything. They can be on `cuda` also in
a build of torch for CPUs, with CUDA's own rules of autocast. What its autograd asks of a card is in
fake_card.cpp, which has to be loaded before torch: start the process with it in LD_PRELOAD.

Not rehearsed: kernels and their determinism, memory beyond single tensors, torch.compile, ranks.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import safetensors.numpy
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rope_spectra.model import attention, weights


def build(folder: Path) -> Path:
    """Compiles fake_card.cpp for the torch that is installed; the library to be preloaded."""
    torch_folder = Path(torch.__file__).parent
    libraries = torch_folder / "lib"
    output = folder / "fake_card.so"
    command = ["g++", "-std=c++20", "-shared", "-fPIC", f"-I{torch_folder / 'include'}"]
    command += [str(Path(__file__).with_suffix(".cpp")), "-o", str(output)]
    command += [f"-L{libraries}", f"-Wl,-rpath,{libraries}", "-ltorch_cpu", "-lc10"]
    subprocess.run(command, check=True)
    return output


@dataclass(frozen=True)
class Operation:
    """All calls of one operation in one phase, with tensors of these devices and types.

    inputs and outputs are such as "cuda float32"; largest is the number of elements of the largest
    output of all these calls.
    """

    phase: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    largest: int


class Watch(TorchDispatchMode):
    """Notes every operation; its card is full at a tensor of more than `memory` bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = 2**62
        self._phase = "outside"
        self._largest: dict[tuple[Any, ...], int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = _result(func, args, kwargs or {})
        inputs = _tensors((args, kwargs))
        outputs = _tensors(result)
        name = str(func).split(".")[1]
        key = (self._phase, name, *(tuple(map(kind, each)) for each in (inputs, outputs)))
        sizes = [tensor.numel() for tensor in outputs]
        self._largest[key] = max([self._largest.get(key, 0), *sizes])
        if any(tensor.nbytes > self.memory for tensor in outputs):
            raise torch.OutOfMemoryError("the card that is not there is full")
        return result

    def take(self) -> list[Operation]:
        """The operations since the last call."""
        operations = [Operation(*key, largest) for key, largest in self._largest.items()]
        self._largest = {}
        return operations

    @contextlib.contextmanager
    def phase(self, target: object, name: str) -> Iterator[None]:
        """A context in which what target.name does is noted under its name."""
        function = getattr(target, name)

        def named(*args: Any, **kwargs: Any) -> Any:
            before, self._phase = self._phase, name
            try:
                return function(*args, **kwargs)
            finally:
                self._phase = before

        with patch.object(target, name, named):
            yield


def kind(tensor: Tensor) -> str:
    """Device and type: "cuda float32"."""
    return f"{tensor.device.type} {str(tensor.dtype).removeprefix('torch.')}"


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _result(func: Any, args: Any, kwargs: Any) -> Any:
    if func is torch.ops.aten._pin_memory.default:
        return args[0]
    try:
        return func(*args, **kwargs)
    except DataDependentOutputException:
        # Whatever is read is 1.
        return 1.0


@contextlib.contextmanager
def card() -> Iterator[Watch]:
    """A context in which torch has a card of the Hopper generation, with the flash kernel alone."""
    mode = FakeTensorMode()
    # The weak references of this memo would keep Module.to from exchanging parameters in place.
    mode.fake_tensor_converter.set_tensor_memo = lambda *_: None
    kernels = {name: (_never, switch) for name, (_, switch) in attention._KERNELS.items()}
    kernels["flash"] = (_flash_serves, attention._KERNELS["flash"][1])
    patches = [
        patch.object(torch.cuda, "is_available", lambda: True),
        patch.object(torch.cuda, "is_bf16_supported", lambda: True),
        patch.object(torch.cuda, "get_device_name", lambda _: "not there"),
        patch.object(torch.cuda, "get_device_capability", lambda _: (9, 0)),
        patch.object(torch.backends.cuda, "is_built", lambda: True),
        patch.object(attention, "_KERNELS", kernels),
        patch.object(F, "scaled_dot_product_attention", _flash),
        patch.object(FakeTensor, "numpy", _ones, create=True),
        patch.object(weights, "save", _save),
        patch.object(weights, "safe_open", _safe_open),
        mode,
        # A checkpoint has no values either, but holes of the right size.
        torch.serialization.skip_data(materialize_fake_tensors=True),
    ]
    with contextlib.ExitStack() as stack:
        for each in patches:
            stack.enter_context(each)
        yield stack.enter_context(Watch())


def _never(_: object) -> bool:
    return False


def _flash_serves(params: Any) -> bool:
    return bool(params.query.dtype == torch.bfloat16)


def _flash(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> Tensor:
    """The kernel as torch calls it on a card, with what it refuses there."""
    if {q.dtype, k.dtype, v.dtype} != {torch.bfloat16}:
        raise RuntimeError(f"flash attention serves no {q.dtype}, {k.dtype} and {v.dtype}")
    attended: Tensor = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, is_causal)[
        0
    ]
    return attended


def _ones(tensor: FakeTensor) -> NDArray[Any]:
    if tensor.device.type != "cpu":
        raise TypeError(f"can't convert {tensor.device} device type tensor to numpy")
    return np.ones(tensor.shape, dtype=str(tensor.dtype).removeprefix("torch."))


def _save(tensors: dict[str, FakeTensor], metadata: dict[str, str]) -> bytes:
    return safetensors.numpy.save({name: _ones(each) for name, each in tensors.items()}, metadata)


@contextlib.contextmanager
def _safe_open(path: Path, framework: str) -> Iterator[SimpleNamespace]:
    assert framework == "pt"
    with safetensors.safe_open(path, "numpy") as file:
        yield SimpleNamespace(
            metadata=file.metadata,
            keys=file.keys,
            get_tensor=lambda name: torch.from_numpy(file.get_tensor(name)),
        )
