"""docs/explore.ipynb runs from its first cell to its last, on other results than those it shows."""

from pathlib import Path

import pytest

from support.checkout import ROOT

NOTEBOOK = ROOT / "docs/explore.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(finished: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="no Jupyter; make installs it")
    nbclient = pytest.importorskip("nbclient", reason="no Jupyter; make installs it")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (parameters,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", ()))
    assert parameters.source == 'experiment = "demo"'
    parameters.source = 'experiment = "quick"'
    where = {"metadata": {"path": str(finished)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=where).execute()
    shown = [
        kind
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        for kind in output.get("data", ())
    ]
    assert shown.count("image/png") == 4
    text = "".join(str(cell.get("outputs", "")) for cell in notebook.cells)
    assert "<Run quick/geo_500k/seed1>" in text
    assert "hybrid_a0.2_t100k - geo_500k: " in text


def test_the_notebook_shows_what_its_cells_gave() -> None:
    nbformat = pytest.importorskip("nbformat", reason="no Jupyter; make installs it")
    code = [c for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert "error" not in {output.output_type for output in outputs}
    assert sum("image/png" in output.get("data", ()) for output in outputs) == 4
