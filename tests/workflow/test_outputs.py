"""docs/outputs.md names every file, column and array of results/."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from rope_spectra.artifacts import layout
from rope_spectra.artifacts.columns import explained, meanings
from support.checkout import ROOT

PAGE = (ROOT / "docs/outputs.md").read_text()
PROTOCOL = (ROOT / "docs/protocol.md").read_text()
ON_THIS_PAGE = ("train.csv", "eval.csv")


def patterns() -> set[str]:
    """The paths of layout, as the documentation writes them; figures are named by themselves."""
    found = {
        value
        for name, value in vars(layout).items()
        if isinstance(value, str) and value.startswith("results/")
        if name in ("_LOG", "_BENCHMARK") or not name.startswith("_")
    }
    found = {path for path in found if "/figures/" not in path} | {layout.FIGURE}
    return {re.sub(r"{(\w+)}", r"<\1>", path) for path in found}


def arrays(page: str) -> list[str]:
    """The names of arrays in a page, as regular expressions."""
    names = re.findall(r"`((?:<remap>|attention|trained|stilled|slower|norm)/[^`]+|bytes)`", page)
    return [re.sub(r"<\w+>", "[^/]+", name) for name in names]


def test_every_file_of_the_layout_is_described_once() -> None:
    described = re.findall(r"^\| `(results/[^`]+)` \| \S", PAGE, re.MULTILINE)
    assert sorted(described) == sorted(patterns())


def test_every_figure_is_named() -> None:
    paths = [path for path in vars(layout).values() if isinstance(path, str)]
    paths += [*layout.USAGE_FIGURES, *layout.SEARCH_FIGURES]
    known = [Path(path).stem for path in paths if path.endswith(".svg") and path != layout.FIGURE]
    assert len(known) > 10
    assert [name for name in [*layout.FIGURES, *known] if f"`{name}`" not in PAGE] == []


def test_the_columns_of_this_page_are_those_of_columns_yaml() -> None:
    for table in ON_THIS_PAGE:
        rows = [
            f"| {', '.join(f'`{name}`' for name in columns.names)} | {columns.meaning} |\n"
            for columns in explained()[table]
        ]
        assert f"`{table}`:\n\n| column | meaning |\n|---|---|\n{''.join(rows)}\n" in PAGE


def test_every_table_of_a_finished_experiment_has_its_columns_explained(finished: Path) -> None:
    experiment = finished / "results/quick"
    tables = [*experiment.glob("*.csv"), *experiment.glob("*/seed1/*.csv")]
    assert {"runs.csv", "summary.csv", "train.csv"} <= {table.name for table in tables}
    missing = {
        (table.name, column)
        for table in tables
        for column in pd.read_csv(table).columns
        if column not in meanings(table.name)
    }
    assert missing == set()


def test_every_array_is_named_here_and_defined_in_the_protocol(finished: Path) -> None:
    assert set(arrays(PAGE)) >= set(arrays(PROTOCOL))
    with np.load(finished / "results/quick/geo_500k/seed1/eval.npz") as file:
        keys = list(file)
    assert keys
    for page in (PAGE, PROTOCOL):
        unknown = [key for key in keys if not any(re.fullmatch(a, key) for a in arrays(page))]
        assert unknown == []
