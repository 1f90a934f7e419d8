"""How surprised a model is by a text at a given length (protocol.md section 6, evaluation.md section 1).

NLL is in nats. A token array is uint16 [N]; sums over tokens are taken in float64.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rope_spectra.model.llama import Llama

Tokens = NDArray[np.uint16]

# Rows of logits alive at once: 1024 x 50304 in fp32 are 0.2 GB, where 16384 would be 3.3 GB. Such products are at full speed.
HEAD_ROWS = 1024
TRUNK_TOKENS = 2**14  # of short rows so many at once, as of a long one


@dataclass(frozen=True)
class FirstChunks:
    """Score of the first consecutive chunks: `nll` is the mean over chunks of the mean loss of a chunk."""

    nll: float
    tokens: int
    chunks: int


@dataclass(frozen=True)
class BlockTable:
    """Score of all blocks: `nll` [blocks, bins] summed over the tokens of a position bin, `tokens` [bins] in each block."""

    nll: NDArray[np.float64]
    tokens: NDArray[np.int64]
    pieces: int


@torch.inference_mode()
def token_nll(
    model: Llama, ids_BT: Tensor, targets_BT: Tensor, head_rows: int = HEAD_ROWS
) -> Tensor:
    """NLL of each target [B, T] in fp32; the trunk runs once, output head and loss in chunks of `head_rows` positions."""
    hidden = model.hidden(ids_BT).flatten(0, 1)
    pieces = zip(hidden.split(head_rows), targets_BT.flatten().split(head_rows), strict=True)
    nll = [
        F.cross_entropy(model.lm_head(rows).float(), targets, reduction="none")
        for rows, targets in pieces
    ]
    return torch.cat(nll).view_as(targets_BT)


def first_chunks(model: Llama, tokens: Tokens, length: int, chunks: int) -> FirstChunks:
    """The study's evaluation: chunk i is tokens[i*L : (i+1)*L], fed as chunk[:-1] -> chunk[1:]; fewer if the text ends."""
    count = min(chunks, len(tokens) // length)
    means = []
    for start in range(0, count * length, length):
        chunk = _ids(tokens[start : start + length], model)
        means.append(token_nll(model, chunk[None, :-1], chunk[None, 1:]).double().mean().item())
    return FirstChunks(nll=float(np.mean(means)), tokens=count * (length - 1), chunks=count)


@torch.inference_mode()
def candidate_nll(model: Llama, ids: Tokens, candidates: NDArray[np.int64]) -> NDArray[np.float32]:
    """NLL of each of the candidates [trials, n] as the token that follows ids [trials, T]."""
    rows = max(1, TRUNK_TOKENS // ids.shape[1])
    scores = []
    for start in range(0, len(ids), rows):
        hidden = model.hidden(_ids(ids[start : start + rows], model))[:, -1]
        chosen = torch.from_numpy(candidates[start : start + rows]).to(hidden.device)
        scores.append(-model.lm_head(hidden).float().log_softmax(-1).gather(1, chosen))
    return torch.cat(scores).cpu().numpy()


def block_starts(n_tokens: int, longest: int) -> range:
    """First target of each block; every target has a token before it, so the first token of all is never one."""
    return range(1, 1 + (n_tokens - 1) // longest * longest, longest)


def bin_edges(length: int, train_length: int) -> NDArray[np.int64]:
    """Edges of the position bins: bin j holds positions edges[j] <= p < edges[j+1]; powers of two and the training length."""
    powers = [2**power for power in range(length.bit_length()) if 2**power < length]
    inner = {*powers, *([train_length] if train_length < length else [])}
    return np.array([0, *sorted(inner), length], dtype=np.int64)


def full(model: Llama, tokens: Tokens, length: int, longest: int, train_length: int) -> BlockTable:
    """Every block of `longest` target tokens, cut into pieces of `length`: all lengths score the same targets.

    Each piece predicts its first token from the token before it, so position p has p + 1 tokens of context. Where `length`
    does not divide `longest`, the last piece of a block is shorter.
    """
    edges = bin_edges(length, train_length)
    whole, rest = divmod(longest, length)
    tables = []
    for start in block_starts(len(tokens), longest):
        block = _ids(tokens[start - 1 : start + longest], model)
        pieces = [_pieces(model, block, 0, whole, length)] + (
            [_pieces(model, block, longest - rest, 1, rest)] if rest else []
        )
        tables.append(sum(_binned(nll, edges) for nll in pieces))
    positions = np.concatenate([np.arange(longest - rest) % length, np.arange(rest)])
    counts = np.histogram(positions, edges)[0]
    return BlockTable(
        nll=np.stack(tables),
        tokens=counts.astype(np.int64),
        pieces=len(tables) * (whole + bool(rest)),
    )


def _pieces(
    model: Llama, block: Tensor, first: int, count: int, length: int
) -> NDArray[np.float64]:
    """NLL [count, length] of `count` consecutive pieces whose first target is target `first` of the block."""
    ids = block[first : first + count * length].view(count, length)
    targets = block[first + 1 : first + 1 + count * length].view(count, length)
    return token_nll(model, ids, targets).double().cpu().numpy()


def _binned(nll: NDArray[np.float64], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    by_position = np.zeros(edges[-1])
    by_position[: nll.shape[1]] = nll.sum(axis=0)
    return np.add.reduceat(by_position, edges[:-1])


def _ids(tokens: Tokens, model: Llama) -> Tensor:
    return torch.from_numpy(tokens.astype(np.int64)).to(model.inv_freq.device)
