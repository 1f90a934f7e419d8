"""The device of a run, with the arithmetic that its recipe asks for."""

import torch

from rope_spectra.artifacts import provenance
from rope_spectra.config.frozen import RunSettings
from rope_spectra.model import attention
from rope_spectra.runtime import devices, heartbeat
from rope_spectra.runtime.determinism import make_deterministic
from rope_spectra.runtime.errors import UserError


def prepare(
    settings: RunSettings, threads: int | None, runs_per_gpu: int = 1
) -> tuple[torch.device, str]:
    """The device of this process, held until its end, and the name of its attention kernel.

    threads: CPU threads, None or 0 for torch's own choice. runs_per_gpu: runs that may be on one
    GPU at once.
    """
    recipe = settings.training
    if threads and threads < 0:
        raise UserError(f"--threads: {threads} is no number of threads; give at least 1")
    if threads:
        torch.set_num_threads(threads)
    if recipe.deterministic:
        make_deterministic()
    device = devices.take(recipe.device, runs_per_gpu)
    heartbeat.set_device(provenance.device_name(device))
    kernel = attention.select_kernel(
        device, recipe.precision, settings.model.head_dim, recipe.seq_len, recipe.deterministic
    )
    return device, kernel
