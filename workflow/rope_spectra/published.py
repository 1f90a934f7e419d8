"""Compare our own runs with those that the study published (rule published).

    python -m rope_spectra.published --experiment unified_search \\
        --runs results/unified_search/runs.csv --csv results/unified_search/published.csv \\
        --figure results/unified_search/figures/published.svg

The published numbers and what is comparable with them: analysis/published.py.
"""

from pathlib import Path

from rope_spectra.analysis import lineage, published
from rope_spectra.analysis.counterparts import COUNTERPARTS
from rope_spectra.artifacts import tables
from rope_spectra.config import appearance
from rope_spectra.report import panels, style
from rope_spectra.report import published as drawing
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--experiment", required=True, help="name of the experiment whose published runs are meant"
    )
    cli.add_paths(
        parser,
        runs="runs.csv of our runs",
        csv="where to write the comparison",
        figure="where to draw it, as SVG",
    )
    cli.add_paths(parser, required=False, appearance="appearance.json: how spectra are shown")
    args = cli.parse(parser)

    # A table made by hand has no record.
    if lineage.record_of(args.runs).exists():
        found = lineage.check_table(args.runs).definition.experiment
        if found != args.experiment:
            raise UserError(
                f"{args.runs}: is of the experiment {found}, not of {args.experiment};"
                " give the runs.csv of that one"
            )
    with style.applied(appearance.read(args.appearance)):
        write(args.experiment, args.runs, args.csv, args.figure)


def write(experiment: str, runs: Path, csv: Path, figure: Path) -> None:
    """Compare a table of runs with the published ones; publish table and figure.

    Raises UserError if they have nothing in common.
    """
    if experiment not in COUNTERPARTS:
        raise UserError(
            f"--experiment: {experiment} has no published counterpart;"
            f" use one of {', '.join(COUNTERPARTS)}"
        )
    theirs = published.published_runs(experiment)
    ours = published.read_runs(runs)
    comparison = published.compare(theirs, ours)
    if comparison.empty:
        lengths = ", ".join(map(str, theirs["length"].unique()))
        raise UserError(
            f"{runs}: has no spectrum and length of the published {experiment};"
            f" evaluate its spectra at any of {lengths}"
        )
    tables.write_csv(csv, comparison)
    points = drawing.points(theirs, ours, comparison)
    style.save(panels.published_v_ours(points, drawing.caption(points)), figure)
    cli.log.info("%s: %d means compared with the published ones", csv, len(comparison))


if __name__ == "__main__":
    cli.run(main)
