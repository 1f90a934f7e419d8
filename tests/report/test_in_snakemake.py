"""The page of --report: tables that open, run times that are drawn, short parameters."""

import base64
import json
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

from rope_spectra.artifacts import seal
from rope_spectra.config.appearance import Appearance
from rope_spectra.report import in_snakemake


@pytest.fixture
def data() -> ModuleType:
    """A stand-in for snakemake.report.html_reporter.data: what it renders is what it is given."""
    module = ModuleType("data")
    module.render_results = lambda results, _: json.dumps(results)
    module.render_runtimes = json.dumps
    in_snakemake.see(module)
    in_snakemake.see(module)  # a Snakefile can be read twice
    return module


def entry(params: str = "") -> dict[str, Any]:
    return {"mime_type": "text/csv", "data_uri": "raw", "job_properties": {"params": params}}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "summary.csv"
    path.write_text("spectrum,n_seeds,ppl_mean,verdict\ngeo,3,4.123456789,\nown+yarn,3,inf,<b>&\n")
    shown = Appearance(labels={"geo": "Geometric <θ>"})
    seal.freeze(tmp_path / "appearance.json", shown.content())
    return path


def cells(page: str) -> list[list[str]]:
    body = page[page.index("<tbody>") : page.index("</tbody>")] + "</tbody>"
    return [["".join(cell.itertext()) for cell in row] for row in ElementTree.fromstring(body)]


def test_a_table_has_labels_four_digits_meanings_and_the_file_itself(table: Path) -> None:
    page = in_snakemake.as_page(table)
    assert cells(page) == [
        ["Geometric <θ>", "3", "4.123", ""],
        ["own+yarn", "3", "inf", "<b>&"],
    ]
    assert 'title="4.123456789"' in page
    assert page.count("<th title=") == 4
    assert '<th title="">' not in page
    assert base64.b64encode(table.read_bytes()).decode() in page


def test_a_long_table_shows_its_first_rows_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a\n" + "1\n" * (in_snakemake.MOST_ROWS + 5))
    page = in_snakemake.as_page(path)
    assert len(cells(page)) == in_snakemake.MOST_ROWS
    assert f"{in_snakemake.MOST_ROWS + 5} rows, the first {in_snakemake.MOST_ROWS} of" in page


def test_tables_open_in_the_page_and_stay_files_in_a_zip(data: Any, table: Path) -> None:
    results = {str(table): entry(), "a.svg": entry()}
    shown = json.loads(data.render_results(results, True))
    assert shown[str(table)]["mime_type"] == "text/html"
    content = shown[str(table)]["data_uri"].partition("base64,")[2]
    assert base64.b64decode(content).decode() == in_snakemake.as_page(table)
    assert shown["a.svg"] == entry()
    assert json.loads(data.render_results(results, False)) == results


def test_long_parameters_are_cut(data: Any) -> None:
    shown = json.loads(data.render_results({"a": entry("x" * 5000), "b": entry("short")}, True))
    assert len(shown["a"]["job_properties"]["params"]) < 110
    assert shown["b"]["job_properties"]["params"] == "short"


def test_jobs_without_a_time_are_drawn_at_the_edge(data: Any) -> None:
    """A log axis has no place for 0 s, nor for a result that is older than its job."""
    times = [{"rule": "a", "runtime": time} for time in (0.0, -5.0, 2.5)]
    drawn = [each["runtime"] for each in json.loads(data.render_runtimes(times))]
    assert drawn == [in_snakemake.SHORTEST, in_snakemake.SHORTEST, 2.5]
