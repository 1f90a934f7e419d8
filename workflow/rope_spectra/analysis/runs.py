"""The runs of an experiment as tables: scores, training losses, results of the retrieval probe.

Nothing here checks that files belong together; analysis/lineage.py does.
"""

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rope_spectra.analysis import usage_table
from rope_spectra.analysis.retrieval_tasks import Asked, TaskKey
from rope_spectra.analysis.statistics import exponential
from rope_spectra.analysis.summary_table import DEGRADATION, Blocks, Key
from rope_spectra.artifacts import layout, seal
from rope_spectra.config.design import NATIVE, Design, label
from rope_spectra.config.sections import UsageSettings
from rope_spectra.config.shares import TaskShares
from rope_spectra.evaluation.usage_record import check_usage
from rope_spectra.runtime.errors import UserError
from rope_spectra.training.record import read_run

# The content of eval.npz. For each remap and length that protocol `full` scored it has
# `<remap>/<length>/nll` (NLL sums in nats, [blocks, bins of positions]), `.../tokens` (scored
# tokens of one block, [bins]) and `.../edges` (first position of each bin, and one past the last);
# `bytes` is the size of the text, [blocks]. The retrieval probe adds `.../retrieval`, its tasks
# `.../retrieval/<task>` and more below that.
Arrays: TypeAlias = dict[str, NDArray[Any]]

SCORES = ["ppl", "nll", "tokens", "chunks"]
RUN_COLUMNS = ["experiment", "spectrum", "seed", "remap", "protocol", "length", *SCORES]
RUN_COLUMNS += DEGRADATION


def is_finished(experiment: str, spectrum: str, seed: int | str) -> bool:
    """True where all that the tables need of a run is there."""
    return all(Path(path).exists() for path in layout.run_files(experiment, spectrum, seed))


def read_runs(design: Design, runs: Iterable[tuple[str, int]]) -> tuple[pd.DataFrame, Blocks]:
    """The tidy table of the runs of one phase, and protocol `full` on the blocks of that phase.

    Raises UserError if there are none.
    """
    tables = []
    measured = design.train_length in design.lengths
    blocks = Blocks(train_length=design.train_length if measured else None)
    for spectrum, seed in runs:
        arrays = of_phase(read_arrays(design.experiment, spectrum, seed), design, seed)
        rows = rescored(read_scores(design.experiment, spectrum, seed), arrays)
        rows = degraded(rows, arrays, design.train_length)
        tables.append(
            rows.assign(experiment=design.experiment, spectrum=spectrum, seed=seed)[RUN_COLUMNS]
        )
        for name in _scored_in_blocks(arrays):
            remap, length = name.split("/")
            key = (spectrum, seed, remap, int(length))
            blocks.nll[key] = arrays[f"{name}/nll"].sum(axis=1)
            blocks.parts[key] = _inside_and_beyond(arrays, name, design.train_length)
            # The same for all runs, because all of them read the same text.
            blocks.tokens[int(length)] = int(arrays[f"{name}/tokens"].sum())
            if "bytes" in arrays:
                blocks.bytes[int(length)] = int(arrays["bytes"].sum())
    if not tables:
        raise UserError(f"{design.experiment}: no run serves verdicts yet; run snakemake first")
    return pd.concat(tables, ignore_index=True), blocks


def read_scores(experiment: str, spectrum: str, seed: int | str) -> pd.DataFrame:
    """eval.csv of a run: columns remap, protocol, length, ppl, nll, tokens, chunks."""
    path = layout.fill(layout.EVAL, experiment=experiment, spectrum=spectrum, seed=seed)
    return pd.read_csv(path)


def read_arrays(experiment: str, spectrum: str, seed: int | str) -> Arrays:
    """eval.npz of a run."""
    path = layout.fill(layout.EVAL_NLL, experiment=experiment, spectrum=spectrum, seed=seed)
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def of_phase(arrays: Arrays, design: Design, seed: int) -> Arrays:
    """The arrays of a run on the blocks that its seed serves.

    Raises UserError where there are too few blocks for selection and confirmation.
    """
    per_block = [f"{name}/nll" for name in _scored_in_blocks(arrays)]
    if "bytes" in arrays:
        per_block.append("bytes")
    if not per_block:
        return arrays
    n_blocks = len(arrays[per_block[0]])
    try:
        blocks = design.blocks_of(design.phase_of(seed), n_blocks)
    except ValueError as error:
        raise UserError(
            f"experiments.{design.experiment}.selection: {error}; raise validation_tokens"
        ) from None
    return arrays | {key: arrays[key][blocks] for key in per_block}


