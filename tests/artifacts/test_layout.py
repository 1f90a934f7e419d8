"""The paths of results/: no name of a user's can stand where the workflow puts something else."""

from rope_spectra.artifacts import layout


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
