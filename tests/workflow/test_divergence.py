"""A run whose perplexity no float holds goes through tables, page and figures, and is marked."""

import os
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from torch import Tensor

from rope_spectra.evaluation import perplexity
from support import small_experiment as small


@pytest.fixture(scope="module")
def diverged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment of two spectra and three seeds, in which poly with seed 2 has diverged."""
    folder = tmp_path_factory.mktemp("diverged")
    before = Path.cwd()
    os.chdir(folder)
    try:
        design = small.make_experiment(seeds=[1, 2, 3])
        run = small.folder_of("poly", 2)
        for name in ("eval.csv", "eval.npz", "eval.json"):
            (run / name).unlink()
        score = perplexity.token_nll

        def worse(model: object, ids: Tensor, targets: Tensor) -> Tensor:
            return score(model, ids, targets) * 1000  # type: ignore[arg-type]

        with patch.object(perplexity, "token_nll", worse):
            small.done("evaluate", *small.evaluate_arguments(run))
        small.done("aggregate", *small.aggregate_arguments(design))
        small.done("page", *small.page_arguments(design))
        small.done(
            "figures",
            *("--definition", small.design_file(design)),
            *("--output", "results/small/figures", "--spectra-csv", "results/small/spectra.csv"),
        )
    finally:
        os.chdir(before)
    return folder / "results/small"


def test_the_run_is_infinite_and_keeps_its_loss(diverged: Path) -> None:
    runs = pd.read_csv(diverged / "runs.csv")
    infinite = runs[np.isinf(runs["ppl"])]
    assert set(zip(infinite["spectrum"], infinite["seed"], strict=True)) == {("poly", 2)}
    assert len(infinite) == 4  # two lengths by two protocols
    assert np.isfinite(infinite["nll"]).all()


def test_what_it_takes_part_in_has_no_interval_and_no_verdict(diverged: Path) -> None:
    summary = pd.read_csv(diverged / "summary.csv")
    poly = summary[summary["spectrum"] == "poly"]
    assert np.isinf(poly["ppl_mean"]).all()
    assert np.isinf(poly["delta_log_ppl"]).all()
    empty = ["ppl_ci95_low", "ppl_ci95_high", "delta_log_ppl_ci95_low", "p_sign_flip"]
    assert poly[empty].isna().all(axis=None)
    assert set(poly["verdict"]) == {"too few seeds"}
    geo = summary[summary["spectrum"] == "geo"]
    assert np.isfinite(geo[["ppl_mean", "ppl_ci95_low"]]).all(axis=None)


def test_the_page_and_the_figure_name_it(diverged: Path) -> None:
    page = (diverged / "summary.md").read_text()
    assert "**Diverged:** poly." in page
    assert "nan" not in page
    for name in ("ppl_by_length", "paired_deltas", "degradation_by_length", "nll_by_position"):
        drawn = (diverged / f"figures/{name}.svg").read_text()
        assert "nan" not in drawn
        assert "inf" not in drawn


def test_a_loss_that_is_no_number_is_one_line(
    diverged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(diverged.parents[1])
    score = perplexity.token_nll

    def undefined(model: object, ids: Tensor, targets: Tensor) -> Tensor:
        return score(model, ids, targets) * np.nan  # type: ignore[arg-type]

    monkeypatch.setattr(perplexity, "token_nll", undefined)
    arguments = small.evaluate_arguments(small.folder_of("geo", 1))
    status, lines = small.step("evaluate", *arguments, "--output", tmp_path)
    assert status == 1
    assert lines[-1].startswith("error: evaluation: the loss at length 16 is nan; the training has")
