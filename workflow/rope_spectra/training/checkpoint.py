"""What a run leaves on disk: the trained model as a safetensors file that knows its run, and, while it trains, its state.

The state (weights, optimizer, lines logged so far) lies beside the declared outputs, because Snakemake deletes the outputs of a
failed job. It ends with the SHA-256 of what comes before, so that a damaged one is never taken up.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from rope_spectra import spectra
from rope_spectra.artifacts.files import atomic
from rope_spectra.model.llama import Llama, ModelConfig
from rope_spectra.runtime.errors import UserError

# Tied to embed_tokens.weight: stored once.
_TIED = "lm_head.weight"
_DIGEST_BYTES = 32


class UnusableState(Exception):
    """A training state that this run cannot go on from; its text says why."""


def build_model(settings: dict[str, Any], empty: bool = False) -> Llama:
    """The model of a run's frozen settings; its weights come from torch's random stream, or later from load_model if `empty`."""
    config = ModelConfig(**settings["model"])
    inv_freq = torch.from_numpy(spectra.inv_freq(settings["spectrum"], config.head_dim))
    with torch.device("meta" if empty else "cpu"):
        return Llama(config, inv_freq)


def save_model(path: Path, model: Llama, identity: str) -> None:
    """Publish the weights atomically, the run's identity in the file's metadata."""
    weights = {
        name: tensor.contiguous().cpu()
        for name, tensor in model.state_dict().items()
        if name != _TIED
    }
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
        raise UserError(
            f"{path}: belongs to a run with other settings or other data; delete it and run again"
        )
    if missing := {name for name, _ in model.named_parameters()} - weights.keys():
        raise UserError(f"{path}: lacks {sorted(missing)[0]}; delete it and run again")
    model.load_state_dict(weights, strict=False, assign=True)
    model.tie()


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Publish a training state atomically: nested dicts and lists of tensors, numbers and text."""
    with atomic(path) as temporary:
        torch.save(state, temporary)
        with temporary.open("rb+") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            file.seek(0, 2)
            file.write(digest)


def load_state(path: Path, identity: str) -> dict[str, Any]:
    """The state of the run with this identity, tensors on the CPU; UnusableState if it is damaged or another run's."""
    _verify(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["identity"] != identity:
        raise UnusableState("it belongs to other settings or other data")
    return state


def _verify(path: Path) -> None:
    digest, left = hashlib.sha256(), path.stat().st_size - _DIGEST_BYTES
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, 1 << 24))):
            digest.update(block)
            left -= len(block)
        if left or file.read() != digest.digest():
            raise UnusableState("it is damaged")
