"""The passes of an evaluation: every remap and protocol at every length, and the retrieval probe.

A remap leaves the spectrum as it was trained up to the training length. What it does not change is
measured once and stands in the rows of every remap.
"""

import math
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from rope_spectra.config.design import NATIVE
from rope_spectra.config.sections import EvaluationSettings, Protocol
from rope_spectra.data.cache import Tokens
from rope_spectra.data.episodes import Words
from rope_spectra.data.sentence import Sentence
from rope_spectra.evaluation import perplexity, probe
from rope_spectra.evaluation.perplexity import Mean
from rope_spectra.evaluation.trials import Trials, trials
from rope_spectra.model.llama import Llama, autocast
from rope_spectra.rope import remaps
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.progress import Progress

HEADER = "remap,protocol,length,ppl,nll,tokens,chunks"

# The logarithm of the largest float.
_LARGEST_NLL = math.log(sys.float_info.max)

Arrays = dict[str, NDArray[Any]]  # those of eval.npz, by name
T = TypeVar("T")


@dataclass(frozen=True)
class Score:
    """One row of eval.csv; `nll` is in nats per token, and a PPL that no float holds is inf."""

    remap: str
    protocol: str
    length: int
    nll: float
    tokens: int
    chunks: int

    def csv(self) -> str:
        """The row as text; repr keeps every digit."""
        ppl = math.exp(self.nll) if self.nll < _LARGEST_NLL else math.inf
        return (
            f"{self.remap},{self.protocol},{self.length},"
            f"{ppl!r},{self.nll!r},{self.tokens},{self.chunks}"
        )


def perplexities(
    model: Llama,
    tokens: Tokens,
    settings: EvaluationSettings,
    train_length: int,
    precision: str,
) -> tuple[list[Score], Arrays]:
    """The rows of eval.csv, and the arrays of eval.npz by `<remap>/<length>/<name>`."""
    jobs = list(product(settings.remaps, settings.protocols, settings.lengths))
    scores = []
    arrays: Arrays = {}

    @cache
    def measured(remap: str, protocol: Protocol, length: int) -> tuple[Mean, Arrays]:
        with _remapped(model, remap, length, train_length):
            return _measure(model, tokens, protocol, length, settings, train_length)

    with autocast(model.inv_freq.device, precision):
        for remap, protocol, length in _with_progress("evaluation", jobs):
            mean, tables = measured(_effective(remap, length, train_length), protocol, length)
            scores.append(Score(remap, protocol, length, mean.nll, mean.tokens, mean.chunks))
            arrays |= {f"{remap}/{length}/{name}": table for name, table in tables.items()}
    return scores, arrays


def retrieval(
    model: Llama,
    tokens: Tokens,
    sentence: Sentence,
    settings: EvaluationSettings,
    train_length: int,
    precision: str,
) -> Arrays:
    """The retrieval probe: arrays of eval.npz by `<remap>/<length>/retrieval`.

    Each is the NLL of the candidates of all trials, fp32 [trials, n], the true one first.
    """
    probed = settings.retrieval
    if probed is None:
        return {}
    jobs = list(product(settings.remaps, settings.lengths))
    arrays: Arrays = {}

    @cache
    def measured(remap: str, length: int) -> NDArray[np.float32]:
        drawn = probe.trials(sentence, tokens, length, probed.trials, probed.distractors)
        with _remapped(model, remap, length, train_length):
            return perplexity.candidate_nll(model, drawn.ids, drawn.candidates)

    with autocast(model.inv_freq.device, precision):
        for remap, length in _with_progress("retrieval probe", jobs):
            nll = measured(_effective(remap, length, train_length), length)
            arrays[f"{remap}/{length}/retrieval"] = nll
    return arrays


