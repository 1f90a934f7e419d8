"""Finished runs in Python: the same numbers as their files, and refusals."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import rope_spectra as rs
from rope_spectra.api.runs import Run
from rope_spectra.runtime.errors import UserError
from rope_spectra.training.record import read_run

RUN = "results/quick/hybrid_a0.2_t100k/seed1"


@pytest.fixture(scope="module")
def run(finished: Path) -> Run:
    return rs.load(finished / RUN)


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be damaged."""
    return Path(shutil.copytree(finished / RUN, tmp_path / "run"))


def test_the_interface_is_light_until_it_is_used() -> None:
    program = (
        "import json, sys, rope_spectra as rs; print(json.dumps([dir(rs), sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    names, modules = json.loads(done.stdout)
    assert {"load", "plot", "runs", "spectrum"} <= set(names)
    assert not {"torch", "numpy", "pandas", "matplotlib", "pydantic"} & set(modules)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        rs.lode  # noqa: B018


def test_the_table_of_runs_has_every_run(finished: Path, tmp_path: Path) -> None:
    table = rs.runs(finished / "results").query("experiment == 'quick'")
    assert list(table.columns) == [
        "experiment", "spectrum", "seed", "trained", "evaluated", "folder"
    ]  # fmt: skip
    assert len(table) == 4
    assert table["trained"].all()
    assert table["evaluated"].all()
    assert str(rs.load(table["folder"].iloc[0])) == "<Run quick/geo_500k/seed1>"
    unfinished = tmp_path / "results/new/geo/seed3-repeat1"
    unfinished.mkdir(parents=True)
    (unfinished / "config.json").touch()
    (row,) = rs.runs(tmp_path / "results").itertuples(index=False)
    assert row[:5] == ("new", "geo", "3-repeat1", False, False)
    with pytest.raises(UserError, match=r"seed3-repeat1: no trained run; rs\.runs\(\)"):
        rs.load(row.folder)
    with pytest.raises(UserError, match="no such folder"):
        rs.runs(tmp_path / "none")


def test_a_run_has_what_its_files_say(finished: Path, run: Run) -> None:
    folder = finished / RUN
    assert run.record == read_run(folder)
    assert (run.seed, run.spectrum.name) == ("1", "hybrid_a0.2_t100k")
    assert run.spectrum.inv_freq.tolist() == run.record.inv_freq
    pd.testing.assert_frame_equal(run.train_log, pd.read_csv(folder / "train.csv"))
    pd.testing.assert_frame_equal(run.scores, pd.read_csv(folder / "eval.csv"))


def test_the_loss_by_block_and_position_adds_up_to_the_scores(run: Run) -> None:
    full = run.scores[run.scores["protocol"] == "full"]
    assert len(full) == 2
    for row in full.itertuples():
        cells = run.nll.query("remap == @row.remap and length == @row.length")
        assert cells["tokens"].sum() == row.tokens
        assert np.average(cells["nll"], weights=cells["tokens"]) == pytest.approx(row.nll)
        assert cells.groupby("block")["tokens"].nunique().max() > 1
        assert (cells["first"].min(), cells["end"].max()) == (0, row.length)


def test_the_model_gives_the_loss_that_was_measured(finished: Path, run: Run) -> None:
    tokens = np.load(finished / "results/data/quick/validation.npy").astype(np.int64)
    assert not run.model.training
    losses = []
    for start in range(0, 4 * 64, 64):
        chunk = torch.from_numpy(tokens[start : start + 64])[None]
        with torch.inference_mode():
            logits = run.model.lm_head(run.model.hidden(chunk[:, :-1]))[0]
        losses.append(torch.nn.functional.cross_entropy(logits, chunk[0, 1:]).item())
    first_chunks = run.scores.query("protocol == 'first_chunks' and length == 64")
    assert np.mean(losses) == pytest.approx(first_chunks["nll"].iloc[0], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train.csv", "train_log"),
        ("eval.csv", "scores"),
        ("eval.npz", "nll"),
        ("model.safetensors", "model"),
    ],
)
def test_a_damaged_file_is_refused_when_it_is_read(copy: Path, name: str, part: str) -> None:
    with (copy / name).open("ab") as file:
        file.write(b"0")
    run = rs.load(copy)
    with pytest.raises(UserError, match=name):
        getattr(run, part)


def test_the_evaluation_of_another_run_is_refused(finished: Path, copy: Path) -> None:
    other = finished / "results/quick/geo_500k/seed1"
    for name in ("eval.json", "eval.csv", "eval.npz"):
        shutil.copy(other / name, copy / name)
    with pytest.raises(UserError, match=r"eval\.json: was made from another run"):
        rs.load(copy).scores  # noqa: B018
