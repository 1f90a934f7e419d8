"""What trained models use, from the runs of an experiment to its tables, figures and page."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rope_spectra.artifacts import layout, seal
from rope_spectra.config import frozen
from rope_spectra.config.design import Design
from rope_spectra.config.load import load
from support import small_experiment as small
from support.checkout import fresh_checkout, planned

DATA = "results/data/toy/validation"


def usage_arguments(folder: Path) -> list[object]:
    text = ("--tokens", f"{DATA}.npy", "--manifest", f"{DATA}.json")
    return ["--run", folder, "--settings", "results/small/usage.json", *text, "--threads", 1]


def table_arguments() -> list[object]:
    tables = {
        "--csv": "usage.csv",
        "--runs": "usage_runs.csv",
        "--attention": "usage_attention.csv",
    }
    paths = [part for option, name in tables.items() for part in (option, f"results/small/{name}")]
    design = ("--definition", "results/small/experiment.json")
    return [*design, *paths, "--figures", "results/small/figures"]


@pytest.fixture(scope="module")
def design(tmp_path_factory: pytest.TempPathFactory) -> Design:
    """An experiment, measured, in the working directory."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("used"))
    try:
        made = small.make_experiment()
        loaded = load(small.EXPERIMENT)
        settings = loaded.evaluation_of("small").usage_settings
        small.freeze(Path("results/small/usage.json"), settings)
        for run in made.runs:
            small.done("usage", *usage_arguments(small.folder_of(*run)))
        small.done("usage_table", *table_arguments())
        usage = ("--usage", "results/small/usage_runs.csv")
        small.done("page", *small.page_arguments(made), *usage)
        yield made
    finally:
        os.chdir(before)


def test_runs_are_measured_tabulated_drawn_and_on_the_page(design: Design) -> None:
    pairs = pd.read_csv("results/small/usage.csv")
    assert len(pairs) == 2 * 4
    assert set(pairs["seeds"]) == {"1 2"}
    runs = pd.read_csv("results/small/usage_runs.csv")
    assert list(zip(runs["spectrum"], runs["seed"], strict=True)) == sorted(design.runs)
    attention = pd.read_csv("results/small/usage_attention.csv")
    masses = attention.groupby(["spectrum", "length", "layer"])["mass_mean"].sum()
    np.testing.assert_allclose(masses, 1.0, rtol=1e-6)
    assert set(attention["length"]) == {16, 32}
    for figure in layout.USAGE_FIGURES:
        assert Path(figure.format(experiment="small")).read_text().startswith("<?xml")
    assert "## What the models use" in Path("results/small/summary.md").read_text()


def test_a_second_measurement_has_equal_bytes(design: Design, tmp_path: Path) -> None:
    folder = small.folder_of(*design.runs[0])
    small.done("usage", *usage_arguments(folder), "--output", tmp_path)
    for name in ("usage.npz", "usage.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_damage_and_other_settings_are_one_line(design: Design) -> None:
    arrays = small.folder_of(*design.runs[0]) / "usage.npz"
    whole = arrays.read_bytes()
    arrays.write_bytes(whole[:-1] + b"x")
    status, lines = small.step("usage_table", *table_arguments())
    arrays.write_bytes(whole)
    assert status == 1
    assert "usage.npz: not the file that" in lines[-1]
    frozen_file = Path("results/small/usage.json")
    before = frozen_file.read_text()
    small.freeze(frozen_file, {"length": 32, "tokens": 64})
    status, lines = small.step("usage_table", *table_arguments())
    frozen_file.write_text(before)
    assert status == 1
    assert "usage.json: was made from another settings.tokens" in lines[-1]
    assert lines[-1].endswith("delete it and run again")


def test_a_measurement_on_other_text_than_the_evaluation_is_refused(design: Design) -> None:
    record = small.folder_of(*design.runs[0]) / "usage.json"
    before = record.read_bytes()
    content = seal.read(record)
    content["data"] |= {"sha256": "0" * 64}
    record.write_text(seal.text(content))
    status, lines = small.step("usage_table", *table_arguments())
    record.write_bytes(before)
    assert status == 1
    assert "usage.json: was made from another data.sha256" in lines[-1]


def test_a_text_that_is_too_short_is_one_line(design: Design, tmp_path: Path) -> None:
    settings = small.freeze(tmp_path / "usage.json", {"length": 200, "tokens": 1})
    arguments = usage_arguments(small.folder_of(*design.runs[0]))
    arguments[arguments.index("results/small/usage.json")] = settings
    status, lines = small.step("usage", *arguments)
    assert status == 1
    assert lines == [
        "error: usage: length 200 needs one token more than that, the validation split has 200;"
        " lower the longest of lengths or raise validation_tokens"
    ]


def test_switching_it_on_leaves_evaluations_and_designs_as_they_are() -> None:
    used = {"toy": small.EXPERIMENT["evaluation"]["toy"] | {"usage": True, "usage_tokens": 7}}
    off, on = load(small.EXPERIMENT), load(small.EXPERIMENT | {"evaluation": used})
    for settings in (frozen.evaluation_settings, frozen.design):
        assert seal.dumps(settings(off, "small").content()) == seal.dumps(
            settings(on, "small").content()
        )
    assert on.evaluation_of("small").usage_settings.content() == {"length": 32, "tokens": 7}


def test_snakemake_plans_a_job_for_every_run(tmp_path: Path) -> None:
    project = fresh_checkout(tmp_path)
    (project / "used.yaml").write_text("evaluation: {quick: {usage: true}}\n")
    files = ("--configfile", "quick.yaml", "used.yaml")
    plan = planned(project, *files)
    assert (plan["usage"], plan["usage_config"], plan["usage_table"]) == (4, 1, 1)
    assert "usage" not in planned(project, "--configfile", "quick.yaml")
