"""The meanings of the columns: one text for the documentation and the pages."""

import re
from collections import Counter
from pathlib import Path

from rope_spectra.artifacts.columns import Columns, explained, meanings
from rope_spectra.training.run import LogRow
from support.checkout import ROOT

STATISTICS = ROOT / "docs/statistics.md"
# Single runs, which docs/statistics.md does not go into.
ELSEWHERE = {"train.csv", "eval.csv"}


def tables_of(page: Path) -> list[str]:
    """The rows of each table of columns in a page."""
    header = r"^\| column \| meaning \|\n\|---\|---\|\n((?:\|.*\n)+)"
    return re.findall(header, page.read_text(), re.MULTILINE)


def as_rows(entries: list[Columns]) -> str:
    lines = []
    for columns in entries:
        names = ", ".join(f"`{name}`" for name in columns.names)
        lines.append(f"| {names} | {columns.meaning} |\n")
    return "".join(lines)


def test_the_page_on_statistics_says_what_columns_yaml_says() -> None:
    ours = [as_rows(each) for name, each in explained().items() if name not in ELSEWHERE]
    assert tables_of(STATISTICS) == ours


def test_no_column_of_a_table_is_explained_twice() -> None:
    names = Counter(
        (table, name)
        for tables, entries in explained().items()
        for table in tables.split()
        for columns in entries
        for name in columns.names
    )
    assert [each for each, count in names.items() if count > 1] == []


def test_a_column_is_found_by_its_table() -> None:
    assert "Student" in meanings("summary.csv")["ppl_ci95_low"]
    assert "baseline" in meanings("frontier.csv")["delta_accuracy"]
    assert meanings("retrieval_runs.csv")["task"] == meanings("retrieval.csv")["task"]
    assert set(meanings("train.csv")) == set(LogRow.__annotations__)
    assert meanings("nope.csv") == {}
