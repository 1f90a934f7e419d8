"""The noise floor: the spread of repeats of one training run, next to the spread of seeds."""

import pandas as pd

from rope_spectra.analysis import lineage
from rope_spectra.analysis.runs import read_scores
from rope_spectra.config.design import Design
from rope_spectra.runtime.errors import UserError


def measure(design: Design) -> pd.DataFrame:
    """A row per remap, protocol and length of an experiment that repeats a run.

    Columns: spectrum, seed, remap, protocol, length; n_runs and the ppl of each in a row (the
    first, then its repeats); ppl_spread, the largest minus the smallest; ppl_std; seed_std over the
    n_seeds seeds of the same spectrum; n_weights, the number of different sets of weights that the
    repeats ended with: 1 is equality to the bit. Standard deviations have ddof 1.

    Raises UserError if a file is damaged or a run is no repeat of the first one.
    """
    first = design.noise_floor_runs[0]
    repeated = [first, *design.repeats]
    # First of all, because it refuses files that do not belong together.
    n_weights = _count_weights(design, repeated)
    scores = [
        read_scores(design.experiment, spectrum, seed).assign(seed=seed)
        for spectrum, seed in design.noise_floor_runs
    ]
    cells = pd.concat(scores).groupby(["remap", "protocol", "length"], sort=False)
    rows = [_row(cell, repeated) | {"n_weights": n_weights} for _, cell in cells]
    return pd.DataFrame(rows)


def _row(cell: pd.DataFrame, repeated: list[tuple[str, str]]) -> dict[str, object]:
    """The row of one (remap, protocol, length); repeated: the first run and its repeats."""
    spectrum, first = repeated[0]
    is_repeated = cell["seed"].isin([seed for _, seed in repeated])
    ppl = cell.loc[is_repeated, "ppl"]
    # Repeats are no seeds: of the equal runs only the first one counts among these.
    by_seed = cell.loc[~is_repeated | (cell["seed"] == first), "ppl"]
    return {
        "spectrum": spectrum,
        "seed": first,
        **cell.iloc[0][["remap", "protocol", "length"]],
        "n_runs": len(ppl),
        "ppl": " ".join(f"{value:.10g}" for value in ppl),
        "ppl_spread": ppl.max() - ppl.min(),
        # Of the differences, because equal values then give 0 and no rounding error.
        "ppl_std": (ppl - ppl.iloc[0]).std(),
        "seed_std": by_seed.std(),
        "n_seeds": len(by_seed),
    }


def _count_weights(design: Design, repeated: list[tuple[str, str]]) -> int:
    """The number of different sets of weights that the repeats ended with."""
    found = lineage.read_evaluations(design, design.noise_floor_runs)
    names = [f"{spectrum}/seed{seed}" for spectrum, seed in repeated]
    for name in names:
        # The identity is of settings and data, not of the weights, which may differ.
        if found[name].identity != found[names[0]].identity:
            raise UserError(
                f"results/{design.experiment}/{name}: not a repeat of seed{repeated[0][1]},"
                " its settings or data differ; delete it and run again"
            )
    return len({found[name].model for name in names})
