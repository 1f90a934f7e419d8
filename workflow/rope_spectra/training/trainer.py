"""The training loop of docs/protocol.md section 5.

AdamW, warmup and cosine; every batch and rate is a function of the step alone.
"""

import contextlib
import ctypes
import gc
import math
import os
import shutil
import sys
import time
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rope_spectra.config.sections import TrainingRecipe
from rope_spectra.data.cache import Tokens
from rope_spectra.model.linear import multiply_in_bf16
from rope_spectra.model.llama import Llama, autocast
from rope_spectra.runtime.errors import UserError
from rope_spectra.training import batches
from rope_spectra.training.checkpoint import State
from rope_spectra.training.optimizer import AdamW
from rope_spectra.training.ranks import World
from rope_spectra.training.run import LogRow

# Some ten minutes of fp32 on a core; compiled steps take 0.8 to 0.94 of the eager ones' time.
_CPU_FLOP_TO_COMPILE = 5e13
# Logits of one micro-batch on a CPU, where running out of memory kills the process instead of
# raising an error, so that trying what fits is no way.
_CPU_LOGITS_BYTES = 2**28
# Nats per token from which no float holds the perplexity. A model that knows nothing has 11, and
# none comes back from here.
_DIVERGED = math.log(sys.float_info.max)
# Parameters of mallopt, by their numbers in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def is_worth_compiling(flop: float, device: torch.device) -> bool:
    """True if a run of that size gains more by compiled steps than compiling them costs.

    On a CPU it costs 20 s and more, and needs a C++ compiler.
    """
    if device.type == "cuda":
        return True
    has_compiler = shutil.which(os.environ.get("CXX", "g++")) is not None
    return flop > _CPU_FLOP_TO_COMPILE and has_compiler


