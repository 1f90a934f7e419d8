"""Comparisons across remaps, and scores and verdicts of selection and confirmation."""

import numpy as np
import pandas as pd
import pytest

from rope_spectra.analysis import statistics, summary_table
from rope_spectra.analysis.endpoints import Plan
from rope_spectra.analysis.runs import of_phase, rescored
from rope_spectra.config.design import ALL, CONFIRMATION, SELECTION
from rope_spectra.config.experiment import Primary
from rope_spectra.runtime.errors import UserError
from support.designs import make_design

FACTORS = {
    ("geo", "none"): 1.5,
    ("geo", "yarn"): 1.1,
    ("hybrid", "none"): 1.0,
    ("hybrid", "yarn"): 0.95,
}


def runs(seeds: int = 8) -> pd.DataFrame:
    random = np.random.default_rng(0)
    rows = [
        {
            "spectrum": spectrum,
            "remap": remap,
            "seed": seed,
            "length": length,
            "ppl": 5 * factor * np.exp(random.normal(0, 0.01)),
        }
        for (spectrum, remap), factor in FACTORS.items()
        for seed in range(seeds)
        for length in (64, 256)
    ]
    return pd.DataFrame(rows).assign(experiment="x", protocol="full", tokens=100)


def summary(baseline: str, contrasts: list[str], frame: pd.DataFrame | None = None) -> pd.DataFrame:
    plan = Plan(Primary(metric="ppl", length=256))
    found = runs() if frame is None else frame
    result = summary_table.summarize(found, baseline, contrasts, 0.01, plan=plan)
    return result[result["length"] == 256].set_index(["spectrum", "remap"])


def test_the_native_hybrid_is_compared_with_the_remapped_geometric_on_the_same_seeds() -> None:
    rows = summary("geo+yarn", ["hybrid+none"])
    row, frame = rows.loc["hybrid", "none"], runs()
    ppl = frame[frame["length"] == 256].set_index(["spectrum", "remap", "seed"])["ppl"]
    deltas = np.log(ppl["hybrid", "none"]) - np.log(ppl["geo", "yarn"])
    assert row["delta_log_ppl"] == pytest.approx(deltas.mean())
    assert row["p_holm"] == row["p_sign_flip"] == statistics.smallest_p(8)
    assert (row["baseline"], row["verdict"], row["wins"]) == ("geo+yarn", "better", "8/8")
    assert rows.loc[("geo", "yarn"), "verdict"] == "baseline"
    assert pd.isna(rows.loc[("geo", "none"), "p_holm"])
    assert rows.loc[("geo", "none"), "baseline"] == "geo+yarn"


def test_by_default_the_baseline_has_the_remap_of_the_row() -> None:
    rows = summary("geo", ["hybrid"])
    assert rows["baseline"].to_dict() == {
        arm: {"none": "geo", "yarn": "geo+yarn"}[arm[1]] for arm in FACTORS
    }
    assert rows["verdict"].to_dict() == {
        arm: "baseline" if arm[0] == "geo" else "better" for arm in FACTORS
    }
    assert rows.loc["hybrid"]["p_holm"].tolist() == [2 * statistics.smallest_p(8)] * 2, (
        "two remaps are two contrasts"
    )


def test_with_the_trained_models_alone_nothing_has_changed() -> None:
    frame = runs()
    native = frame[frame["remap"] == "none"]
    plain, explicit = (
        summary("geo", ["hybrid"], native),
        summary("geo+none", ["hybrid+none"], native),
    )
    pd.testing.assert_frame_equal(plain, explicit)
    assert plain.loc[("hybrid", "none"), "p_holm"] == statistics.smallest_p(8)


def test_seeds_without_a_partner_are_named_with_their_remap() -> None:
    frame = runs(3)
    frame = frame[
        ~((frame["spectrum"] == "geo") & (frame["remap"] == "yarn") & (frame["seed"] == 2))
    ]
    assert (
        summary("geo+yarn", ["hybrid+none"], frame).loc[("hybrid", "none"), "unpaired_seeds"]
        == "hybrid only: 2"
    )


def test_one_block_cannot_serve_both() -> None:
    design = make_design("geo", selection={"seeds": [1], "blocks": 0.5})
    with pytest.raises(
        UserError,
        match=r"^experiments.demo.selection: .* need two blocks .* raise validation_tokens$",
    ):
        of_phase({"none/64/nll": np.ones((1, 3))}, design, 1)


def eval_files(n_blocks: int) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """eval.csv and eval.npz of a run whose blocks differ: 4 tokens each, in two bins."""
    nll = np.arange(2.0 * n_blocks).reshape(n_blocks, 2)
    mean = nll.sum() / (4 * n_blocks)
    row = {
        "remap": "pi",
        "protocol": "full",
        "length": 4,
        "ppl": np.exp(mean),
        "nll": mean,
        "tokens": 4 * n_blocks,
    }
    rows = pd.DataFrame(
        [
            {**row, "chunks": 2 * n_blocks},
            {**row, "protocol": "first_chunks", "nll": 1.0, "tokens": 6, "chunks": 2},
        ]
    )
    return rows, {
        "pi/4/nll": nll,
        "pi/4/tokens": np.array([1, 3]),
        "pi/4/edges": np.array([0, 1, 4]),
        "bytes": np.arange(n_blocks),
    }


def test_each_seed_is_scored_on_the_blocks_of_its_phase() -> None:
    design = make_design("geo", seeds=[1, 2], selection={"seeds": [1], "blocks": 0.25})
    for seed, kept in ((1, slice(0, 2)), (2, slice(2, 8))):
        rows, arrays = eval_files(8)
        cut = of_phase(arrays, design, seed)
        assert np.array_equal(cut["bytes"], np.arange(8)[kept])
        full, first_chunks = rescored(rows, cut).itertuples()
        expected, count = arrays["pi/4/nll"][kept], len(np.arange(8)[kept])
        assert full.nll == expected.sum() / (4 * count)
        assert full.ppl == pytest.approx(np.exp(full.nll))
        assert (full.tokens, full.chunks) == (4 * count, 2 * count)
        assert (first_chunks.nll, first_chunks.tokens, first_chunks.chunks) == (1.0, 6, 2)


def test_without_a_selection_the_scores_are_those_of_the_evaluation() -> None:
    rows, arrays = eval_files(8)
    cut = of_phase(arrays, make_design("geo"), 1)
    pd.testing.assert_frame_equal(rescored(rows.copy(), cut), rows, check_exact=True)


def test_only_full_on_the_seeds_of_confirmation_gives_verdicts() -> None:
    design = make_design("geo", "hybrid", seeds=list(range(8)))
    frame, found = pd.concat([runs(), runs().assign(protocol="first_chunks")]), {}
    for phase in (ALL, CONFIRMATION, SELECTION):
        result = summary_table.summarize_phase(design, frame, None, phase)
        far = result[
            (result["length"] == 256)
            & (result["spectrum"] == "hybrid")
            & (result["remap"] == "none")
        ]
        found[phase] = far.set_index("protocol")["verdict"].to_dict()
        assert (far["p_holm"].notna() == (far["verdict"] == "better")).all()
    assert found == {
        "all": {"full": "better", "first_chunks": "better"},
        "confirmation": {"full": "better", "first_chunks": "exploratory"},
        "selection": {"full": "exploratory", "first_chunks": "exploratory"},
    }
