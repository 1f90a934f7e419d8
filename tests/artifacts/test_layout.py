"""The paths of results/: no name of a user's can stand where the workflow puts something else."""

import re
from pathlib import Path

import pytest

from rope_spectra.artifacts import layout
from rope_spectra.runtime.errors import UserError


def test_names_are_reserved_for_all_that_the_workflow_writes() -> None:
    assert set(layout.RESERVED_NAMES["experiments"]) == {
        "data",
        "logs",
        "tensorboard",
        "summary.csv",
        "summary.md",
        ".kept",
    }
    assert set(layout.RESERVED_NAMES["spectra"]) == {
        "appearance.json",
        "experiment.json",
        "options.json",
        "search.json",
        "candidates.json",
        "declaration.json",
        "evaluation.json",
        "runs.csv",
        "summary.csv",
        "summary.md",
        "interactive.html",
        "spectra.csv",
        "tables.json",
        "noise_floor.csv",
        "published.csv",
        "retrieval.csv",
        "retrieval_runs.csv",
        "retrieval_distance.csv",
        "usage.json",
        "usage.csv",
        "usage_runs.csv",
        "usage_attention.csv",
        "theory.csv",
        "hypotheses.csv",
        "frontier.csv",
        "rates.csv",
        "figures",
        "ro-crate-metadata.json",
    }


def test_the_runs_of_a_search_are_found_in_its_parts(tmp_path: Path) -> None:
    runs = [
        ("found/confirmation", "best", "11"),
        ("found/round0", "c00", "1"),
        ("small", "geo", "1"),
    ]
    for experiment, spectrum, seed in runs:
        path = layout.fill(layout.RUN_CONFIG, experiment=experiment, spectrum=spectrum, seed=seed)
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
        assert layout.run_of((tmp_path / path).parent) == (experiment, spectrum)
    assert layout.found_runs(tmp_path / "results") == runs


@pytest.mark.parametrize("experiment", ["a/b/c", "a/../b", "/a", "a/", "../a"])
def test_an_experiment_has_two_names_at_most(experiment: str) -> None:
    with pytest.raises(UserError, match="experiment: "):
        layout.fill(layout.EXPERIMENT, experiment=experiment)


def test_a_pattern_of_no_names_fits_nothing() -> None:
    assert re.fullmatch(layout.any_of(["a.b", "c"]), "a.b")
    assert not re.fullmatch(layout.any_of(["a.b", "c"]), "axb")
    assert not re.fullmatch(layout.any_of([]), "")
