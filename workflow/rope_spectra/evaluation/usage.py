"""The use that a trained model makes of rotary pairs and distant text (docs/protocol.md section 6).

A pair is *stilled* when its frequency is 0 in all layers: it then no longer says how far apart two
tokens are. Shapes: K rotary pairs, H heads, T tokens, D head_dim.
"""

import math
from functools import cache, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rope_spectra.config.sections import UsageSettings
from rope_spectra.data.cache import Tokens
from rope_spectra.evaluation import perplexity
from rope_spectra.model.llama import Attention, Llama, autocast
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.progress import Progress

Arrays = dict[str, NDArray[Any]]  # those of usage.npz, by name

# Attention scores alive at once, in fp32: 64 MB, also where all of them would take 8.6 GB.
SCORES = 2**24


def measure(
    model: Llama, tokens: Tokens, settings: UsageSettings, train_length: int, precision: str
) -> Arrays:
    """The arrays of usage.npz.

    `trained/<part>` [blocks] is the mean NLL of each block of text, in nats per token,
    `stilled/<part>` [K, blocks] that with one pair stilled, and `slower/<part>` [K, blocks] with
    that pair and all that are as slow or slower. The part in_length reads the blocks in pieces of
    the training length; `beyond`, which is left out where nothing is, has the positions from the
    training length on of the blocks as they are. `norm/q` and `norm/k` [layers, H, K] are root mean
    squares over the tokens; `attention/<length>` [layers, bins] is the attention by distance, and
    `.../edges` [bins + 1] its bins, as those of positions.
    """
    length = settings.length
    blocks = min(max(1, settings.tokens // length), (len(tokens) - 1) // length)
    text = tokens[: 1 + blocks * length]
    omega = model.inv_freq.cpu().numpy()
    spectra = {"stilled": [still(omega, [pair]) for pair in range(len(omega))]}
    spectra["slower"] = [still(omega, omega <= each) for each in omega]
    progress = Progress("use of the pairs", 2 * len(omega), "spectra")

    @cache
    def losses(spectrum: bytes) -> dict[str, NDArray[np.float64]]:
        with model.rotated_by(torch.frombuffer(bytearray(spectrum), dtype=torch.float32), 1.0):
            return block_losses(model, text, length, train_length)

    arrays: Arrays = {}
    with autocast(model.inv_freq.device, precision):
        for part, nll in losses(omega.tobytes()).items():
            arrays[f"trained/{part}"] = nll
        for row, (name, changed) in enumerate(spectra.items()):
            table = []
            for pair, spectrum in enumerate(changed, start=1):
                table.append(losses(spectrum.tobytes()))
                progress.update(row * len(omega) + pair)
            for part in table[0]:
                arrays[f"{name}/{part}"] = np.stack([each[part] for each in table])
        # The shortest length comes first: there norms are those that the model was trained with.
        for at in sorted({min(train_length, length), length}):
            seen = observe(model, text, at, perplexity.bin_edges(at, train_length))
            arrays = seen | arrays
    progress.finish(2 * len(omega))
    return arrays


def still(omega: NDArray[np.float32], pairs: list[int] | NDArray[np.bool_]) -> NDArray[np.float32]:
    """The spectrum [K] in which these pairs, indices or a mask, do not rotate."""
    stilled = omega.copy()
    stilled[pairs] = 0.0
    return stilled


def block_losses(
    model: Llama, text: Tokens, length: int, train_length: int
) -> dict[str, NDArray[np.float64]]:
    """Mean NLL of each block of `length` targets [blocks], by part of `measure`."""
    pieces = perplexity.full(model, text, min(train_length, length), length, train_length)
    losses = {"in_length": pieces.nll.sum(axis=1) / pieces.tokens.sum()}
    if length > train_length:
        whole = perplexity.full(model, text, length, length, train_length)
        is_beyond = perplexity.bin_edges(length, train_length)[:-1] >= train_length
        losses["beyond"] = whole.nll[:, is_beyond].sum(axis=1) / whole.tokens[is_beyond].sum()
    if not all(np.isfinite(nll).all() for nll in losses.values()):
        raise UserError(
            "usage: the loss is not finite; the trained weights are unusable, delete the run and"
            " train again"
        )
    return losses


@torch.inference_mode()
def observe(model: Llama, text: Tokens, length: int, edges: NDArray[np.int64]) -> Arrays:
    """Norms and attention of `measure` over all whole pieces of `length` tokens of the text."""
    config = model.config
    layers, heads = len(model.layers), config.num_attention_heads
    squares = np.zeros((2, layers, heads, config.pairs))
    mass = np.zeros((layers, len(edges) - 1))

    def watch(layer: int, attention: Attention, inputs: tuple[Tensor, ...]) -> None:
        (q,), (k,), _ = attention.rotated_qkv(*inputs)
        for row, x_HTD in enumerate((q, k)):
            # A rotation leaves the norm of a pair as it is.
            by_channel = x_HTD.double().square().sum(dim=1).cpu().numpy()
            squares[row, layer] += by_channel[:, : config.pairs] + by_channel[:, config.pairs :]
        mass[layer] += attention_by_distance(q, k, edges)

    attentions = [module for module in model.modules() if isinstance(module, Attention)]
    watched = [
        attention.register_forward_pre_hook(partial(watch, layer))
        for layer, attention in enumerate(attentions)
    ]
    pieces = len(text) // length
    try:
        for piece in np.split(text[: pieces * length], pieces):
            ids = torch.from_numpy(piece.astype(np.int64)).to(model.inv_freq.device)
            model.hidden(ids[None])
    finally:
        for hook in watched:
            hook.remove()
    queries = pieces * length
    q_norms, k_norms = np.sqrt(squares / queries)
    return {
        "norm/q": q_norms,
        "norm/k": k_norms,
        f"attention/{length}": mass / (heads * queries),
        f"attention/{length}/edges": edges,
    }


def attention_by_distance(
    q_HTD: Tensor, k_HTD: Tensor, edges: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Causal attention [bins] by the distance from query to key, summed over heads and queries.

    Bin j holds the distances edges[j] <= d < edges[j+1] in tokens; 0 is the token itself. q and k
    are rotated. Queries are taken some at a time: all scores of a long text fit into no memory.
    """
    heads, length, width = q_HTD.shape
    positions = torch.arange(length, device=q_HTD.device)
    by_distance = torch.zeros(length, dtype=torch.float64, device=q_HTD.device)
    rows = max(1, SCORES // (heads * length))
    # In fp32, as the kernels of the model have their scores.
    with autocast(q_HTD.device, "fp32"):
        q, k = q_HTD.float(), k_HTD.float()
        for start in range(0, length, rows):
            end = min(start + rows, length)
            scores = q[:, start:end] @ k[:, :end].mT / math.sqrt(width)
            scores.masked_fill_(positions[:end] > positions[start:end, None], -torch.inf)
            mass = scores.softmax(dim=-1).sum(dim=0, dtype=torch.float64)
            by_distance[:end] += skewed(mass).sum(dim=0)
    return np.add.reduceat(by_distance.cpu().numpy(), edges[:-1])


def skewed(mass: Tensor) -> Tensor:
    """Attention by query and key [n, m], of the last n of m tokens, by query and distance [n, m].

    What lies after its query has to be 0, and is put at distances that do not exist.
    """
    n, m = mass.shape
    # From the key at its right end to the left, row i has its query at n - 1 - i: rows that are one
    # element shorter than they are move each of them to the left edge.
    padded = F.pad(mass.flip(-1), (0, n)).flatten()
    return padded[n - 1 : -1].view(n, -1)[:, :m]
