"""Tables of what trained models use: of pairs, of runs, and of attention by distance. Pure.

A cost is the mean NLL with some pairs stilled minus that of the trained model on the same text, in
nats per token: the rise of log PPL. Costs `in_length` are those of text in pieces of the training
length, costs `beyond` those of positions from the training length on, at the longest length.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rope_spectra.analysis.endpoints import Row
from rope_spectra.analysis.summary_table import spread_columns
from rope_spectra.rope.frequencies import wavelengths

Arrays: TypeAlias = Mapping[str, NDArray[Any]]  # those of usage.npz, by name
Run: TypeAlias = tuple[str, int]  # spectrum and seed

PARTS = ("in_length", "beyond")
COSTS = ("cost_in_length", "cost_beyond", "cost_slower_in_length", "cost_slower_beyond")
MEASURES = ("q_norm", "k_norm", *COSTS)
# A pair is used if stilling it raises the perplexity by more than this fraction.
USED = {"used_2_permille": 0.002, "used_20_permille": 0.02}


def by_pair(
    usages: Mapping[Run, Arrays], omegas: Mapping[str, NDArray[np.floating]]
) -> pd.DataFrame:
    """A row per spectrum, seed and pair: wavelength (tokens) and MEASURES.

    usages: the arrays of each run. omegas: the frequencies [pairs] of each spectrum, in radians per
    token. Norms are root mean squares over layers, heads and tokens; cost_slower is the cost of the
    pair together with all that are as slow or slower. Costs beyond are NaN where nothing is.
    """
    tables = []
    for (spectrum, seed), arrays in usages.items():
        omega = omegas[spectrum]
        columns: Row = {"spectrum": spectrum, "seed": seed, "pair": np.arange(len(omega))}
        columns["wavelength"] = wavelengths(omega)
        for name in ("q", "k"):
            columns[f"{name}_norm"] = np.sqrt(np.square(arrays[f"norm/{name}"]).mean(axis=(0, 1)))
        for kind, name in (("cost", "stilled"), ("cost_slower", "slower")):
            for part in PARTS:
                columns[f"{kind}_{part}"] = _cost(arrays, name, part)
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def _cost(arrays: Arrays, name: str, part: str) -> NDArray[np.float64] | float:
    """The cost [pairs] of one kind of stilling; NaN where the part was not measured."""
    if f"{name}/{part}" not in arrays:
        return np.nan
    return (arrays[f"{name}/{part}"] - arrays[f"trained/{part}"]).mean(axis=1)


def by_run(pairs: pd.DataFrame, train_length: int) -> pd.DataFrame:
    """A row per spectrum and seed of a table of `by_pair`: how many pairs are used.

    `used_<limit>_<part>` counts the pairs that cost more than a limit of USED; `never_turning` are
    the pairs with a wavelength above the training length, `cost_never_turning_<part>` is the cost
    of stilling all of them.
    """
    rows = []
    for (spectrum, seed), run in pairs.groupby(["spectrum", "seed"], sort=False):
        slow = run[run["wavelength"] > train_length]
        row: Row = {"spectrum": spectrum, "seed": seed, "pairs": len(run)}
        for part in PARTS:
            costs = run[f"cost_{part}"]
            is_measured = costs.notna().all()
            for name, limit in USED.items():
                count = int((costs > np.log1p(limit)).sum())
                row[f"{name}_{part}"] = count if is_measured else pd.NA
        row["never_turning"] = len(slow)
        for part in PARTS:
            # The fastest of them is the one that takes all others with it.
            together = slow.sort_values("wavelength")[f"cost_slower_{part}"]
            row[f"cost_never_turning_{part}"] = together.iloc[0] if len(slow) else 0.0
        rows.append(row)
    counts = [f"{name}_{part}" for name in USED for part in PARTS]
    return pd.DataFrame(rows).astype(dict.fromkeys(counts, "Int64"))


def summarize(pairs: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """A row per spectrum and pair: wavelength, and each of MEASURES over the seeds.

    Mean, std (ddof 1) and t interval. pairs, runs: tables of `by_pair` and `by_run`. The mean
    numbers of used pairs stand in every row of a spectrum.
    """
    counts = [f"{name}_{part}" for name in USED for part in PARTS]
    used = runs.groupby("spectrum")[counts].mean().astype(float)
    rows = []
    for (spectrum, pair), seeds in pairs.groupby(["spectrum", "pair"], sort=False):
        row: Row = {"spectrum": spectrum, "pair": pair, "wavelength": seeds["wavelength"].iloc[0]}
        row |= _seeds(seeds["seed"])
        for name in MEASURES:
            row |= spread_columns(name, seeds[name])
        rows.append(row | {f"{name}_mean": used.loc[spectrum, name] for name in counts})
    return pd.DataFrame(rows)


def attention(usages: Mapping[Run, Arrays]) -> pd.DataFrame:
    """A row per spectrum, seed, length, layer and bin of distances: the part of the attention.

    distance_from and distance_to are in tokens, the second one excluded; `mass` is the mean over
    queries and heads, and adds up to 1 over the bins.
    """
    tables = []
    for (spectrum, seed), arrays in usages.items():
        for name in arrays:
            if not name.startswith("attention/") or name.endswith("/edges"):
                continue
            layers, bins = arrays[name].shape
            edges = arrays[f"{name}/edges"]
            columns: Row = {"spectrum": spectrum, "seed": seed}
            columns["length"] = int(name.partition("/")[2])
            columns["layer"] = np.repeat(np.arange(layers), bins)
            columns["distance_from"] = np.tile(edges[:-1], layers)
            columns["distance_to"] = np.tile(edges[1:], layers)
            tables.append(pd.DataFrame(columns | {"mass": arrays[name].ravel()}))
    return pd.concat(tables, ignore_index=True)


def attention_summary(masses: pd.DataFrame) -> pd.DataFrame:
    """A table of `attention` over the seeds: mean, std (ddof 1) and t interval of `mass`."""
    keys = ["spectrum", "length", "layer", "distance_from", "distance_to"]
    rows = []
    for key, seeds in masses.groupby(keys, sort=False):
        row: Row = dict(zip(keys, key, strict=True))
        rows.append(row | _seeds(seeds["seed"]) | spread_columns("mass", seeds["mass"]))
    return pd.DataFrame(rows)


def uniform_attention(edges: NDArray[np.integer]) -> NDArray[np.float64]:
    """The mass [bins] of a model that attends to all tokens up to its own alike.

    edges: of the bins of distances, from 0 to the length.
    """
    length = edges[-1]
    # Query i gives 1/(i+1) to each of the distances 0..i.
    by_distance = np.cumsum(1.0 / np.arange(length, 0, -1))[::-1]
    return np.add.reduceat(by_distance, edges[:-1]) / length


def _seeds(seeds: Iterable[int]) -> Row:
    names = sorted(seeds)
    return {"n_seeds": len(names), "seeds": " ".join(map(str, names))}
