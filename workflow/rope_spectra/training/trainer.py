"""The training loop of protocol.md section 5: AdamW, warmup and cosine, every batch and rate a function of the step alone."""

import contextlib
import ctypes
import gc
import math
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rope_spectra.model.llama import Llama, autocast
from rope_spectra.runtime.errors import UserError
from rope_spectra.training.batches import (
    RowChange,
    Tokens,
    batches,
    learning_rate,
    next_token_targets,
    to_ids,
)
from rope_spectra.training.ranks import World

# Some ten minutes of fp32 on a core; compiled steps take 0.91 to 0.94 of the eager ones' time.
_CPU_FLOP_TO_COMPILE = 5e13
# Logits of one micro-batch on a CPU, where running out of memory kills the process instead of raising an error.
_CPU_LOGITS_BYTES = 2**28
# malloc.h of glibc
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


@dataclass(frozen=True)
class TrainingConfig:
    """A training preset of the config (design.md section 4); `tokens` None means every whole row of the dataset."""

    tokens: int | None
    seq_len: int
    batch_size: int
    micro_batch_size: int | str
    learning_rate: float
    warmup_fraction: float
    weight_decay: float
    betas: tuple[float, float]
    grad_clip: float
    precision: str
    deterministic: bool
    compile: bool | str
    device: str = "auto"
    retrieval_share: float = 0.0

    def rows(self, available_tokens: int) -> int:
        """int rows of seq_len tokens that a run trains on."""
        tokens = available_tokens if self.tokens is None else min(self.tokens, available_tokens)
        return tokens // self.seq_len

    def steps(self, available_tokens: int) -> int:
        """Optimizer steps of a run: whole batches."""
        return self.rows(available_tokens) // self.batch_size


@dataclass(frozen=True)
class LogRow:
    """One line of train.csv: the loss in nats of this step, its learning rate, the tokens seen up to and including it."""

    step: int
    loss: float
    lr: float
    tokens: int
    tokens_per_s: float


def is_worth_compiling(flop: float, device: torch.device) -> bool:
    """Whether a run of that size gains more than compiling costs: 20 s and more on a CPU, where it needs a C++ compiler."""
    if device.type == "cuda":
        return True
    return flop > _CPU_FLOP_TO_COMPILE and shutil.which(os.environ.get("CXX", "g++")) is not None


def make_deterministic() -> None:
    """Equal bits for equal seeds on one machine and build; raises where torch has no deterministic kernel."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # As torch.use_deterministic_algorithms(True), which takes 2 s more: it loads the compiler, also where nothing is compiled.
    torch.set_deterministic_debug_mode("error")
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False


def keep_freed_memory() -> None:
    """Have glibc keep what a training step frees for the next one; other C libraries are left as they are.

    It gives large blocks back to the kernel: page faults were a sixth to a third of a step's CPU time (2 x 64, 4 x 128 models).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


class Objective(nn.Module):
    """The loss of a model on rows of ids [B, T], as one module: what is compiled and what DDP wraps."""

    def __init__(self, model: Llama, precision: str) -> None:
        super().__init__()
        self.model, self.precision = model, precision

    def forward(self, ids_BT: Tensor) -> Tensor:
        with autocast(ids_BT.device, self.precision):
            return self.model.loss(ids_BT, next_token_targets(ids_BT))


