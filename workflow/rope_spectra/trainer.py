"""The training loop of protocol.md section 5: AdamW, warmup and cosine, a batch order that depends on the seed alone."""

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rope_spectra.errors import UserError
from rope_spectra.model import IGNORED, Llama, autocast

# Logits of one micro-batch on a CPU, where running out of memory kills the process instead of raising an error.
_CPU_LOGITS_BYTES = 2**28


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

    def rows(self, available_tokens: int) -> int:
        """Whole rows of seq_len tokens that a run trains on."""
        tokens = available_tokens if self.tokens is None else min(self.tokens, available_tokens)
        return tokens // self.seq_len


@dataclass(frozen=True)
class LogRow:
    """One line of train.csv: the loss in nats of this step, its learning rate, the tokens seen up to and including it."""

    step: int
    loss: float
    lr: float
    tokens: int
    tokens_per_s: float


def learning_rate(step: int, steps: int, peak: float, warmup_fraction: float) -> float:
    """Linear warmup from 0 over int(warmup_fraction * steps) steps, then cosine to 0."""
    warmup = int(warmup_fraction * steps)
    if step < warmup:
        return peak * step / warmup
    return peak * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def row_order(seed: int, rows: int) -> NDArray[np.int64]:
    """The order in which a run sees its rows: a pure function of the seed, the same for every spectrum."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed)).numpy()


def batches(tokens: NDArray[np.uint16], config: TrainingConfig, seed: int) -> Iterator[Tensor]:
    """Batches [batch_size, seq_len] as int16 bits of uint16 tokens; step s gets rows order[s*B : (s+1)*B]."""
    rows = config.rows(len(tokens))
    table = tokens[: rows * config.seq_len].reshape(rows, config.seq_len)
    order = row_order(seed, rows)
    for step in range(rows // config.batch_size):
        chosen = order[step * config.batch_size : (step + 1) * config.batch_size]
        yield torch.from_numpy(table[chosen].view(np.int16))


def to_ids(batch: Tensor, device: torch.device) -> Tensor:
    """Token ids int64 on the device; uint16 travels, so that a quarter of the bytes cross the bus."""
    if device.type == "cuda":
        batch = batch.pin_memory()
    return batch.to(device, non_blocking=True).long() & 0xFFFF


def next_token_targets(ids: Tensor) -> Tensor:
    """Targets [B, T]: the token after each one, the last position ignored.

    Feeding all T positions gives the loss of the study's row[:-1] -> row[1:] with aligned shapes: attention is causal.
    """
    return torch.cat((ids[:, 1:], torch.full_like(ids[:, :1], IGNORED)), dim=1)


def make_deterministic() -> None:
    """Equal bits for equal seeds on one machine and build; raises where torch has no deterministic kernel."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # As torch.use_deterministic_algorithms(True), which takes 2 s more: it loads the compiler, also where nothing is compiled.
    torch.set_deterministic_debug_mode("error")
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False


class Trainer:
    """A model on its way through its batches.

    >>> for row in Trainer(model, config, device).run(tokens, seed, log_every=10): ...
    """

    def __init__(self, model: Llama, config: TrainingConfig, device: torch.device) -> None:
        self.model, self.config, self.device = model.to(device), config, device
        compiled = config.compile is True or (config.compile == "auto" and device.type == "cuda")
        if compiled and config.deterministic:
            torch.use_deterministic_algorithms(True)
        self.loss = torch.compile(model.loss, dynamic=False) if compiled else model.loss
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=0.0, betas=config.betas, eps=1e-8, weight_decay=config.weight_decay, fused=True
        )
        self.micro_batch_size = self._micro_batch_size()

    def _micro_batch_size(self) -> int:
        if self.config.micro_batch_size != "auto":
            return int(self.config.micro_batch_size)
        sizes = [size for size in range(self.config.batch_size, 0, -1) if self.config.batch_size % size == 0]
        fits = self._fits_gpu if self.device.type == "cuda" else self._fits_cpu
        return next((size for size in sizes if fits(size)), 1)

    def _fits_cpu(self, size: int) -> bool:
        return size * self.config.seq_len * self.model.config.vocab_size * 4 <= _CPU_LOGITS_BYTES

    def _fits_gpu(self, size: int) -> bool:
        try:
            self._backward(torch.zeros(size, self.config.seq_len, dtype=torch.long, device=self.device), 1.0)
        except torch.OutOfMemoryError:
            return False
        finally:
            self.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
        return True

    def _backward(self, ids: Tensor, share: float) -> Tensor:
        with autocast(self.device, self.config.precision):
            loss = self.loss(ids, next_token_targets(ids)) * share
        loss.backward()
        return loss.detach()

    def step(self, batch: Tensor, lr: float) -> Tensor:
        """One optimizer step on a batch [B, T]; returns its mean loss, still on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        micro_batches = to_ids(batch, self.device).split(self.micro_batch_size)
        loss = torch.stack([self._backward(ids, len(ids) / len(batch)) for ids in micro_batches]).sum()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss

    def run(self, tokens: NDArray[np.uint16], seed: int, log_every: int) -> Iterator[LogRow]:
        """Train to the end, yielding every `log_every`-th step and the last one; a loss that is not finite is a UserError."""
        config = self.config
        steps = config.rows(len(tokens)) // config.batch_size
        pending: list[Tensor] = []
        began = time.perf_counter()
        for step, batch in enumerate(batches(tokens, config, seed)):
            lr = learning_rate(step, steps, config.learning_rate, config.warmup_fraction)
            pending.append(self.step(batch, lr))
            if step % log_every == 0 or step == steps - 1:
                losses = torch.stack(pending).tolist()
                _refuse_divergence(losses, step)
                tokens_per_step, now = config.batch_size * config.seq_len, time.perf_counter()
                yield LogRow(step, losses[-1], lr, (step + 1) * tokens_per_step, len(losses) * tokens_per_step / (now - began))
                pending, began = [], now


def _refuse_divergence(losses: list[float], last_step: int) -> None:
    for step, loss in enumerate(losses, start=last_step - len(losses) + 1):
        if not math.isfinite(loss):
            raise UserError(f"training diverged: the loss is {loss} at step {step}; lower learning_rate or raise warmup_fraction")
