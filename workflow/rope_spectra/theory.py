"""Correlate the diagnostics of the spectra with what was measured (rule theory).

    python -m rope_spectra.theory --definition results/frontier_small/experiment.json \\
        --csv results/frontier_small/theory.csv

For each diagnostic of spectra.csv its rank correlation over the spectra with the primary endpoint,
and, where the models were probed, with the accuracy of retrieval. Reads runs.csv and every run's
eval.npz.
"""

from rope_spectra.analysis import lineage
from rope_spectra.analysis.measured import endpoints_of, read_correct
from rope_spectra.analysis.spectra_table import spectra_table
from rope_spectra.analysis.theory import theory_table
from rope_spectra.artifacts import layout, seal, tables
from rope_spectra.config.design import Design
from rope_spectra.runtime import cli


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        definition="experiment.json: the experiment's design",
        csv="where to write the table",
    )
    args = cli.parse(parser)

    design = seal.load_settings(args.definition, Design)
    lineage.check(design)
    runs = tables.read_csv(layout.fill(layout.RUNS, experiment=design.experiment))
    trials = read_correct(design, runs, endpoints_of(design))
    table = theory_table(design, spectra_table(design), runs, trials)
    tables.write_csv(args.csv, table)


if __name__ == "__main__":
    cli.run(main)
