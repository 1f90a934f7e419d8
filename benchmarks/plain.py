"""The other side of the benchmarks: the protocol as one would first write it down.

It follows docs/protocol.md alone: eager, AdamW unfused, rows of T tokens fed as T - 1 -> T - 1,
fp32 logits, int64 batches copied from unpinned memory; evaluation with the logits of a whole chunk
at once. The model is the same mathematics as rope_spectra.model.llama and shares no code with it.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Norm(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.float().chunk(2, dim=-1)
    return (x.float() * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)


class Layer(nn.Module):
    def __init__(self, hidden: int, heads: int, head_dim: int, ffn: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.norm1, self.norm2 = Norm(hidden), Norm(hidden)
        self.qkv = nn.Linear(hidden, 3 * heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, hidden, bias=False)
        self.gate = nn.Linear(hidden, ffn, bias=False)
        self.up = nn.Linear(hidden, ffn, bias=False)
        self.down = nn.Linear(ffn, hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape
        parts = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        q, k, v = (
            part.view(batch, length, self.heads, self.head_dim).transpose(1, 2) for part in parts
        )
        attended = F.scaled_dot_product_attention(
            rotated(q, cos, sin), rotated(k, cos, sin), v, is_causal=True
        )
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, -1))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class PlainModel(nn.Module):
    def __init__(
        self,
        hidden: int,
        layers: int,
        heads: int,
        head_dim: int,
        ffn: int,
        vocab: int,
        inv_freq: Tensor,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, hidden)
        self.layers = nn.ModuleList(Layer(hidden, heads, head_dim, ffn) for _ in range(layers))
        self.norm = Norm(hidden)
        self.head = nn.Linear(hidden, vocab, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("inv_freq", inv_freq)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        angles = torch.outer(torch.arange(ids.shape[1], device=ids.device).float(), self.inv_freq)
        cos, sin = torch.cat((angles, angles), -1).cos(), torch.cat((angles, angles), -1).sin()
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.head(self.norm(x))


def loss_of(model: PlainModel, rows: Tensor) -> Tensor:
    logits = model(rows[:, :-1])
    return F.cross_entropy(logits.float().reshape(-1, logits.shape[-1]), rows[:, 1:].reshape(-1))


def train(
    model: PlainModel, rows: np.ndarray, batch: int, accumulate: int, bf16: bool, steps: int
) -> float:
    """`steps` steps on int64 rows [n, T] in their order; returns the last loss."""
    device = model.inv_freq.device
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1, foreach=False, fused=False
    )
    warmup = max(1, int(0.02 * steps))
    for step in range(steps):
        if step < warmup:
            rate = step / warmup
        else:
            rate = 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
        for group in optimizer.param_groups:
            group["lr"] = 6e-4 * rate
        chosen = torch.from_numpy(rows[step * batch : (step + 1) * batch])
        for part in chosen.chunk(accumulate):
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                loss = loss_of(model, part.to(device)) / accumulate
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return loss.item() * accumulate


@torch.no_grad()
def perplexity(
    model: PlainModel, tokens: np.ndarray, length: int, chunks: int, bf16: bool
) -> float:
    """exp(mean over the first chunks of the mean chunk loss)."""
    ids = (
        torch.from_numpy(tokens[: length * chunks].astype(np.int64))
        .view(chunks, length)
        .to(model.inv_freq.device)
    )
    with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=bf16):
        return math.exp(sum(loss_of(model, chunk[None]).item() for chunk in ids) / chunks)
