"""Write the interactive page of an experiment from its tables (rule interactive).

    python -m rope_spectra.interactive --definition results/demo/experiment.json \\
        --runs results/demo/runs.csv --summary results/demo/summary.csv \\
        --output results/demo/interactive.html

One HTML file with all that it needs, so it works offline: charts by length and at one length, in
which spectra, seeds and intervals can be hidden, and the summary as a table that can be sorted.
--frontier adds the retrieval endpoint against the primary one. It is made from tables alone, after
tables.json next to them has certified the first two.
"""

from rope_spectra.analysis import lineage
from rope_spectra.artifacts import files, seal, tables
from rope_spectra.config import appearance
from rope_spectra.config.design import Design
from rope_spectra.report import interactive, style
from rope_spectra.runtime import cli


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        definition="experiment.json: the experiment's design",
        runs="its runs.csv",
        summary="its summary.csv",
        output="where to write the page",
    )
    cli.add_paths(
        parser,
        required=False,
        appearance="appearance.json: how spectra are shown",
        frontier="its frontier.csv, if it has one",
    )
    args = cli.parse(parser)

    design = seal.load_settings(args.definition, Design)
    for table in (args.runs, args.summary):
        lineage.check_table_of(design, table)
    with style.applied(appearance.read(args.appearance)):
        page = interactive.page(
            design,
            tables.read_csv(args.runs),
            tables.read_csv(args.summary),
            tables.read_csv(args.frontier) if args.frontier else None,
        )
    files.write_text(args.output, page)


if __name__ == "__main__":
    cli.run(main)
