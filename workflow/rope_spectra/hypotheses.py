"""Judge the declared hypotheses of an experiment by its runs (rule hypotheses).

    python -m rope_spectra.hypotheses --definition results/frontier_small/experiment.json \\
        --csv results/frontier_small/hypotheses.csv

Each is supported, contradicted or open; exploratory where it was added or changed after the first
run, or where the declaration was changed since. Reads runs.csv and every run's eval.npz.
"""

from rope_spectra.analysis import declaration, lineage
from rope_spectra.analysis.hypotheses import EXPLORATORY, Results, hypotheses_table
from rope_spectra.analysis.measured import endpoint, read_correct, serving
from rope_spectra.analysis.runs import read_runs
from rope_spectra.analysis.spectra_table import spectra_table
from rope_spectra.artifacts import layout, seal, tables
from rope_spectra.config.design import Design
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        definition="experiment.json: the experiment's design",
        csv="where to write the table",
    )
    args = cli.parse(parser)

    design = seal.load_settings(args.definition, Design)
    if not design.hypotheses:
        raise UserError(
            f"{args.definition}: {design.experiment} has no hypotheses; give it some, or leave"
            " this out"
        )
    lineage.check(design)
    path = layout.fill(layout.RUNS, experiment=design.experiment)
    standing = lineage.check_table(path).declaration
    runs = tables.read_csv(path)
    _, blocks = read_runs(design, serving(runs))
    endpoints = [endpoint(design, each.measure, each.length) for each in design.hypotheses.values()]
    trials = read_correct(design, runs, endpoints)
    results = Results(spectra_table(design), runs, blocks, trials)
    table = hypotheses_table(design, results)
    is_late = table["hypothesis"].isin(declaration.late_hypotheses(design))
    if standing is not None and standing.changes:
        is_late |= True
    table.loc[is_late, "verdict"] = EXPLORATORY
    tables.write_csv(args.csv, table)


if __name__ == "__main__":
    cli.run(main)
