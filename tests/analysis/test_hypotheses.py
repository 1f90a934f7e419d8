"""Hypotheses: each kind with each verdict, and what decides between them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from rope_spectra.analysis.hypotheses import (
    Results,
    hypotheses_table,
    judge_outcome,
    judge_sign,
)
from rope_spectra.analysis.spectra_table import spectra_table
from rope_spectra.analysis.summary_table import Blocks
from rope_spectra.config.design import Design
from support.designs import make_design

SEEDS = list(range(1, 9))
NAMES = [f"geo{k}" for k in range(5)]
SPECTRA = [
    {"name": name, "family": "geometric", "theta": 10.0 ** (k + 2)} for k, name in enumerate(NAMES)
]
# Mean degradation of each spectrum in nats; geo2 and geo3 are equal but for a breath.
DEGRADATION = {"geo0": 0.1, "geo1": 0.3, "geo2": 0.5, "geo3": 0.5, "geo4": 0.9}
ACCURACY = {"geo0": 0.5, "geo1": 0.6, "geo2": 0.7, "geo3": 0.8, "geo4": 0.9}


def design_of(*hypotheses: dict[str, Any], **changes: Any) -> Design:
    named = {f"h{k}": {"source": "us"} | each for k, each in enumerate(hypotheses)}
    return make_design(
        *NAMES,
        spectra=SPECTRA,
        seeds=SEEDS,
        primary={"metric": "degradation", "length": 128},
        retrieval={"trials": 10, "distractors": 9},
        hypotheses=named,
        **changes,
    )


def results_of(design: Design, seeds: list[int] = SEEDS, noise: float = 0.001) -> Results:
    """Made-up runs: PPL is 3 at 64 tokens and grows as DEGRADATION says, in 12 blocks of text."""
    random = np.random.default_rng(0)
    blocks = Blocks(tokens={64: 100, 128: 100}, train_length=64)
    rows, found = [], {}
    for name in NAMES:
        for seed in seeds:
            grown = DEGRADATION[name] + noise * random.standard_normal(12)
            for length, nll in ((64, np.full(12, np.log(3))), (128, np.log(3) + grown)):
                key = {"spectrum": name, "seed": seed, "remap": "none", "length": length}
                blocks.nll[name, seed, "none", length] = 100 * nll
                shown = {"ppl": np.exp(nll.mean()), "phase": "all", "protocol": "full"}
                rows.append(key | shown | {"degradation": nll.mean() - np.log(3)})
                found[name, seed, "none", length] = ACCURACY[name] + noise * random.standard_normal(
                    10
                )
    return Results(spectra_table(design), pd.DataFrame(rows), blocks, found)


def verdicts(design: Design, results: Results) -> list[str]:
    return hypotheses_table(design, results)["verdict"].to_list()


def test_two_spectra_by_the_primary_endpoint() -> None:
    design = design_of(
        {"claim": "geo0 better than geo4"},
        {"claim": "geo4 better than geo0"},
        {"claim": "geo4 worse than geo0"},
        {"claim": "geo2 equivalent to geo3"},
        {"claim": "geo0 equivalent to geo4"},
        {"claim": "geo2 better than geo3"},
    )
    table = hypotheses_table(design, results_of(design))
    assert table["verdict"].to_list() == [
        "supported",
        "contradicted",
        "supported",
        "supported",
        "contradicted",
        "contradicted",  # equivalent within the margin: no difference that matters
    ]
    first = table.iloc[0]
    assert (first["measure"], first["length"], first["n_seeds"]) == ("degradation", 128, 8)
    assert first["estimate"] == pytest.approx(-0.8, abs=0.01)
    assert first["ci95_low"] < first["estimate"] < first["ci95_high"] < 0
    assert first["p_holm"] == pytest.approx(6 * 2 / 2**8)


def test_a_difference_remains_open_where_the_seeds_cannot_tell() -> None:
    design = design_of({"claim": "geo2 better than geo3"}, {"claim": "geo0 better than geo4"})
    assert verdicts(design, results_of(design, noise=2.0)) == ["open", "open"]
    assert verdicts(design, results_of(design, seeds=[1, 2, 3])) == ["contradicted", "open"]


def test_more_retrieval_is_better() -> None:
    design = design_of(
        {"claim": "geo4 better than geo0", "measure": "retrieval"},
        {"claim": "geo0 better than geo4", "measure": "retrieval"},
        {"claim": "geo0 better than geo4"},
    )
    table = hypotheses_table(design, results_of(design))
    assert table["verdict"].to_list() == ["supported", "contradicted", "supported"]
    assert table["estimate"].to_list() == pytest.approx([0.4, -0.4, -0.8], abs=0.01)
    # Two families: that of retrieval has two members, the other one.
    assert table["p_holm"].to_list() == pytest.approx([2 / 128, 2 / 128, 1 / 128])


def test_another_measure_and_length_than_those_of_the_endpoint() -> None:
    design = design_of(
        {"claim": "geo0 better than geo4", "measure": "ppl"},
        {"claim": "geo0 equivalent to geo4", "length": 64},
    )
    table = hypotheses_table(design, results_of(design))
    assert table[["measure", "length"]].to_numpy().tolist() == [["ppl", 128], ["ppl", 64]]
    assert table["verdict"].to_list() == ["supported", "supported"]


def test_a_diagnostic_and_its_sign() -> None:
    slow = {"diagnostic": "wavelength_above_train"}
    design = design_of(
        slow | {"sign": "positive"},
        slow | {"sign": "negative"},
        slow | {"sign": "positive", "measure": "retrieval"},
        {"diagnostic": "rotations_fastest", "sign": "positive"},
    )
    table = hypotheses_table(design, results_of(design))
    assert table["verdict"].to_list() == ["supported", "contradicted", "supported", "open"]
    assert table["n_spectra"].to_list() == [5, 5, 5, 5]
    assert table["estimate"].to_list()[2] == pytest.approx(1)
    noisy = hypotheses_table(design, results_of(design, noise=30.0))
    assert noisy["verdict"].to_list() == ["open"] * 4


def test_a_diagnostic_is_open_before_the_last_look_and_with_few_spectra() -> None:
    hypothesis = {"diagnostic": "wavelength_above_train", "sign": "positive"}
    design = design_of(hypothesis, looks=[6, 8])
    assert verdicts(design, results_of(design, seeds=SEEDS[:6])) == ["open"]
    assert verdicts(design, results_of(design)) == ["supported"]
    few = design_of(hypothesis)
    assert verdicts(few, results_of(few, seeds=SEEDS[:2])) == ["open"]
    assert verdicts(few, results_of(few, seeds=SEEDS[:3])) == ["supported"]
    few = few.model_copy(update={"spectra": few.spectra[:4]})
    assert verdicts(few, results_of(few)) == ["open"]


def test_arms_without_runs_are_open() -> None:
    design = design_of({"claim": "geo0+yarn better than geo4"}, remaps=["none", "yarn"])
    row = hypotheses_table(design, results_of(design)).iloc[0]
    assert (row["verdict"], row["n_seeds"]) == ("open", 0)
    assert np.isnan(row["estimate"])


def test_differences_too_small_to_matter_support_both_kinds_of_claim() -> None:
    assert judge_outcome("better", "better, within the margin") == "supported"
    assert judge_outcome("equivalent", "better, within the margin") == "supported"
    assert judge_outcome("better", "worse, within the margin") == "contradicted"
    assert judge_outcome("worse", "too few seeds") == "open"
    assert judge_sign("negative", np.nan, np.nan) == "open"