def keep_freed_memory() -> None:
    """Has glibc keep what a training step frees for the next one; other C libraries stay as is.

    By default it gives large blocks back to the kernel, and the page faults of asking for them
    again were a sixth to a third of a step's CPU time (models of 2 x 64 and 4 x 128).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


class Objective(nn.Module):
    """The loss of a model on rows of ids [B, T]: the module that is compiled and wrapped by DDP."""

    def __init__(self, model: Llama, precision: str) -> None:
        super().__init__()
        self.model = model
        self.precision = precision

    def forward(self, ids_BT: Tensor) -> Tensor:
        with autocast(ids_BT.device, self.precision):
            return self.model.loss(ids_BT, batches.next_token_targets(ids_BT))


class Trainer:
    """Trains a model, one optimizer step a batch.

    >>> for step, row in Trainer(model, recipe, device).run(tokens, seed, log_every=10): ...
    """

    def __init__(
        self, model: Llama, recipe: TrainingRecipe, device: torch.device, world: World | None = None
    ) -> None:
        self.model = model.to(device)
        self.recipe = recipe
        self.device = device
        self.world = world or World()
        self.compiled = recipe.compile is True or (
            recipe.compile == "auto" and device.type == "cuda"
        )
        if self.compiled and recipe.deterministic:
            # Sets the compiler's own flag too, which make_deterministic does not, for its cost.
            torch.use_deterministic_algorithms(True)
        if recipe.precision == "bf16_products":
            multiply_in_bf16(model)
        self.objective: nn.Module = Objective(self.model, recipe.precision)
        if self.compiled:
            # One graph serves every spectrum and seed, because the frequencies are a buffer.
            self.objective = cast(nn.Module, torch.compile(self.objective, dynamic=False))
        self.optimizer = AdamW(
            model.parameters(),
            lr=0.0,  # set anew for every step
            betas=(recipe.betas[0], recipe.betas[1]),
            eps=1e-8,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        # Tried out before DDP is around it: not all ranks need try the same sizes.
        self.micro_batch_size = self._micro_batch_size()
        if self.world.size > 1:
            self.objective = DistributedDataParallel(self.objective, gradient_as_bucket_view=True)

    def _micro_batch_size(self) -> int:
        """Rows per forward pass: as the recipe says, or the largest divisor that fits in memory."""
        rows = self.recipe.batch_size // self.world.size
        if self.recipe.micro_batch_size != "auto":
            return min(self.recipe.micro_batch_size, rows)
        fits = self._fits_gpu if self.device.type == "cuda" else self._fits_cpu
        size = rows
        while size > 1 and (rows % size or not fits(size)):
            size -= 1
        return self.world.all_reduce_min(size, self.device)

    def _fits_cpu(self, size: int) -> bool:
        logits = size * self.recipe.seq_len * self.model.config.vocab_size
        return logits * torch.float32.itemsize <= _CPU_LOGITS_BYTES

    def _fits_gpu(self, size: int) -> bool:
        ids = torch.zeros(size, self.recipe.seq_len, dtype=torch.long, device=self.device)
        try:
            self.objective(ids).backward()
        except torch.OutOfMemoryError:
            return False
        finally:
            self.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
        return True

    def step(self, batch: Tensor, lr: float) -> Tensor:
        """One optimizer step on this rank's rows of a batch.

        Returns their mean loss, still on the device: reading it here would make the CPU wait for
        the GPU at every step.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        micro_batches = batches.to_ids(batch, self.device).split(self.micro_batch_size)
        losses = []
        for index, ids in enumerate(micro_batches):
            # Weighted by its rows, so that the gradient is that of the whole batch.
            share = len(ids) / len(batch)
            losses.append(self._backward(ids, share, index == len(micro_batches) - 1))
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return torch.stack(losses).sum()

    def _backward(self, ids: Tensor, share: float, is_last: bool) -> Tensor:
        """Adds the gradient of a micro-batch to that of its batch; returns its part of the loss."""
        with contextlib.ExitStack() as stack:
            if isinstance(self.objective, DistributedDataParallel) and not is_last:
                # The ranks exchange their gradients once a step, with the last micro-batch.
                stack.enter_context(self.objective.no_sync())
            loss = self.objective(ids) * share
            loss.backward()
        return loss.detach()

    def run(
        self,
        tokens: Tokens,
        seed: int,
        log_every: int,
        start: int = 0,
        change: batches.RowChange | None = None,
    ) -> Iterator[tuple[int, LogRow | None]]:
        """Trains from step `start` to the end, one optimizer step a batch.

        Yields after each step its number and, where one is due, its line of train.csv: at every
        `log_every`-th step and at the last one. `change` puts something else into some of the rows.
        Raises UserError for a loss that is not finite or beyond all measure.
        """
        recipe = self.recipe
        rows = recipe.rows(len(tokens))
        steps = recipe.steps(len(tokens))
        table = tokens[: rows * recipe.seq_len].reshape(rows, recipe.seq_len)
        share = self.world.share(recipe.batch_size)
        # The losses since the last line stay on the device, unread, until the next one is due.
        pending: list[Tensor] = []
        began = time.perf_counter()
        upcoming = batches.batches(table, recipe.batch_size, seed, start, share, change)
        for step, batch in enumerate(upcoming, start):
            lr = batches.learning_rate(step, steps, recipe.learning_rate, recipe.warmup_fraction)
            pending.append(self.step(batch, lr))
            if step == start:
                # What is alive now lives to the end; the garbage collector need not walk it again.
                gc.freeze()
            row = None
            if step % log_every == 0 or step == steps - 1:
                row = self._log_row(step, pending, lr, began)
                pending = []
                began = time.perf_counter()
            yield step, row

    def _log_row(self, step: int, pending: list[Tensor], lr: float, began: float) -> LogRow:
        losses = self.world.all_reduce_mean(torch.stack(pending)).tolist()
        _refuse_divergence(losses, step)
        tokens_per_step = self.recipe.batch_size * self.recipe.seq_len
        seconds = time.perf_counter() - began
        return LogRow(
            step=step,
            loss=losses[-1],
            lr=lr,
            tokens=(step + 1) * tokens_per_step,
            tokens_per_s=len(losses) * tokens_per_step / seconds,
        )

    def state(self) -> State:
        """Weights and optimizer: all that a training needs to resume to the same bits.

        Batches and rates follow from the step.
        """
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: State) -> None:
        """Resumes from the state of another Trainer of the same run."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def _refuse_divergence(losses: list[float], last_step: int) -> None:
    """UserError for the first loss of a run that diverged; the losses are those up to last_step."""
    first_step = last_step - len(losses) + 1
    for step, loss in enumerate(losses, first_step):
        if not loss < _DIVERGED:
            raise UserError(
                f"training diverged: the loss is {loss:.6g} at step {step};"
                " lower learning_rate or raise warmup_fraction"
            )
