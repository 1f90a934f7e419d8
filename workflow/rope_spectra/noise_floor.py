"""Measure how far repeats of one training run differ (rule noise_floor).

    python -m rope_spectra.noise_floor --definition results/demo/experiment.json \\
        --csv results/demo/noise_floor.csv

A difference between spectra that is below this noise floor means nothing. An experiment with
`noise_floor: N` trains its baseline with its first seed N times more, with the same frozen
settings, in folders such as seed42-repeat1.
"""

from rope_spectra.analysis import noise_floor
from rope_spectra.artifacts import seal, tables
from rope_spectra.config.design import Design
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        definition="experiment.json: the design of the experiment",
        csv="where to write the table",
    )
    args = cli.parse(parser)

    design = seal.load_settings(args.definition, Design)
    if not design.noise_floor:
        raise UserError(
            f"{args.definition}: {design.experiment} repeats no run;"
            " set its noise_floor to 1 or more"
        )
    tables.write_csv(args.csv, noise_floor.measure(design))


if __name__ == "__main__":
    cli.run(main)
