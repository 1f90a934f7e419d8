"""The rows that a training step sees, and its learning rate (docs/protocol.md sections 4 and 5).

Pure functions of the seed and the step. Nothing here has a state, so a training that resumes at a
step sees what an uninterrupted one would have seen.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rope_spectra.data.cache import Tokens
from rope_spectra.model.llama import IGNORE_INDEX

# Rows [n, seq_len] and their places [n] among all rows -> the rows to be read in their stead.
RowChange = Callable[[Tokens, NDArray[np.int64]], Tokens]


def learning_rate(step: int, steps: int, peak: float, warmup_fraction: float) -> float:
    """Linear warmup from 0 over int(warmup_fraction * steps) steps, then cosine to 0."""
    warmup = int(warmup_fraction * steps)
    if step < warmup:
        return peak * step / warmup
    return peak * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def row_order(seed: int, rows: int) -> NDArray[np.int64]:
    """The order in which a run sees its rows: by the seed alone, the same for every spectrum."""
    # A generator of its own: torch's global random stream belongs to the initial weights.
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed)).numpy()


def batches(
    table: Tokens,
    batch_size: int,
    seed: int,
    start: int,
    share: slice,
    change: RowChange | None = None,
) -> Iterator[Tensor]:
    """The batches of the steps from `start` on, as int16 bits of uint16 tokens.

    table: all rows of the run [rows, seq_len]. Step s has the rows order[s*B : (s+1)*B]; a rank
    takes its `share` of them.
    """
    order = row_order(seed, len(table))
    for step in range(start, len(table) // batch_size):
        chosen = order[step * batch_size : (step + 1) * batch_size][share]
        rows = table[chosen]
        if change:
            rows = change(rows, chosen)
        # torch can do next to nothing with uint16, so the bits travel as int16.
        yield torch.from_numpy(rows.view(np.int16))


def to_ids(batch: Tensor, device: torch.device) -> Tensor:
    """Token ids int64 on the device.

    They become int64 only there, so that a quarter of the bytes cross the bus; the mask undoes the
    sign of ids above 32767.
    """
    if device.type == "cuda":
        batch = batch.pin_memory()
    return batch.to(device, non_blocking=True).long() & 0xFFFF


def next_token_targets(ids: Tensor) -> Tensor:
    """Targets [B, T]: the token after each one, the last position ignored.

    Feeding all T positions gives the loss of the study's row[:-1] -> row[1:], because attention is
    causal, and keeps the length a round number, which kernels like better than T - 1.
    """
    return torch.cat((ids[:, 1:], torch.full_like(ids[:, :1], IGNORE_INDEX)), dim=1)
