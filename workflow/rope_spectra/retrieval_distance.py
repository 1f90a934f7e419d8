"""Tabulate and draw the retrieval probe by distance and length (rule retrieval_distance).

    python -m rope_spectra.retrieval_distance \\
        --definition results/frontier_small/experiment.json \\
        --csv results/frontier_small/retrieval_distance.csv \\
        --figure results/frontier_small/figures/retrieval_distance.svg

For experiments whose evaluation preset has tasks. Reads every run's eval.npz but those of seeds
that serve selection.
"""

from rope_spectra.analysis import lineage, retrieval_tasks
from rope_spectra.analysis.runs import read_tasks
from rope_spectra.artifacts import seal, tables
from rope_spectra.config import appearance
from rope_spectra.config.design import Design
from rope_spectra.report import retrieval_figures, style
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
    if design.retrieval is None or design.retrieval.tasks is None:
        raise UserError(
            f"{args.definition}: this experiment asks no tasks, so it has no distances; give its"
            " evaluation preset retrieval with tasks"
        )
    lineage.check(design)
    table = retrieval_tasks.by_distance(read_tasks(design), design.train_length)
    table.insert(0, "experiment", design.experiment)
    tables.write_csv(args.csv, table)
    with style.applied(appearance.read(args.appearance)):
        style.save(retrieval_figures.by_distance(design, table), args.figure)


if __name__ == "__main__":
    cli.run(main)
