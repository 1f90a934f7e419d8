"""Tabulate and draw the results of the retrieval probe (rule retrieval).

    python -m rope_spectra.retrieval --definition results/retrieval_small/experiment.json \\
        --csv results/retrieval_small/retrieval.csv \\
        --runs results/retrieval_small/retrieval_runs.csv \\
        --figure results/retrieval_small/figures/retrieval.svg

Reads every run's eval.npz but those of seeds that serve selection. Where the evaluation preset has
tasks, the tables have rows for each of them.
"""

from rope_spectra.analysis import lineage, retrieval_table, retrieval_tasks
from rope_spectra.analysis.runs import read_retrieval, read_shares, read_tasks
from rope_spectra.artifacts import seal, tables
from rope_spectra.config import appearance
from rope_spectra.config.design import Design
from rope_spectra.report import figures, retrieval_figures, style
from rope_spectra.runtime import cli


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        definition="experiment.json: the experiment's design",
        csv="where to write the table of the spectra",
        runs="where to write the table of the runs",
        figure="where to draw it, as SVG",
    )
    cli.add_paths(parser, required=False, appearance="appearance.json: how spectra are shown")
    args = cli.parse(parser)

    design = seal.load_settings(args.definition, Design)
    lineage.check(design)
    if design.retrieval and design.retrieval.tasks:
        asked = read_tasks(design)
        runs = retrieval_tasks.by_run(asked)
        shares = read_shares(design)
        summary = retrieval_tasks.summarize(asked, design.baseline, design.contrasts, shares)
    else:
        runs = retrieval_table.by_run(read_retrieval(design))
        summary = retrieval_table.summarize(runs, design.baseline, design.contrasts)
    for path, table in ((args.runs, runs), (args.csv, summary)):
        table.insert(0, "experiment", design.experiment)
        tables.write_csv(path, table)
    with style.applied(appearance.read(args.appearance)):
        if "task" in summary:
            figure = retrieval_figures.by_length(design, summary)
        else:
            figure = figures.draw_retrieval(design, runs)
        style.save(figure, args.figure)


if __name__ == "__main__":
    cli.run(main)
