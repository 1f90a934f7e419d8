"""Figures from Python: they show what the runs hold."""

from pathlib import Path

import numpy as np
import pytest

import rope_spectra as rs
from rope_spectra.api.runs import Run
from rope_spectra.runtime.errors import UserError
from support.checkout import ROOT

SPECTRA = ("geo_500k", "hybrid_a0.2_t100k")


@pytest.fixture(scope="module")
def runs(finished: Path) -> list[Run]:
    folder = finished / "results/quick"
    return [rs.load(folder / name / f"seed{seed}") for name in SPECTRA for seed in (1, 2)]


def thick(picture: rs.plot.Picture) -> dict[str, np.ndarray]:
    """The points (x, y) of the curve of each spectrum, by its color."""
    lines = picture.figure.axes[0].lines
    return {line.get_color(): line.get_xydata() for line in lines if line.get_linewidth() > 0.5}


def test_the_points_of_the_curves_are_means_over_the_seeds(runs: list[Run]) -> None:
    curve = thick(rs.plot.ppl_by_length(*runs))["#000000"]
    scores = [run.scores.query("protocol == 'full'").set_index("length")["ppl"] for run in runs[:2]]
    assert curve[:, 0].tolist() == [64, 256]
    assert curve[:, 1] == pytest.approx(((scores[0] + scores[1]) / 2).to_numpy())


def test_the_loss_by_position_is_that_of_the_scores(runs: list[Run]) -> None:
    (run, *_) = runs
    curve = thick(rs.plot.nll_by_position(run, length=64))["#000000"]
    cells = run.nll.query("length == 64 and block == 0")
    mean = np.average(curve[:, 1], weights=cells["tokens"])
    score = run.scores.query("protocol == 'full' and length == 64")["nll"].iloc[0]
    assert mean == pytest.approx(score)


@pytest.mark.parametrize("name", ["training_loss", "degradation_by_length", "nll_by_position"])
def test_every_figure_names_its_spectra_and_shows_in_a_notebook(
    runs: list[Run], name: str, tmp_path: Path
) -> None:
    picture = getattr(rs.plot, name)(*runs)
    shown = {text.get_text() for text in picture.figure.axes[0].texts}
    assert set(SPECTRA) <= shown
    assert picture._repr_png_().startswith(b"\x89PNG")
    picture.save(tmp_path / "figure.svg")
    assert "<svg" in (tmp_path / "figure.svg").read_text()


def test_spectra_are_drawn_from_runs_and_from_definitions(runs: list[Run]) -> None:
    still = rs.spectrum({"family": "nope"}, head_dim=32, train_length=64)
    log = rs.spectrum("geo_10k", head_dim=32, train_length=64, config=ROOT / "config.yaml")
    picture = rs.plot.spectra(runs[0], log, still)
    shown = " ".join(text.get_text() for text in picture.figure.axes[0].texts)
    assert "geo_500k" in shown
    assert "geo_10k" in shown
    assert "None rotates: nope" in shown
    assert "longest evaluation 512" in shown


def test_nothing_to_draw_is_said_in_one_line(runs: list[Run]) -> None:
    with pytest.raises(UserError, match="nothing to draw"):
        rs.plot.training_loss()
    with pytest.raises(UserError, match="length 99; choose another"):
        rs.plot.nll_by_position(*runs, length=99)
