"""Tabulate the primary endpoint at several learning rates (rule rates).

    python -m rope_spectra.rates --definition results/frontier_small/experiment.json \\
        --others results/frontier_small_half_rate/experiment.json \\
        --csv results/frontier_small/rates.csv

One row for each rate and each spectrum that all experiments have, with the runs that failed to
train. The endpoint is that of --definition; the tables of all experiments have to be there.
"""

from pathlib import Path

from rope_spectra.analysis import lineage, rates
from rope_spectra.analysis.runs import read_runs
from rope_spectra.artifacts import layout, seal, tables
from rope_spectra.config.design import Design
from rope_spectra.config.experiment import Primary
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError
from rope_spectra.training.record import RunRecord


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        definition="experiment.json: the experiment's design",
        csv="where to write the table",
    )
    parser.add_argument(
        "--others",
        type=Path,
        nargs="+",
        required=True,
        help="experiment.json of each experiment at another rate",
    )
    args = cli.parse(parser)

    design = seal.load_settings(args.definition, Design)
    if design.primary is None:
        raise UserError(
            f"{args.definition}: declares no primary endpoint to compare; give"
            f" experiments.{design.experiment}.primary"
        )
    others = [seal.load_settings(path, Design) for path in args.others]
    found = [read(each, design.primary) for each in (design, *others)]
    tables.write_csv(args.csv, rates.rates_table(design.primary, found))


def read(design: Design, primary: Primary) -> rates.Rate:
    """The runs of one experiment that serve verdicts, at a primary endpoint.

    Raises UserError if its tables are not up to date.
    """
    lineage.check(design)
    runs = design.confirming_runs
    spectrum, seed = runs[0]
    path = layout.fill(layout.RUN, experiment=design.experiment, spectrum=spectrum, seed=seed)
    learning_rate = seal.load_record(path, RunRecord).settings.training.learning_rate
    return rates.measure(design, primary, learning_rate, *read_runs(design, runs))


if __name__ == "__main__":
    cli.run(main)