def rescored(rows: pd.DataFrame, arrays: Arrays) -> pd.DataFrame:
    """The rows of eval.csv, those of protocol `full` over the blocks that the arrays have left."""
    # eval.csv is of all blocks. first_chunks has no blocks: it reads the start of the text.
    for row in rows[rows["protocol"] == "full"].itertuples():
        nll = arrays[f"{row.remap}/{row.length}/nll"]
        tokens = arrays[f"{row.remap}/{row.length}/tokens"]
        count = int(tokens.sum()) * len(nll)
        mean = nll.sum() / count
        # Every block has as many chunks and tokens as any other.
        chunks = row.chunks * count // row.tokens
        rows.loc[row.Index, SCORES] = [exponential(mean), mean, count, chunks]
    return rows.astype({"tokens": int, "chunks": int})


def degraded(rows: pd.DataFrame, arrays: Arrays, train_length: int) -> pd.DataFrame:
    """The rows with the columns degradation and degradation_beyond, in nats per token.

    Both are empty up to the training length, for first_chunks, which scores other text at each
    length, and where the training length was not evaluated.
    """
    rows = rows.assign(**dict.fromkeys(DEGRADATION, np.nan))
    is_degraded = (rows["protocol"] == "full") & (rows["length"] > train_length)
    for row in rows[is_degraded].itertuples():
        both = degradation(arrays, row.remap, row.length, train_length)
        rows.loc[row.Index, DEGRADATION] = both
    return rows


def degradation(arrays: Arrays, remap: str, length: int, train_length: int) -> tuple[float, float]:
    """NLL at a length less that of the same targets at the training length, in nats per token.

    The first is over all targets, the second over those at positions from the training length on.
    Where the training length divides the length, the targets at lower positions are the first piece
    of each text at both lengths: read without a remap their loss is equal, and what is left of the
    loss at the training length is that of the other targets. NaN where it cannot be had.
    """
    name, trained = f"{remap}/{length}", f"{remap}/{train_length}"
    if f"{trained}/nll" not in arrays:
        return np.nan, np.nan
    nll, reference = arrays[f"{name}/nll"], arrays[f"{trained}/nll"].sum()
    tokens = arrays[f"{name}/tokens"] * len(nll)
    overall = float((nll.sum() - reference) / tokens.sum())
    native = f"{NATIVE}/{length}"
    beyond = arrays[f"{name}/edges"][:-1] >= train_length
    if length % train_length or f"{native}/nll" not in arrays or not beyond.any():
        return overall, np.nan
    elsewhere = reference - arrays[f"{native}/nll"][:, ~beyond].sum()
    return overall, float((nll[:, beyond].sum() - elsewhere) / tokens[beyond].sum())


def read_losses(experiment: str, runs: pd.DataFrame) -> pd.DataFrame:
    """train.csv of each run (columns spectrum and seed of `runs`).

    Columns: spectrum, seed, step, loss.
    """
    tables = []
    for spectrum, seed in runs[["spectrum", "seed"]].drop_duplicates().itertuples(index=False):
        path = layout.fill(layout.TRAIN_LOG, experiment=experiment, spectrum=spectrum, seed=seed)
        losses = pd.read_csv(path, usecols=["step", "loss"])
        tables.append(losses.assign(spectrum=spectrum, seed=seed))
    return pd.concat(tables, ignore_index=True)


def read_positions(design: Design, runs: pd.DataFrame, length: int) -> pd.DataFrame:
    """Loss by bin of positions at one length (columns spectrum, seed and remap of `runs`).

    Columns: spectrum (the remap in its name), seed, context, nll. context is the mean number of
    tokens that the positions of a bin see (position p sees p + 1); nll is in nats per token, over
    the blocks of the seed's phase.
    """
    tables = []
    arms = runs[["spectrum", "seed", "remap"]].drop_duplicates()
    for spectrum, seed, remap in arms.itertuples(index=False):
        arrays = of_phase(read_arrays(design.experiment, spectrum, seed), design, seed)
        name = f"{remap}/{length}"
        nll = arrays[f"{name}/nll"]
        edges = arrays[f"{name}/edges"]
        bins = {
            "context": (edges[:-1] + edges[1:] + 1) / 2,
            "nll": nll.sum(axis=0) / (arrays[f"{name}/tokens"] * len(nll)),
        }
        tables.append(pd.DataFrame({**bins, "spectrum": label((spectrum, remap)), "seed": seed}))
    return pd.concat(tables, ignore_index=True)


def read_retrieval(design: Design) -> dict[Key, NDArray[np.floating]]:
    """The NLL of the candidates of each trial, the true one first, [trials, candidates].

    Seeds of the selection are left out: the trials are not split into two parts as the text is.
    Raises UserError if a run was not probed.
    """
    nll: dict[Key, NDArray[np.floating]] = {}
    for spectrum, seed in design.confirming_runs:
        arrays = read_arrays(design.experiment, spectrum, seed)
        for remap, length in product(design.remaps, design.lengths):
            name = f"{remap}/{length}/retrieval"
            nll[spectrum, seed, remap, length] = _probed(design, (spectrum, seed), arrays, name)
    return nll


