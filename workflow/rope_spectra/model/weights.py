"""Makes a model from its settings; writes and reads its weights as a safetensors file.

The metadata of the file hold the identity of the run that it belongs to, so that weights cannot be
mistaken for those of another run, wherever the file is copied.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn
from torch.overrides import TorchFunctionMode

from rope_spectra.model.config import ModelConfig
from rope_spectra.model.llama import Llama
from rope_spectra.rope.families import NamedSpectrum
from rope_spectra.runtime.errors import UserError

# Tied to embed_tokens.weight and therefore stored once.
_TIED = "lm_head.weight"


def build_model(config: ModelConfig, spectrum: NamedSpectrum, empty: bool = False) -> Llama:
    """A model of these sizes with that spectrum, on the CPU.

    Its initial weights come from torch's random stream. `empty` leaves them without memory, for a
    model whose weights load_model will bring.
    """
    inv_freq = torch.from_numpy(spectrum.inv_freq(config.head_dim))
    if empty:
        with torch.device("meta"), _NoDraws():
            return Llama(config, inv_freq)
    with torch.device("cpu"):
        return Llama(config, inv_freq)


class _NoDraws(TorchFunctionMode):
    """Leaves out what torch.nn.init draws.

    Without memory there is nothing to draw, and torch would load its compiler to find that out,
    which took 0.9 s of CPU.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return kwargs["tensor"]
        return func(*args, **kwargs)


def save_model(path: Path, model: Llama, identity: str) -> None:
    """Writes the weights, with the identity of their run."""
    weights = model.state_dict()
    del weights[_TIED]
    # safetensors takes neither views nor tensors that are elsewhere than on the CPU.
    weights = {name: tensor.contiguous().cpu() for name, tensor in weights.items()}
    # save_file() has a temporary file of its own, which a kill would leave, and hides the cause of
    # a failed write.
    path.write_bytes(save(weights, metadata={"identity": identity}))


def load_model(path: Path, model: Llama, identity: str) -> None:
    """Reads the weights into `model`; UserError if they are damaged or those of another run."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, FileNotFoundError) as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it and run again") from None
    if metadata.get("identity") != identity:
        raise UserError(
            f"{path}: belongs to a run with other settings or other data; delete it and run again"
        )
    missing = {name for name, _ in model.named_parameters()} - weights.keys()
    if missing:
        raise UserError(f"{path}: lacks {min(missing)}; delete it and run again")
    # Assigning takes the tensors as they are, also into an empty model, which has none to copy to.
    # It gives the embedding a new tensor, so the output head has to be tied to it again.
    model.load_state_dict(weights, strict=False, assign=True)
    model.tie_weights()
