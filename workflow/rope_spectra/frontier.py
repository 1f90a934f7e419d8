"""Tabulate and draw the primary endpoint against retrieval (rule frontier).

    python -m rope_spectra.frontier --definition results/frontier_small/experiment.json \\
        --csv results/frontier_small/frontier.csv \\
        --figure results/frontier_small/figures/frontier.svg

One row and one point for each spectrum, with the verdicts on the retrieval endpoint. Reads the
eval.npz of the runs in tables.json but of those that serve selection.
"""

from rope_spectra.analysis import frontier, lineage
from rope_spectra.analysis.runs import read_runs, read_trials
from rope_spectra.artifacts import layout, seal, tables
from rope_spectra.config import appearance
from rope_spectra.config.design import Design
from rope_spectra.report import frontier_figure, style
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        definition="experiment.json: the experiment's design",
        csv="where to write the table",
        figure="where to draw it, as SVG",
    )
    cli.add_paths(parser, required=False, appearance="appearance.json: how spectra are shown")
    args = cli.parse(parser)

    design = seal.load_settings(args.definition, Design)
    if design.primary is None or design.retrieval_endpoint is None:
        raise UserError(
            f"{args.definition}: declares no two endpoints; give experiments.{design.experiment}"
            " the keys primary and retrieval"
        )
    lineage.check(design)
    summary = layout.fill(layout.EXPERIMENT_SUMMARY, experiment=design.experiment)
    record = lineage.check_table(summary)
    # Tables of a part of the runs (--partial) have a frontier too.
    runs = [run for run in design.confirming_runs if "{}/seed{}".format(*run) in record.evaluations]
    trials = read_trials(design, runs, design.retrieval_endpoint.length)
    measured = frontier.measure(design, *read_runs(design, runs), trials)
    is_changed = record.declaration is not None and bool(record.declaration.changes)
    table = frontier.frontier_table(design, measured, is_changed)
    tables.write_csv(args.csv, table)
    with style.applied(appearance.read(args.appearance)):
        style.save(frontier_figure.draw(design, table), args.figure)


if __name__ == "__main__":
    cli.run(main)
