"""The last lines of a run: verdicts in words within 100 columns, and where everything is."""

import io
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from rich.console import Console

from rope_spectra.analysis import summary_table
from rope_spectra.analysis.endpoints import Plan
from rope_spectra.artifacts import layout
from rope_spectra.config.design import Design
from rope_spectra.report import ending
from support.designs import make_design

LONG = "anchpoly_p3.9_omf0.3_t500k"


def shown(design: Design, ppl: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> str:
    """The lines for made-up perplexities at the longest length, in the folder of a test."""
    fixed = {"experiment": "demo", "remap": "none", "protocol": "full", "tokens": 1000}
    rows = [
        {**fixed, "spectrum": name, "seed": seed, "length": length, "ppl": value + 0.01 * seed}
        for name, value in ppl.items()
        for seed in design.seeds
        for length in (64, 128)
    ]
    contrasts = [name for name in ppl if name != design.baseline]
    plan = Plan(design.primary)
    runs = pd.DataFrame(rows)
    table = summary_table.summarize(runs, design.baseline, contrasts, 0.01, plan=plan)
    path = Path(layout.EXPERIMENT_SUMMARY.format(experiment="demo"))
    path.parent.mkdir(parents=True)
    table.assign(dataset="toy", model="tiny", training="tiny", phase="all").to_csv(path)
    monkeypatch.setattr(ending.frozen, "design", lambda *_: design)
    console = Console(file=io.StringIO(), width=100, highlight=False)
    config = SimpleNamespace(run=["demo"], tabulated=["demo"], sought=["quest"])
    for line in ending.lines(config, "snakemake"):
        console.print(line, soft_wrap=False)
    return console.file.getvalue()


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_verdict_is_in_words_with_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    primary = {"metric": "ppl", "length": 128}
    design = make_design("geo", "own", seeds=[1, 2, 3, 4, 5, 6], primary=primary)
    text = shown(design, {"geo": 8.0, "own": 4.0}, monkeypatch)
    assert "perplexity at 128 tokens, against geo, paired by seed" in text
    (row,) = (line for line in text.splitlines() if line.startswith("own"))
    assert row.split()[-4:] == ["6", "of", "6", "better"]
    assert "0.0312" in row.split()
    assert "results/quest/summary.md" in text
    assert "results/quest/best.yaml" in text


def test_names_that_look_like_numbers_stay_names(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(make_design("007", "nan"), {"007": 8.0, "nan": 4.0}, monkeypatch)
    assert "against 007" in text
    assert any(line.startswith("nan") for line in text.splitlines())


def test_too_few_seeds_say_what_they_show(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(make_design("geo", "own"), {"geo": 8.0, "own": 4.0}, monkeypatch)
    assert "3 of 3 seeds better; 3 seeds" in " ".join(text.split())


def test_it_says_where_pages_figures_and_the_report_are(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(make_design("geo", "own"), {"geo": 8.0, "own": 4.0}, monkeypatch)
    files = ["summary.md", "interactive.html", "figures/*.svg"]
    places = [f"results/demo/{file}" for file in files]
    for place in [*places, "snakemake --report report.html"]:
        assert place in text


def test_many_long_names_fit_100_columns_and_one_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{LONG}_{number}" for number in range(30)]
    design = make_design("geo", *names)
    ppl = {name: 4.0 + number for number, name in enumerate(names)} | {"geo": 8.0}
    lines = shown(design, ppl, monkeypatch).splitlines()
    assert max(map(len, lines)) <= 100
    assert len(lines) < 50
    assert any("and 18 more" in line for line in lines)


def test_one_spectrum_is_compared_with_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(make_design("geo"), {"geo": 8.0}, monkeypatch)
    assert "ratio" not in text
    assert "results/demo/summary.md" in text
