"""Put the tables of several experiments into one (rule summary).

    python -m rope_spectra.summary --experiments results/demo/summary.csv \\
        --csv results/summary.csv --md results/summary.md

--experiments are those of this run. Other experiments next to --csv are kept in the tables and
marked (column `in_run`); one whose table is not whole is left out, with a line that says so.
"""

from pathlib import Path

import pandas as pd

from rope_spectra.analysis import lineage
from rope_spectra.analysis.lineage import TablesRecord
from rope_spectra.analysis.summary_table import COLUMNS
from rope_spectra.artifacts import files, tables
from rope_spectra.config import appearance
from rope_spectra.config.appearance import Appearance
from rope_spectra.report import markdown, overall
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--experiments", type=Path, nargs="+", required=True, help="summary.csv of each experiment"
    )
    parser.add_argument(
        "--appearances", type=Path, nargs="*", default=[], help="appearance.json of each experiment"
    )
    cli.add_paths(
        parser,
        csv="where to write the joined table",
        md="where to write the page for reading",
    )
    args = cli.parse(parser)

    records = {path: lineage.check_table(path) for path in args.experiments}
    others = _others(args.csv, args.experiments)
    parts = [tables.read_csv(path).assign(in_run=path in records) for path in [*records, *others]]
    summary = pd.concat(parts, ignore_index=True)
    designs = [record.definition for record in [*records.values(), *others.values()]]
    with files.atomic_all(args.csv, args.md) as (csv, md):
        csv.write_text(tables.as_csv(summary), encoding="utf-8")
        page = markdown.relabeled(overall.page(summary, designs), _labels(args.appearances))
        md.write_text(page, encoding="utf-8")


def _labels(paths: list[Path]) -> Appearance:
    """The labels of the spectra of all experiments; a spectrum has one label in all of them."""
    labels: dict[str, str] = {}
    for path in paths:
        labels |= appearance.read(path).labels
    return Appearance(labels=labels)


def _others(csv: Path, own: list[Path]) -> dict[Path, TablesRecord]:
    """The tables of other experiments in the folder of the joined one, by name."""
    found = {}
    # That of a search is a folder deeper: its confirmation.
    patterns = (f"*/{own[0].name}", f"*/*/{own[0].name}")
    for path in sorted(path for pattern in patterns for path in csv.parent.glob(pattern)):
        if path in own:
            continue
        try:
            record = lineage.check_table(path)
        except UserError as error:
            cli.log.warning("left out: %s", error)
            continue
        if set(COLUMNS) <= set(tables.read_csv(path)):
            found[path] = record
        else:
            cli.log.warning("left out: %s: of an older version; build that experiment again", path)
    return found


if __name__ == "__main__":
    cli.run(main)
