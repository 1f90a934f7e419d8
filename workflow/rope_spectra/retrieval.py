"""Tabulate and draw what the retrieval probe has shown (rule retrieval).

    python -m rope_spectra.retrieval --definition results/retrieval_small/experiment.json --csv results/retrieval_small/retrieval.csv \\
        --runs results/retrieval_small/retrieval_runs.csv --figure results/retrieval_small/figures/retrieval.svg

Reads every run's eval.npz. Seeds that serve selection are left out, for the probe is not split into two parts as the text is.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from rope_spectra.artifacts import files, layout, lineage, seal
from rope_spectra.config import phases
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
    parser.add_argument(
        "--csv", type=Path, required=True, help="where to write the table of the spectra"
    )
    parser.add_argument(
        "--runs", type=Path, required=True, help="where to write the table of the runs"
    )
    parser.add_argument("--figure", type=Path, required=True, help="where to draw it, as SVG")
    args = cli.parse(parser)

    from rope_spectra.artifacts.tables import as_csv
    from rope_spectra.figures import arm_styles, by_arm
    from rope_spectra.report import plots, style

    definition = seal.load_settings(args.definition, Design).content()
    lineage.check(definition)
    runs, summary = measure(definition, runs_of(definition))
    files.write_text(args.csv, as_csv(summary))
    files.write_text(args.runs, as_csv(runs))
    with style.applied():
        shown, chance = by_arm(runs), runs["chance"].iloc[0]
        styles = arm_styles(definition, shown)
        style.save(plots.retrieval(shown, chance, definition["train_length"], styles), args.figure)


def runs_of(definition: Definition) -> list[tuple[str, int]]:
    """(spectrum, seed) of the runs that are tabulated."""
    seeds = [
        seed
        for seed in definition["seeds"]
        if phases.phase_of(definition, seed) != phases.SELECTION
    ]
    return [(spectrum["name"], seed) for spectrum in definition["spectra"] for seed in seeds]


def measure(
    definition: Definition, runs: list[tuple[str, int]]
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """The tables of retrieval_table of these runs, the experiment in their first column; UserError if one was not probed."""
    import numpy as np

    from rope_spectra.analysis import retrieval_table

    experiment, nll = definition["experiment"], {}
    for spectrum, seed in runs:
        path = layout.fill(layout.EVAL_NLL, experiment=experiment, spectrum=spectrum, seed=seed)
        with np.load(path, allow_pickle=False) as arrays:
            for remap in definition["remaps"]:
                for length in definition["lengths"]:
                    name = f"{remap}/{length}/retrieval"
                    if name not in arrays:
                        raise UserError(
                            f"{path}: has no {name}; it was evaluated without retrieval, delete it and run again"
                        )
                    nll[spectrum, seed, remap, length] = arrays[name]
    by_run = retrieval_table.by_run(nll)
    summary = retrieval_table.summarize(by_run, definition["baseline"], definition["contrasts"])
    for table in (by_run, summary):
        table.insert(0, "experiment", experiment)
    return by_run, summary


if __name__ == "__main__":
    cli.run(main)
