"""The primary endpoint of an experiment at several learning rates, and the runs that failed.

A spectrum may win because it is easier to train at the one rate that was tried. Definitions:
docs/statistics.md, section 6. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rope_spectra.analysis.endpoints import Row
from rope_spectra.analysis.ranks import ranking
from rope_spectra.analysis.summary_table import Blocks, crossed_columns, interval_columns
from rope_spectra.config.design import NATIVE, Design
from rope_spectra.config.experiment import Primary

# A run with a PPL at the training length of more than so many times the median of its experiment's
# spectra has failed to train: no spectrum that trains is that far from the others.
FAILED = 1.25

COLUMNS = [
    *("experiment", "learning_rate", "spectrum", "metric", "length", "n_seeds", "n_failed"),
    *("failed_seeds", "ppl_in_length", "value", "value_crossed95_low", "value_crossed95_high"),
    *("rank", "rank_ci95_low", "rank_ci95_high"),
]


@dataclass(frozen=True)
class Trained:
    """The runs of one spectrum, in the order of seeds.

    in_length: PPL at the training length, [seeds]. value: the primary metric, [seeds, blocks] in
    nats per token.
    """

    seeds: list[int]
    in_length: NDArray[np.float64]
    value: NDArray[np.float64]


@dataclass(frozen=True)
class Rate:
    """One experiment: its learning rate, and its runs by spectrum."""

    experiment: str
    learning_rate: float
    spectra: dict[str, Trained]


def measure(
    design: Design, primary: Primary, learning_rate: float, runs: pd.DataFrame, blocks: Blocks
) -> Rate:
    """The runs of an experiment at a primary endpoint, which may be that of another one.

    runs: the rows of the tidy table of one phase (runs.read_runs); blocks: those of protocol full.
    """
    own = runs[(runs["protocol"] == "full") & (runs["remap"] == NATIVE)]
    spectra = {}
    for spectrum, rows in own.sort_values("seed").groupby("spectrum", sort=False):
        at = rows[rows["length"] == primary.length]
        within = rows[rows["length"] == design.train_length]
        is_growth = primary.metric == "degradation"
        spectra[str(spectrum)] = Trained(
            seeds=at["seed"].to_list(),
            in_length=within["ppl"].to_numpy(),
            value=blocks.degradation(at) if is_growth else blocks.per_token(at),
        )
    return Rate(design.experiment, learning_rate, spectra)


def rates_table(primary: Primary, rates: Sequence[Rate]) -> pd.DataFrame:
    """rates.csv: a row for each rate and each spectrum that all have, by rate and rank."""
    shared = [name for name in rates[0].spectra if all(name in rate.spectra for rate in rates)]
    rows: list[Row] = []
    for rate in sorted(rates, key=lambda rate: rate.learning_rate):
        rows += _rows(primary, rate, shared)
    return pd.DataFrame(rows, columns=COLUMNS)


def failing(rate: Rate) -> dict[str, list[int]]:
    """The seeds of each spectrum whose runs have failed to train.

    A run has failed if its PPL at the training length is more than FAILED times the median of the
    medians of all spectra of its experiment, or no number.
    """
    medians = [np.median(found.in_length) for found in rate.spectra.values()]
    limit = FAILED * np.median(medians)
    return {
        name: [
            seed
            for seed, ppl in zip(found.seeds, found.in_length, strict=True)
            if not ppl <= limit or not np.isfinite(ppl)
        ]
        for name, found in rate.spectra.items()
    }


def _rows(primary: Primary, rate: Rate, shared: list[str]) -> list[Row]:
    """The rows of one rate, the best spectrum first."""
    failed = failing(rate)
    arms = [rate.spectra[name] for name in shared]
    # Ranks compare the spectra on the same seeds.
    common = [seed for seed in arms[0].seeds if all(seed in arm.seeds for arm in arms)]
    ranks = None
    if common:
        tables = [arm.value[[arm.seeds.index(seed) for seed in common]] for arm in arms]
        ranks = ranking(tables)
    rows = []
    for index, (name, arm) in enumerate(zip(shared, arms, strict=True)):
        row: Row = {
            "experiment": rate.experiment,
            "learning_rate": rate.learning_rate,
            "spectrum": name,
            "metric": primary.metric,
            "length": primary.length,
            "n_seeds": len(arm.seeds),
            "n_failed": len(failed[name]),
            "failed_seeds": " ".join(map(str, failed[name])),
            "ppl_in_length": float(np.median(arm.in_length)),
            "value": float(arm.value.mean()),
            **crossed_columns("value", arm.value),
        }
        if ranks is not None:
            row["rank"] = int(ranks.rank[index])
            row |= interval_columns("rank_ci95", (int(ranks.low[index]), int(ranks.high[index])))
        rows.append(row)
    return sorted(rows, key=lambda row: row.get("rank", 0))
