"""The readers of runs: which blocks they read, and what they refuse."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rope_spectra import aggregate
from rope_spectra.analysis.runs import (
    degradation,
    is_finished,
    read_positions,
    read_retrieval,
    read_runs,
)
from rope_spectra.artifacts import layout
from rope_spectra.evaluation import perplexity
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


def test_without_runs_there_is_no_table() -> None:
    with pytest.raises(UserError, match=r"demo: .* run snakemake first"):
        read_runs(make_design("geo"), [])


def binned(nll: np.ndarray, length: int, train_length: int) -> dict[str, np.ndarray]:
    """The arrays of one length from the NLL of each target [blocks, targets]."""
    edges = perplexity.bin_edges(length, train_length)
    which = np.digitize(np.arange(nll.shape[1]) % length, edges) - 1
    sums = np.stack([nll[:, which == each].sum(axis=1) for each in range(len(edges) - 1)], axis=1)
    return {"nll": sums, "tokens": np.bincount(which), "edges": edges}


def test_degradation_is_measured_on_the_same_targets() -> None:
    """Trained at 4, read at 8 and at 6; the first 4 targets of a text of 8 read the same."""
    random = np.random.default_rng(0)
    short, yarn = random.normal(2, 1, (2, 3, 24))
    long = np.where(np.arange(24) % 8 < 4, short, short + 1.5)
    arrays = {}
    tables = {"none/4": short, "none/8": long, "none/6": long, "yarn/4": short, "yarn/8": yarn}
    for name, nll in tables.items():
        length = int(name.partition("/")[2])
        arrays |= {f"{name}/{key}": value for key, value in binned(nll, length, 4).items()}
    assert degradation(arrays, "none", 8, 4) == pytest.approx((0.75, 1.5))
    far = np.arange(24) % 8 >= 4
    expected = (yarn - short).mean(), (yarn - short)[:, far].mean()
    assert degradation(arrays, "yarn", 8, 4) == pytest.approx(expected)
    overall, beyond = degradation(arrays, "none", 6, 4)
    assert overall == pytest.approx((long - short).mean())
    assert np.isnan(beyond), "4 does not divide 6"
    assert np.isnan(degradation(arrays, "none", 8, 2)).all(), "2 was not evaluated"


def test_a_run_that_was_not_probed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    design = make_design("geo", seeds=[1, 2], selection={"seeds": [1], "blocks": 0.5})
    write_arrays("geo", 2, none__64__retrieval=np.zeros((10, 4)))
    with pytest.raises(UserError, match=r"geo/seed2/eval\.npz: has no none/128/retrieval; .*run"):
        read_retrieval(design)


def test_tables_of_a_part_are_those_of_the_last_complete_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    design = make_design("geo", "own", seeds=[1, 2, 3, 4], looks=[2, 4], stopped={"own": 2})
    done: set[tuple[str, int]] = set()
    monkeypatch.setattr(aggregate, "is_finished", lambda _, *run: run in done)
    done |= {("geo", 1), ("own", 1), ("geo", 2)}
    with pytest.raises(UserError, match=r"demo\.looks: the first look is at 2 seeds"):
        aggregate.finished_runs(design)
    done |= {("own", 2), ("geo", 3)}
    early = [("geo", 1), ("geo", 2), ("own", 1), ("own", 2)]
    assert aggregate.finished_runs(design) == early
    done.add(("geo", 4))
    assert aggregate.finished_runs(design) == design.runs


def test_a_run_is_finished_with_its_last_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in map(Path, layout.run_files("demo", "geo", 1)):
        assert not is_finished("demo", "geo", 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert is_finished("demo", "geo", 1)
