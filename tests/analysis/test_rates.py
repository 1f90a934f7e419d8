"""The primary endpoint at several learning rates, and the runs that failed to train."""

import numpy as np
import pandas as pd
import pytest

from rope_spectra.analysis.rates import COLUMNS, Rate, Trained, failing, measure, rates_table
from rope_spectra.analysis.summary_table import Blocks
from rope_spectra.config.experiment import Primary
from support.designs import make_design

SEEDS = [1, 2, 3]
PRIMARY = Primary(length=128)


def trained(value: float, in_length: list[float] | None = None) -> Trained:
    """Three seeds that differ by little."""
    table = value + np.array([[-0.01], [0.0], [0.01]]) + np.zeros((3, 12))
    return Trained(SEEDS, np.array(in_length or [5.0, 5.0, 5.0]), table)


def rate(learning_rate: float, **spectra: Trained) -> Rate:
    return Rate(f"at_{learning_rate}", learning_rate, spectra)


def test_a_run_fails_above_the_limit_and_at_it_does_not() -> None:
    runs = rate(
        0.1,
        # The medians of the spectra are 4, 5 and 6.25: the limit is 1.25 times 5.
        low=trained(1.0, [4.0, 4.0, 6.2501]),
        middle=trained(1.0, [5.0, 5.0, np.inf]),
        high=trained(1.0, [6.25, 6.25, 6.25]),
    )
    assert failing(runs) == {"low": [3], "middle": [3], "high": []}


def test_the_table_ranks_the_shared_spectra_at_every_rate() -> None:
    found = rates_table(
        PRIMARY,
        [
            rate(0.2, a=trained(1.0), b=trained(2.0), alone=trained(0.5)),
            rate(0.1, b=trained(0.9, [5.0, 9.0, 5.0]), a=trained(1.0)),
        ],
    )
    assert list(found) == COLUMNS
    rows = found[["learning_rate", "spectrum", "rank", "n_failed", "failed_seeds"]]
    assert rows.to_numpy().tolist() == [
        [0.1, "b", 1, 1, "2"],
        [0.1, "a", 2, 0, ""],
        [0.2, "a", 1, 0, ""],
        [0.2, "b", 2, 0, ""],
    ]
    assert found["value"].tolist() == pytest.approx([0.9, 1.0, 1.0, 2.0])
    half = 4.302653 * 0.01 / 3**0.5
    assert found.loc[1, "value_crossed95_low"] == pytest.approx(1.0 - half)


def test_spectra_are_ranked_on_the_seeds_that_all_of_them_have() -> None:
    short = Trained([1], np.array([5.0]), np.full((1, 12), 0.9))
    found = rates_table(PRIMARY, [rate(0.1, a=trained(1.0), b=short)]).set_index("spectrum")
    assert found["rank"].to_dict() == {"a": 2, "b": 1}
    assert found["n_seeds"].to_dict() == {"a": 3, "b": 1}
    assert np.isnan(found.loc["b", "value_crossed95_low"])


def test_the_endpoint_and_the_loss_within_the_training_length_are_read_from_the_runs() -> None:
    blocks = Blocks(tokens={64: 100, 128: 100}, train_length=64)
    rows = []
    for length, nll in ((64, [100.0, 120.0]), (128, [150.0, 160.0])):
        for remap in ("none", "yarn"):
            blocks.nll["geo", 1, remap, length] = np.array(nll)
            key = {"spectrum": "geo", "seed": 1, "remap": remap, "length": length}
            rows.append({**key, "protocol": "full", "ppl": float(length)})
    found = measure(make_design("geo"), PRIMARY, 0.1, pd.DataFrame(rows), blocks)
    geo = found.spectra["geo"]
    assert (found.experiment, geo.seeds, geo.in_length.tolist()) == ("demo", [1], [64.0])
    assert geo.value == pytest.approx(np.array([[0.5, 0.4]]))
    by_ppl = Primary(length=128, metric="ppl")
    found = measure(make_design("geo"), by_ppl, 0.1, pd.DataFrame(rows), blocks)
    assert found.spectra["geo"].value == pytest.approx(np.array([[1.5, 1.6]]))
