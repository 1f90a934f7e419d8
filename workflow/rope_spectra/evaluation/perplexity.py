"""The loss of a model on a text at a given length (docs/protocol.md section 6). Pure.

NLL is in nats. A token array is uint16 [N]; sums over tokens are taken in float64. Shapes: B rows,
T tokens.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rope_spectra.data.cache import Tokens
from rope_spectra.model.llama import Llama

# Rows of logits alive at once: 1024 x 50304 in fp32 are 0.2 GB, where 16384 would be 3.3 GB.
# Products of that size already run at full speed.
HEAD_ROWS = 1024
# Tokens that go through the trunk at once where a call has many short texts.
TRUNK_TOKENS = 2**14


@dataclass(frozen=True)
class Mean:
    """The mean `nll` of so many target tokens in so many chunks of text."""

    nll: float
    tokens: int
    chunks: int


@dataclass(frozen=True)
class BlockTable:
    """Score of all blocks, by position bin.

    nll [blocks, bins] is summed over the tokens of a bin; tokens [bins] counts them in one block.
    """

    nll: NDArray[np.float64]
    tokens: NDArray[np.int64]
    pieces: int


@torch.inference_mode()
def token_nll(
    model: Llama, ids_BT: Tensor, targets_BT: Tensor, head_rows: int = HEAD_ROWS
) -> Tensor:
    """NLL of each target [B, T] in fp32.

    The trunk runs once over all of it, the output head and the loss `head_rows` positions at a
    time: the logits of a long text would take more memory than everything else.
    """
    hidden = model.hidden(ids_BT).flatten(0, 1)
    targets = targets_BT.flatten()
    nll = []
    for rows, wanted in zip(hidden.split(head_rows), targets.split(head_rows), strict=True):
        logits = model.lm_head(rows).float()
        nll.append(F.cross_entropy(logits, wanted, reduction="none"))
    return torch.cat(nll).view_as(targets_BT)


def first_chunks(model: Llama, tokens: Tokens, length: int, chunks: int) -> Mean:
    """The evaluation of the study: the first chunks of the text, fewer if it ends before.

    Chunk i is tokens[i*L : (i+1)*L], fed as chunk[:-1] -> chunk[1:]. The mean is over the chunks'
    own means.
    """
    count = min(chunks, len(tokens) // length)
    means = []
    for start in range(0, count * length, length):
        chunk = _ids(tokens[start : start + length], model)
        nll = token_nll(model, chunk[None, :-1], chunk[None, 1:])
        means.append(nll.double().mean().item())
    return Mean(nll=float(np.mean(means)), tokens=count * (length - 1), chunks=count)


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
    """First target of each block of `longest` targets.

    Every target has a token before it, so the first token of all is never one.
    """
    return range(1, 1 + (n_tokens - 1) // longest * longest, longest)


def bin_edges(length: int, train_length: int) -> NDArray[np.int64]:
    """Edges of the position bins: bin j holds positions edges[j] <= p < edges[j+1].

    They are the powers of two and the training length, where the curve of the loss may have a kink.
    """
    inner = {2**power for power in range(length.bit_length()) if 2**power < length}
    if train_length < length:
        inner.add(train_length)
    return np.array([0, *sorted(inner), length], dtype=np.int64)


def full(model: Llama, tokens: Tokens, length: int, longest: int, train_length: int) -> BlockTable:
    """Every block of `longest` target tokens, in pieces of `length`.

    All lengths score the same targets. Each piece predicts its first token from the token before
    it, so position p has p + 1 tokens of context. Where `length` does not divide `longest`, the
    last piece of a block is shorter.
    """
    edges = bin_edges(length, train_length)
    whole, rest = divmod(longest, length)
    table = []
    for start in block_starts(len(tokens), longest):
        # One token more than there are targets: the first target needs the token before it.
        block = _ids(tokens[start - 1 : start + longest], model)
        nll = np.zeros(len(edges) - 1)
        nll += _binned(_pieces(model, block, 0, whole, length), edges)
        if rest:
            nll += _binned(_pieces(model, block, longest - rest, 1, rest), edges)
        table.append(nll)
    positions = np.arange(longest) % length
    return BlockTable(
        nll=np.stack(table),
        tokens=np.histogram(positions, edges)[0].astype(np.int64),
        pieces=len(table) * (whole + (1 if rest else 0)),
    )


def _pieces(
    model: Llama, block: Tensor, first: int, count: int, length: int
) -> NDArray[np.float64]:
    """NLL [count, length] of consecutive pieces, the first target being `first` of the block."""
    end = first + count * length
    ids = block[first:end].view(count, length)
    targets = block[first + 1 : end + 1].view(count, length)
    return token_nll(model, ids, targets).double().cpu().numpy()


def _binned(nll: NDArray[np.float64], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """NLL of pieces [count, length] summed by position bin [bins]; short pieces fill fewer bins."""
    by_position = np.zeros(edges[-1])
    by_position[: nll.shape[1]] = nll.sum(axis=0)
    return np.add.reduceat(by_position, edges[:-1])


def _ids(tokens: Tokens, model: Llama) -> Tensor:
    """The tokens as int64 on the device of the model."""
    return torch.from_numpy(tokens.astype(np.int64)).to(model.inv_freq.device)
