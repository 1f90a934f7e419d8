"""The readers of runs: which blocks they read, and what they refuse."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rope_spectra.analysis.runs import is_finished, read_positions, read_retrieval
from rope_spectra.artifacts import layout
from rope_spectra.runtime.errors import UserError
from support.designs import make_design


def write_arrays(spectrum: str, seed: int, **arrays: np.ndarray) -> None:
    path = layout.fill(layout.EVAL_NLL, experiment="demo", spectrum=spectrum, seed=seed)
    path.parent.mkdir(parents=True)
    np.savez(path, **{name.replace("__", "/"): array for name, array in arrays.items()})


def test_loss_by_position_reads_the_blocks_of_the_phase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Block b of four has a loss of b nats per token; the first half serves selection."""
    monkeypatch.chdir(tmp_path)
    design = make_design("geo", seeds=[1, 2], selection={"seeds": [1], "blocks": 0.5})
    tokens = np.array([1, 3])
    for seed in design.seeds:
        write_arrays(
            "geo",
            seed,
            none__128__nll=np.arange(4)[:, None] * tokens,
            none__128__tokens=tokens,
            none__128__edges=np.array([0, 1, 4]),
        )
    runs = pd.DataFrame({"spectrum": "geo", "seed": design.seeds, "remap": "none"})
    losses = read_positions(design, runs, 128).groupby("seed")["nll"].unique()
    assert losses.loc[1].tolist() == [0.5]
    assert losses.loc[2].tolist() == [2.5]


def test_a_run_that_was_not_probed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    design = make_design("geo", seeds=[1, 2], selection={"seeds": [1], "blocks": 0.5})
    write_arrays("geo", 2, none__64__retrieval=np.zeros((10, 4)))
    with pytest.raises(UserError, match=r"geo/seed2/eval\.npz: has no none/128/retrieval; .*run"):
        read_retrieval(design)


def test_a_run_is_finished_with_its_last_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in map(Path, layout.run_files("demo", "geo", 1)):
        assert not is_finished("demo", "geo", 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert is_finished("demo", "geo", 1)
