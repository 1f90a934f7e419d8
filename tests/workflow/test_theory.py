"""Theory and hypotheses of an experiment, from its runs to the page."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from rope_spectra.artifacts import seal
from rope_spectra.config.design import Design
from support import small_experiment as small
from support.checkout import planned

CLAIM = {
    "source": "us (2026)",
    "claim": "hybrid_a0.2_t100k better than geo_500k",
    "measure": "ppl",
}
ORDER = {"source": "them", "diagnostic": "critical_dimension", "sign": "negative", "measure": "ppl"}
TABLES = ("theory", "hypotheses")


@pytest.fixture
def results(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The results of the experiment quick in the working directory."""
    folder = tmp_path / "results" / "quick"
    shutil.copytree(finished / "results" / "quick", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def declared(results: Path, **hypotheses: dict[str, str]) -> Design:
    """The design with these hypotheses instead of its own, and its tables made again."""
    content = seal.load_settings(results / "experiment.json", Design).content()
    design = Design.model_validate(content | {"hypotheses": hypotheses})
    small.freeze(results / "experiment.json", design)
    small.done("aggregate", *options(definition="experiment.json", runs="runs.csv"), *CSV)
    return design


CSV = ("--csv", "results/quick/summary.csv")


def options(**files: str) -> list[str]:
    return [word for name, file in files.items() for word in (f"--{name}", f"results/quick/{file}")]


def page_of(results: Path) -> str:
    """The page with the two tables, which are made first."""
    for name in TABLES:
        small.done(name, *options(definition="experiment.json", csv=f"{name}.csv"))
    files = {"definition": "experiment.json", "summary": "summary.csv", "output": "summary.md"}
    small.done("page", *options(**files, theory="theory.csv", hypotheses="hypotheses.csv"))
    return (results / "summary.md").read_text()


def test_both_tables_and_their_sections_of_the_page(results: Path) -> None:
    # Nothing was trained when this declaration was sealed, as far as it can tell.
    (results / "declaration.json").unlink()
    declared(results, shape=CLAIM | {"source": "us (2026)\nof two lines"}, order=ORDER)
    page = page_of(results)
    theory = pd.read_csv(results / "theory.csv")
    assert set(theory["measure"]) == {"ppl"}
    assert set(theory["n_spectra"]) == set(theory["n_seeds"]) == {2}
    assert "over 2 spectra within each seed; mean over 2 seeds" in page
    assert "| critical_dimension " in page
    table = pd.read_csv(results / "hypotheses.csv")
    assert table["hypothesis"].to_list() == ["order", "shape"]
    assert table["verdict"].to_list() == ["open", "open"]  # two seeds and two spectra are too few
    section = page.partition("## Hypotheses")[2].partition("##")[0]
    assert "| hybrid_a0.2_t100k better than geo_500k | log PPL at 256 |" in section
    assert "- shape: us (2026) of two lines" in section
    assert "exploratory" not in section


def test_a_hypothesis_that_came_after_the_runs_is_exploratory(results: Path) -> None:
    (results / "declaration.json").unlink()
    declared(results, shape=CLAIM, order=ORDER)
    declared(results, shape=CLAIM | {"measure": "degradation"}, order=ORDER)
    page = page_of(results)
    table = pd.read_csv(results / "hypotheses.csv")
    assert table["verdict"].to_list() == ["open", "exploratory"]
    assert "added or changed after the first run" in page
    assert "all verdicts are exploratory" not in page


def test_without_hypotheses_there_is_one_line(results: Path) -> None:
    status, lines = small.step(
        "hypotheses", *options(definition="experiment.json", csv="hypotheses.csv")
    )
    assert status == 1
    assert "quick has no hypotheses; give it some" in lines[-1]


def test_snakemake_makes_them_where_there_are_five_spectra_or_a_hypothesis(
    fresh: Path, tmp_path: Path
) -> None:
    (tmp_path / "many.yaml").write_text(
        "experiments:\n"
        "  quick:\n"
        "    spectra: [geo_10k, geo_100k, geo_200k, geo_500k, hybrid_a0.2_t100k]\n"
        "    hypotheses: {h: {source: us, claim: geo_10k better than geo_500k}}\n"
    )
    jobs = planned(fresh, "--configfile", "quick.yaml", str(tmp_path / "many.yaml"))
    assert (jobs["theory"], jobs["hypotheses"]) == (1, 1)
