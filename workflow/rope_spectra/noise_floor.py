"""How far repeats of one training run differ: the floor below which a difference between spectra means nothing.

    python -m rope_spectra.noise_floor --definition results/demo/experiment.json --csv results/demo/noise_floor.csv

An experiment with `noise_floor: N` trains its baseline with its first seed N times more, with the same frozen settings, in
folders such as seed42-repeat1 (rule noise_floor).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rope_spectra.artifacts import files, layout, lineage, seal
from rope_spectra.config import contrasts
from rope_spectra.config.definition import Definition
from rope_spectra.config.design import Design
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--definition",
        type=Path,
        required=True,
        help="experiment.json: the design of the experiment",
    )
    parser.add_argument("--csv", type=Path, required=True, help="where to write the table")
    args = cli.parse(parser)

    from rope_spectra.artifacts.tables import as_csv

    definition = seal.load_settings(args.definition, Design).content()
    table = measure(definition)
    if table is None:
        raise UserError(
            f"{args.definition}: {definition['experiment']} repeats no run; set its noise_floor to 1 or more"
        )
    files.write_text(args.csv, as_csv(table))


def repeats(experiment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(spectrum, seed-repeat) of the runs that repeat the first one of the baseline; none with noise_floor 0."""
    spectrum, _ = contrasts.parse(experiment["baseline"])
    return [
        (spectrum, f"{experiment['seeds'][0]}-repeat{k}")
        for k in range(1, experiment.get("noise_floor", 0) + 1)
    ]


def runs(experiment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(spectrum, seed) of all that is needed: the baseline with every seed, then the repeats of the first one."""
    spectrum, _ = contrasts.parse(experiment["baseline"])
    return [*((spectrum, str(seed)) for seed in experiment["seeds"]), *repeats(experiment)]


def measure(definition: Definition) -> "pd.DataFrame | None":
    """A row per remap, protocol and length; None if the experiment repeats no run.

    Columns: spectrum, seed, remap, protocol, length; n_runs and the ppl of each in a row (the first, then its repeats);
    ppl_spread, the largest minus the smallest; ppl_std; seed_std over the n_seeds seeds of the same spectrum; n_weights, how many
    different sets of weights the repeats ended with: 1 is equality to the bit. Standard deviations have ddof 1.
    """
    import pandas as pd

    if not (again := repeats(definition)):
        return None
    same = [runs(definition)[0], *again]
    n_weights = len(_weights(definition, same))
    scores = pd.concat([_scores(definition, *run) for run in runs(definition)])
    cells = scores.groupby(["remap", "protocol", "length"], sort=False)
    return pd.DataFrame([_row(cell, same) | {"n_weights": n_weights} for _, cell in cells])


def _row(cell: "pd.DataFrame", same: list[tuple[str, str]]) -> dict[str, Any]:
    """The row of one (remap, protocol, length); same: the first run and its repeats."""
    spectrum, first = same[0]
    repeated = cell["seed"].isin([seed for _, seed in same])
    ppl, by_seed = cell.loc[repeated, "ppl"], cell.loc[~repeated | (cell["seed"] == first), "ppl"]
    return {
        "spectrum": spectrum,
        "seed": first,
        **cell.iloc[0][["remap", "protocol", "length"]],
        "n_runs": len(ppl),
        "ppl": " ".join(f"{value:.10g}" for value in ppl),
        "ppl_spread": ppl.max() - ppl.min(),
        "ppl_std": (ppl - ppl.iloc[0]).std(),  # equal values give 0 so, and no rounding error
        "seed_std": by_seed.std(),
        "n_seeds": len(by_seed),
    }


def _scores(definition: Definition, spectrum: str, seed: str) -> "pd.DataFrame":
    import pandas as pd

    path = layout.fill(
        layout.EVAL, experiment=definition["experiment"], spectrum=spectrum, seed=seed
    )
    return pd.read_csv(path).assign(seed=seed)


def _weights(definition: Definition, same: list[tuple[str, str]]) -> set[str]:
    """The different weights that the repeats ended with; UserError if a file is damaged or one of them is no repeat."""
    found = lineage.evaluations(definition, runs(definition))
    first, *others = (found[f"{spectrum}/seed{seed}"] for spectrum, seed in same)
    for (spectrum, seed), other in zip(same[1:], others, strict=True):
        if other["identity"] != first["identity"]:
            folder = layout.fill(
                layout.RUN, experiment=definition["experiment"], spectrum=spectrum, seed=seed
            ).parent
            raise UserError(
                f"{folder}: not a repeat of seed{same[0][1]}, its settings or data differ; delete it and run again"
            )
    return {first["model"], *(other["model"] for other in others)}


if __name__ == "__main__":
    cli.run(main)
