"""The numbers that the study published, per seed, and how our own runs compare with them.

The facts are in published.csv, all digits as published. It holds the study's TinyStories runs that
follow the presets 50m and 350m of docs/protocol.md (training of section 5, evaluation
`first_chunks` of section 6); runs with another learning rate, tokenizer or number of chunks are not
comparable and are not there. Spectra carry the names of docs/protocol.md.
"""

from functools import cache
from pathlib import Path

import pandas as pd

from rope_spectra.analysis.counterparts import COUNTERPARTS
from rope_spectra.runtime.errors import UserError

FACTS = Path(__file__).with_name("published.csv")

_ARM = {"spectrum": str, "seed": int, "remap": str}
_RUN_COLUMNS = _ARM | {"protocol": str, "length": int, "ppl": float}


def published_runs(experiment: str) -> pd.DataFrame:
    """The published runs behind one of our experiments (a key of COUNTERPARTS).

    Columns: experiment (the study's), spectrum, seed, length, ppl, source (repository@commit:path).
    The whole unified_search has geo_10k and geo_500k twice, once per machine, told apart by source.
    """
    facts = _facts()
    return facts[facts["experiment"].isin(COUNTERPARTS[experiment])].reset_index(drop=True)


def read_runs(path: Path) -> pd.DataFrame:
    """The rows of a runs.csv that the published protocol gave.

    Raises UserError if there are none or it is another file.
    """
    try:
        runs = pd.read_csv(path, usecols=list(_RUN_COLUMNS), dtype=_RUN_COLUMNS)
    except ValueError:
        raise UserError(
            f"{path}: not a table of runs with {', '.join(_RUN_COLUMNS)};"
            " delete it to have it made again"
        ) from None
    runs = comparable(runs)
    if runs.empty:
        raise UserError(
            f"{path}: has no protocol first_chunks with remap none;"
            " add both to the evaluation and run again"
        )
    return runs


def comparable(runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table of runs that were evaluated as published."""
    return runs[(runs["protocol"] == "first_chunks") & (runs["remap"] == "none")]


def rerun_spread(length: int) -> float:
    """Std (ddof 1) in PPL of the study's six repeats of geo_500k, 50m, seed 42.

    They share seed and code, not always the GPU model (docs/protocol.md section 8). NaN at lengths
    where fewer than two of them were evaluated.
    """
    repeats = _facts().query("spectrum == 'geo_500k' and seed == 42")
    repeats = repeats[repeats["experiment"].str.startswith("50m_")]
    return float(repeats.loc[repeats["length"] == length, "ppl"].std())


def compare(published: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    """Published against ours, a row per source x spectrum x length that both sides have.

    published: from `published_runs`, whose order is kept. ours: the tidy table of runs, of which
    the `comparable` rows are used. Mean and std (ddof 1) come from the values of all seeds of a
    side; per_seed lists them ("42: 18.224; ..."). difference = mean of ours - published, in PPL;
    difference_in_rerun_std is that over `rerun_spread`, empty for 350m, which the study never
    repeated.
    """
    theirs = _over_seeds(published, ["experiment", "spectrum", "length", "source"])
    # The merge keeps what both sides have.
    result = theirs.merge(
        _over_seeds(comparable(ours), ["spectrum", "length"]),
        on=["spectrum", "length"],
        suffixes=("_published", "_ours"),
    )
    result["difference"] = result["mean_ours"] - result["mean_published"]
    spread = pd.Series([rerun_spread(length) for length in result["length"]], dtype="float64")
    result["rerun_std"] = spread.where(result["experiment"].str.startswith("50m_"))
    result["difference_in_rerun_std"] = result["difference"] / result["rerun_std"]
    # Last, because it is long.
    result["source"] = result.pop("source")
    return result


def _over_seeds(runs: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    per_seed = [f"{seed}: {ppl:.6g}" for seed, ppl in zip(runs["seed"], runs["ppl"], strict=True)]
    groups = runs.assign(per_seed=per_seed).groupby(by, sort=False)
    over_seeds = groups["ppl"].agg(n="size", mean="mean", std="std")
    over_seeds["per_seed"] = groups["per_seed"].agg("; ".join)
    return over_seeds.reset_index()


@cache
def _facts() -> pd.DataFrame:
    return pd.read_csv(FACTS)