class Trainer:
    """A model on its way through its batches.

    >>> for step, row in Trainer(model, config, device).run(tokens, seed, log_every=10): ...
    """

    def __init__(
        self, model: Llama, config: TrainingConfig, device: torch.device, world: World | None = None
    ) -> None:
        self.model, self.config, self.device, self.world = (
            model.to(device),
            config,
            device,
            world or World(),
        )
        self.compiled = config.compile is True or (
            config.compile == "auto" and device.type == "cuda"
        )
        if self.compiled and config.deterministic:
            torch.use_deterministic_algorithms(True)
        # One graph serves every spectrum and seed: the frequencies are a buffer.
        objective = Objective(self.model, config.precision)
        self.objective = torch.compile(objective, dynamic=False) if self.compiled else objective
        self.optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=0.0,
            betas=config.betas,
            eps=1e-8,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.micro_batch_size = self._micro_batch_size()
        if self.world.size > 1:
            self.objective = nn.parallel.DistributedDataParallel(
                self.objective, gradient_as_bucket_view=True
            )

    def _micro_batch_size(self) -> int:
        rows = self.config.batch_size // self.world.size
        if self.config.micro_batch_size != "auto":
            return min(int(self.config.micro_batch_size), rows)
        sizes = [size for size in range(rows, 0, -1) if rows % size == 0]
        fits = self._fits_gpu if self.device.type == "cuda" else self._fits_cpu
        return self.world.smallest(next((size for size in sizes if fits(size)), 1), self.device)

    def _fits_cpu(self, size: int) -> bool:
        return size * self.config.seq_len * self.model.config.vocab_size * 4 <= _CPU_LOGITS_BYTES

    def _fits_gpu(self, size: int) -> bool:
        try:
            self.objective(
                torch.zeros(size, self.config.seq_len, dtype=torch.long, device=self.device)
            ).backward()
        except torch.OutOfMemoryError:
            return False
        finally:
            self.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
        return True

    def _backward(self, ids: Tensor, share: float, last: bool) -> Tensor:
        """Add the gradient of a micro-batch; the ranks exchange theirs with the last one of a step."""
        exchange = self.world.size == 1 or last
        with contextlib.nullcontext() if exchange else self.objective.no_sync():
            loss = self.objective(ids) * share
            loss.backward()
        return loss.detach()

    def step(self, batch: Tensor, lr: float) -> Tensor:
        """One optimizer step on this rank's rows of a batch; returns their mean loss, still on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        micro_batches = to_ids(batch, self.device).split(self.micro_batch_size)
        shares = [len(ids) / len(batch) for ids in micro_batches]
        lasts = [*[False] * (len(micro_batches) - 1), True]
        loss = torch.stack(
            [self._backward(*part) for part in zip(micro_batches, shares, lasts, strict=True)]
        ).sum()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss

    def run(
        self,
        tokens: Tokens,
        seed: int,
        log_every: int,
        start: int = 0,
        change: RowChange | None = None,
    ) -> Iterator[tuple[int, LogRow | None]]:
        """Train from step `start` to the end, yielding after each step its number and, where one is due, its line of train.csv.

        Lines are due at every `log_every`-th step and at the last one; until then losses stay on the device, unread. `change`
        puts something else into some of the rows.
        Raises UserError for a loss that is not finite.
        """
        config, steps, rows = (
            self.config,
            self.config.steps(len(tokens)),
            self.config.rows(len(tokens)),
        )
        table = tokens[: rows * config.seq_len].reshape(rows, config.seq_len)
        share = self.world.share(config.batch_size)
        pending: list[Tensor] = []
        began = time.perf_counter()
        for step, batch in enumerate(
            batches(table, config.batch_size, seed, start, share, change), start
        ):
            lr = learning_rate(step, steps, config.learning_rate, config.warmup_fraction)
            pending.append(self.step(batch, lr))
            if step == start:
                gc.freeze()  # what is alive now lives to the end; the collector need not walk it again
            row = None
            if step % log_every == 0 or step == steps - 1:
                row = self._log_row(step, pending, lr, began)
                pending, began = [], time.perf_counter()
            yield step, row

    def _log_row(self, step: int, pending: list[Tensor], lr: float, began: float) -> LogRow:
        losses = self.world.mean(torch.stack(pending)).tolist()
        _refuse_divergence(losses, step)
        per_step = self.config.batch_size * self.config.seq_len
        return LogRow(
            step,
            losses[-1],
            lr,
            (step + 1) * per_step,
            len(losses) * per_step / (time.perf_counter() - began),
        )

    def state(self) -> dict[str, Any]:
        """What a training needs to go on, bit for bit: weights and optimizer. Batches and rates follow from the step."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the state that another Trainer of the same run has left."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def _refuse_divergence(losses: list[float], last_step: int) -> None:
    for step, loss in enumerate(losses, start=last_step - len(losses) + 1):
        if not math.isfinite(loss):
            raise UserError(
                f"training diverged: the loss is {loss} at step {step}; lower learning_rate or raise warmup_fraction"
            )
