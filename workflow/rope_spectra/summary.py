"""Put the tables of several experiments into one (rule summary).

    python -m rope_spectra.summary --experiments results/*/summary.csv \\
        --csv results/summary.csv --md results/summary.md
"""

from pathlib import Path

import pandas as pd

from rope_spectra.analysis import lineage
from rope_spectra.artifacts import files, tables
from rope_spectra.report import pages
from rope_spectra.runtime import cli


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--experiments", type=Path, nargs="+", required=True, help="summary.csv of each experiment"
    )
    cli.add_paths(
        parser,
        csv="where to write the joined table",
        md="where to write the leaderboard for reading",
    )
    args = cli.parse(parser)

    for path in args.experiments:
        lineage.check_table(path)
    summary = pd.concat([tables.read_csv(path) for path in args.experiments], ignore_index=True)
    with files.atomic_all(args.csv, args.md) as (csv, md):
        csv.write_text(tables.as_csv(summary), encoding="utf-8")
        md.write_text(pages.overall_page(summary), encoding="utf-8")


if __name__ == "__main__":
    cli.run(main)
