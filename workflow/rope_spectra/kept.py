"""The finished results in results/.kept: how much there is, and what no experiment has any more.

    python -m rope_spectra.kept            # in the folder of the project
    python -m rope_spectra.kept --clean    # removes what no experiment has

A result that an experiment has is a hard link there, so it takes no space of its own. Without an
experiment it saves the time to make it again, as when a setting is changed back.
"""

import shutil
from pathlib import Path

from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from rope_spectra.artifacts.kept import Use
from rope_spectra.planning import finished
from rope_spectra.runtime import cli, stale_locks
from rope_spectra.runtime.errors import UserError


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--clean", action="store_true", help="remove what no experiment has")
    args = cli.parse(parser)

    # Between the deletion of an old result and the end of its job the store has the only one.
    if args.clean and stale_locks.is_in_use(Path(".snakemake")):
        raise UserError("--clean: Snakemake is at work in this folder; wait until it has ended")
    usage = finished.usage()
    if not any(use.count for use in usage):
        print("no results are kept here")
        return
    Console().print(_table(usage))
    if args.clean:
        for use in usage:
            for entry in use.unused:
                shutil.rmtree(entry)
        print(f"{decimal(sum(use.unused_size for use in usage))} removed")


def _table(usage: list[Use]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("kind")
    for name in ("results", "size", "in no experiment", "size"):
        table.add_column(name, justify="right")
    for use in usage:
        numbers = (use.count, decimal(use.size), len(use.unused), decimal(use.unused_size))
        table.add_row(use.kind, *map(str, numbers))
    return table


if __name__ == "__main__":
    cli.run(main)
