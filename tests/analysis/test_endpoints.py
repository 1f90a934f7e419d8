"""Primary and secondary endpoints: what is corrected together, and by which metric."""

import numpy as np
import pandas as pd
import pytest

from rope_spectra.analysis import statistics, summary_table
from rope_spectra.analysis.endpoints import Plan
from rope_spectra.analysis.summary_table import Blocks
from rope_spectra.config.experiment import Primary

SEEDS = list(range(8))
LENGTHS = [64, 128, 256]
BLOCKS = 5
# Growth of the NLL per doubling beyond 64 tokens, and the level at 64.
GROWTH = {"geo": 0.30, "a": 0.20, "b": 0.25}
LEVEL = {"geo": 1.0, "a": 1.1, "b": 1.0}


def measured(names: list[str], seeds: list[int] = SEEDS) -> tuple[pd.DataFrame, Blocks]:
    """Runs of protocol full whose degradation is far from chance, and their blocks."""
    random = np.random.default_rng(0)
    blocks = Blocks(tokens=dict.fromkeys(LENGTHS, 1), train_length=64)
    rows = []
    for name in names:
        for seed in seeds:
            level = LEVEL[name] + random.normal(0, 0.3)
            for doublings, length in enumerate(LENGTHS):
                nll = level + doublings * GROWTH[name] + random.normal(0, 0.002, BLOCKS)
                blocks.nll[name, seed, "none", length] = nll
                row = {"spectrum": name, "seed": seed, "length": length, "nll": nll.mean()}
                grown = nll.mean() - blocks.nll[name, seed, "none", 64].mean()
                rows.append(row | {"degradation": grown if doublings else np.nan})
    runs = pd.DataFrame(rows).assign(experiment="x", protocol="full", remap="none", tokens=BLOCKS)
    return runs.assign(ppl=np.exp(runs["nll"]), degradation_beyond=np.nan), blocks


def summary(
    primary: Primary | None, contrasts: list[str], seeds: list[int] = SEEDS, looks: tuple = ()
) -> pd.DataFrame:
    runs, blocks = measured(["geo", "a", "b"], seeds)
    plan = Plan(primary, SEEDS, looks)
    table = summary_table.summarize(runs, "geo", contrasts, 0.01, blocks, plan)
    return table.set_index(["spectrum", "length"])


def test_the_primary_endpoint_is_corrected_for_its_own_contrasts_alone() -> None:
    table = summary(Primary(metric="degradation", length=256), ["a", "b"])
    p = statistics.smallest_p(8)
    assert table.loc[("a", 256), "p_holm"] == pytest.approx(2 * p)
    assert table.loc[("a", 128), "p_holm"] == pytest.approx(4 * p), "2 contrasts x 2 other lengths"
    assert table.loc["geo", "endpoint"].isna().all()
    for name in ("a", "b"):
        assert table.loc[name, "endpoint"].to_list() == ["secondary", "secondary", "primary"]


def test_degradation_decides_where_perplexity_cannot() -> None:
    """Seeds differ far more in their level than in how much they degrade."""
    by_degradation = summary(Primary(metric="degradation", length=256), ["a"])
    by_ppl = summary(Primary(metric="ppl", length=256), ["a"])
    assert by_degradation.loc[("a", 256), "verdict"] == "better"
    assert by_ppl.loc[("a", 256), "verdict"] == "cannot be told apart"
    # Up to the training length nothing degrades: there the metric is PPL.
    assert by_degradation.loc["a", "metric"].to_list() == ["ppl", "degradation", "degradation"]
    row = by_degradation.loc["a", 256]
    assert row["delta_degradation"] == pytest.approx(-0.2, abs=0.005)
    assert row["degradation_ratio"] == pytest.approx(np.exp(row["delta_degradation"]))
    low, high = row["delta_degradation_crossed95_low"], row["delta_degradation_crossed95_high"]
    assert low < row["delta_degradation"] < high
    assert row["degradation_wins"] == "8/8"


def test_without_a_primary_endpoint_all_lengths_are_corrected_together() -> None:
    table = summary(None, ["a", "b"])
    assert set(table["endpoint"].dropna()) == {"secondary"}
    assert set(table["metric"].dropna()) == {"ppl"}
    first = table["p_holm"].dropna().min()
    assert first >= 6 * table["p_sign_flip"].min()


def test_contrasts_that_are_not_primary_are_secondary() -> None:
    primary = Primary(metric="degradation", length=256, contrasts=["a"])
    table = summary(primary, ["a", "b"])
    assert table.loc[("a", 256), ["endpoint", "p_holm"]].to_list() == [
        "primary",
        pytest.approx(statistics.smallest_p(8)),
    ]
    assert table.loc[("b", 256), "endpoint"] == "secondary"


def test_an_arm_without_a_declared_contrast_has_no_verdict() -> None:
    table = summary(Primary(metric="degradation", length=256), ["a"])
    assert set(table.loc["b", "verdict"]) == {"not declared"}
    assert table.loc["b", ["p_holm", "p_equivalence", "endpoint"]].isna().all(axis=None)


def test_a_contrast_that_has_not_run_counts_at_the_primary_endpoint() -> None:
    table = summary(Primary(metric="degradation", length=256), ["a", "never"])
    assert table.loc[("a", 256), "p_holm"] == pytest.approx(2 * statistics.smallest_p(8))


def test_a_look_pays_for_itself_and_its_verdict_stands() -> None:
    primary = Primary(metric="degradation", length=256)
    early = summary(primary, ["a"], seeds=SEEDS[:7], looks=(7, 8))
    late = summary(primary, ["a"], looks=(7, 8))
    assert early.loc[("a", 256), "p_holm"] > statistics.smallest_p(7)
    assert late.loc[("a", 256), "verdict"] == "better"
    assert late.loc[("a", 256), "p_holm"] <= early.loc[("a", 256), "p_holm"]