def read_trials(
    design: Design, runs: Iterable[tuple[str, int]], length: int
) -> dict[tuple[str, int, str], list[NDArray[np.floating]]]:
    """The trials at a length by (spectrum, seed, remap): a table for each task of the endpoint.

    A table is the NLL of the candidates, [trials, candidates], the true one first. The first
    version of the probe has one task without a name. Raises UserError if a run was not probed.
    """
    endpoint = design.retrieval_endpoint
    tasks = (endpoint.tasks if endpoint else None) or design.probed_tasks
    suffixes = [f"/{task}" for task in tasks] if tasks else [""]
    scores = {}
    for spectrum, seed in runs:
        arrays = read_arrays(design.experiment, spectrum, seed)
        for remap in design.remaps:
            names = [f"{remap}/{length}/retrieval{suffix}" for suffix in suffixes]
            tables = [_probed(design, (spectrum, seed), arrays, name) for name in names]
            scores[spectrum, seed, remap] = tables
    return scores


def read_tasks(design: Design) -> dict[TaskKey, Asked]:
    """The trials of the tasks of the retrieval probe, by (spectrum, seed, remap, length, task).

    Seeds of the selection are left out, as in read_retrieval. Raises UserError if a run was not
    asked a task.
    """
    asked: dict[TaskKey, Asked] = {}
    for spectrum, seed in design.confirming_runs:
        arrays = read_arrays(design.experiment, spectrum, seed)
        for remap, length, task in product(design.remaps, design.lengths, design.probed_tasks):
            name = f"{remap}/{length}/retrieval/{task}"
            asked[spectrum, seed, remap, length, task] = Asked(
                nll=_probed(design, (spectrum, seed), arrays, name),
                control=arrays[f"{name}/control"],
                truncated=arrays.get(f"{name}/truncated"),
                distance=arrays[f"{name}/distance"],
            )
    return asked


def read_shares(design: Design) -> dict[str, float]:
    """The part of the training rows that hold each task of the retrieval probe; none without them.

    All runs of an experiment have the same, so that of the first one says it.
    """
    spectrum, seed = design.runs[0]
    path = layout.fill(layout.RUN, experiment=design.experiment, spectrum=spectrum, seed=seed)
    share = read_run(path.parent).settings.training.retrieval_share
    if not isinstance(share, TaskShares):
        return {}
    return {str(task): part for task, part in share.by_task.items()}


def read_usages(design: Design) -> dict[usage_table.Run, usage_table.Arrays]:
    """The arrays of usage.npz by spectrum and seed, without the seeds that serve selection.

    Raises UserError for one that is damaged or out of date.
    """
    frozen = layout.fill(layout.USAGE_CONFIG, experiment=design.experiment)
    settings = seal.load_settings(frozen, UsageSettings)
    usages: dict[usage_table.Run, usage_table.Arrays] = {}
    for spectrum, seed in design.confirming_runs:
        path = layout.fill(layout.USAGE, experiment=design.experiment, spectrum=spectrum, seed=seed)
        with np.load(check_usage(path.parent, settings), allow_pickle=False) as file:
            usages[spectrum, seed] = dict(file)
    return usages


def _probed(design: Design, run: tuple[str, int], arrays: Arrays, name: str) -> NDArray[Any]:
    """An array of the retrieval probe; UserError if the run was not probed so."""
    if name not in arrays:
        spectrum, seed = run
        path = layout.fill(
            layout.EVAL_NLL, experiment=design.experiment, spectrum=spectrum, seed=seed
        )
        raise UserError(
            f"{path}: has no {name}; it was evaluated without retrieval, delete it and run again"
        )
    return arrays[name]


def _scored_in_blocks(arrays: Arrays) -> list[str]:
    """`<remap>/<length>` of all that protocol `full` has scored."""
    return [key.removesuffix("/nll") for key in arrays if key.endswith("/nll")]


def _inside_and_beyond(arrays: Arrays, name: str, train_length: int) -> tuple[float, float]:
    """PPL over the positions below the training length, and over those from it on.

    NaN where there are none.
    """
    inside = arrays[f"{name}/edges"][:-1] < train_length
    nll = arrays[f"{name}/nll"].sum(axis=0)
    tokens = arrays[f"{name}/tokens"] * len(arrays[f"{name}/nll"])
    return _ppl(nll[inside], tokens[inside]), _ppl(nll[~inside], tokens[~inside])


def _ppl(nll: NDArray[np.float64], tokens: NDArray[np.integer]) -> float:
    return float(exponential(nll.sum() / tokens.sum())) if tokens.sum() else float("nan")
