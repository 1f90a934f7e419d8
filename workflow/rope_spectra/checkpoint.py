"""The model of a run: built from its frozen settings, saved as a safetensors file that knows its run, loaded again."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from rope_spectra import spectra
from rope_spectra.errors import UserError
from rope_spectra.files import atomic
from rope_spectra.model import Llama, ModelConfig

# Tied to embed_tokens.weight: stored once.
_TIED = "lm_head.weight"


def build_model(settings: dict[str, Any]) -> Llama:
    """The model of a run's frozen settings; its weights come from torch's random stream."""
    config = ModelConfig(**settings["model"])
    return Llama(config, torch.from_numpy(spectra.inv_freq(settings["spectrum"], config.head_dim)))


def save_model(path: Path, model: Llama, identity: str) -> None:
    """Publish the weights atomically, the run's identity in the file's metadata."""
    weights = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items() if name != _TIED}
    with atomic(path) as temporary:
        save_file(weights, temporary, metadata={"identity": identity})


def load_model(path: Path, model: Llama, identity: str) -> None:
    """Load the weights into `model`; a damaged file or one of another run is a UserError."""
    try:
        with safe_open(path, framework="pt") as file:
            found = (file.metadata() or {}).get("identity")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, FileNotFoundError) as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it and run again") from None
    if found != identity:
        raise UserError(f"{path}: belongs to a run with other settings or other data; delete it and run again")
    model.load_state_dict(weights, strict=False)
    if missing := {name for name, _ in model.named_parameters()} - weights.keys():
        raise UserError(f"{path}: lacks {sorted(missing)[0]}; delete it and run again")
