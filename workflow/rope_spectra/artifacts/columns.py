"""The meaning of every column of the tables in results/, from columns.yaml."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

_FACTS = Path(__file__).with_name("columns.yaml")


@dataclass(frozen=True)
class Columns:
    """Columns that are explained together; `meaning` is Markdown."""

    names: tuple[str, ...]
    meaning: str


@cache
def explained() -> dict[str, list[Columns]]:
    """The columns by table, in the order of the file.

    Where several tables share columns, all of them are in the key: `retrieval_runs.csv
    retrieval.csv`.
    """
    facts = yaml.safe_load(_FACTS.read_text(encoding="utf-8"))
    return {
        tables: [Columns(tuple(each["columns"]), each["meaning"].strip()) for each in columns]
        for tables, columns in facts.items()
    }


def of_table(table: str) -> list[Columns]:
    """The columns of a table, such as `summary.csv`; none for one that is not explained."""
    return [
        columns
        for tables, entries in explained().items()
        if table in tables.split()
        for columns in entries
    ]


def meanings(table: str) -> dict[str, str]:
    """The meaning of each column of a table by its name."""
    return {name: columns.meaning for columns in of_table(table) for name in columns.names}