def tasks(
    model: Llama,
    tokens: Tokens,
    words: Words,
    seed: int,
    settings: EvaluationSettings,
    train_length: int,
    precision: str,
) -> Arrays:
    """The tasks of the retrieval probe: arrays by `<remap>/<length>/retrieval/<task>`.

    Each is the NLL of the candidates of all trials, fp32 [trials, n], the true one first. With
    `/control` in their name they are those of the texts without statements, with `/truncated`,
    beyond the training length, those of the last train_length - 1 tokens of each trial alone;
    `/distance` [trials] is in tokens. seed: that of the model.
    """
    probed = settings.retrieval
    if probed is None or probed.tasks is None:
        return {}
    jobs = list(product(settings.remaps, settings.lengths))
    arrays: Arrays = {}
    names = probed.tasks

    @cache
    def drawn(length: int) -> list[Trials]:
        how = (length, probed.trials, probed.distractors, seed)
        return [trials(task, words, tokens, *how) for task in names]

    @cache
    def scored(remap: str, length: int, read: int, is_control: bool) -> list[NDArray[np.float32]]:
        """By task, of the last `read` - 1 tokens of the trials of a length."""
        made = drawn(length)
        texts = np.concatenate([each.control if is_control else each.ids for each in made])
        candidates = np.concatenate([each.candidates for each in made])
        with _remapped(model, remap, read, train_length):
            nll = perplexity.candidate_nll(model, texts[:, -(read - 1) :], candidates)
        return np.split(nll, len(names))

    with autocast(model.inv_freq.device, precision):
        for remap, length in _with_progress("retrieval probe", jobs):
            effective = _effective(remap, length, train_length)
            tables: dict[str, list[NDArray[Any]]] = {
                "": scored(effective, length, length, is_control=False),
                "/control": scored(effective, length, length, is_control=True),
                "/distance": [each.distance for each in drawn(length)],
            }
            if length > train_length:
                within = _effective(remap, train_length, train_length)
                tables["/truncated"] = scored(within, length, train_length, is_control=False)
            for suffix, by_task in tables.items():
                for task, table in zip(names, by_task, strict=True):
                    arrays[f"{remap}/{length}/retrieval/{task}{suffix}"] = table
    return arrays


def block_bytes(tokens: Tokens, sizes: NDArray[np.integer], longest: int) -> NDArray[np.int64]:
    """UTF-8 bytes of the targets of each block [blocks]; `sizes` [vocab] are those of each id."""
    sizes = sizes.astype(np.int64)
    starts = perplexity.block_starts(len(tokens), longest)
    return np.array([sizes[tokens[start : start + longest]].sum() for start in starts])


def _measure(
    model: Llama,
    tokens: Tokens,
    protocol: Protocol,
    length: int,
    settings: EvaluationSettings,
    train_length: int,
) -> tuple[Mean, Arrays]:
    """One pass over the text at one length, with the spectrum that the model has now.

    Of protocol `full` there are arrays too: the NLL by block and position bin.
    """
    arrays: Arrays = {}
    if protocol == "first_chunks":
        mean = perplexity.first_chunks(model, tokens, length, settings.chunks)
    else:
        table = perplexity.full(model, tokens, length, max(settings.lengths), train_length)
        # Every block has the same number of targets in each bin.
        count = int(table.tokens.sum()) * len(table.nll)
        mean = Mean(float(table.nll.sum()) / count, count, table.pieces)
        arrays = {
            "nll": table.nll,
            "tokens": table.tokens,
            "edges": perplexity.bin_edges(length, train_length),
        }
    if not math.isfinite(mean.nll):
        raise UserError(
            f"evaluation: the loss at length {length} is {mean.nll}; the training has diverged,"
            " lower learning_rate or leave this spectrum out"
        )
    return mean, arrays


def _with_progress(label: str, jobs: list[T]) -> Iterator[T]:
    """Yields the jobs, each of which is a length, and tells how many of them are done."""
    progress = Progress(label, len(jobs), "lengths")
    for done, job in enumerate(jobs, start=1):
        yield job
        progress.update(done)
    progress.finish(len(jobs))


def _effective(remap: str, length: int, train_length: int) -> str:
    """The remap itself; up to the training length NATIVE for all, so that they share one pass."""
    return remap if remaps.changes(remap, length, train_length) else NATIVE


def _remapped(
    model: Llama, remap: str, length: int, train_length: int
) -> AbstractContextManager[None]:
    """A context in which the spectrum of the model is changed as the remap says."""
    trained = model.inv_freq.cpu().numpy()
    inv_freq, attention_factor = remaps.remapped(trained, remap, length, train_length)
    return model.rotated_by(torch.from_numpy(inv_freq), attention_factor)
