"""Contrasts across remaps, selection and confirmation, and the library beyond the study."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.analysis import published, statistics, summary_table
from rope_spectra.analysis.runs import of_phase, rescored
from rope_spectra.config import legacy as config
from rope_spectra.config.design import (
    ALL,
    CONFIRMATION,
    SELECTION,
    Contrasts,
    Design,
    label,
    parse_arm,
)
from rope_spectra.runtime.errors import UserError
from support.checkout import ROOT, snakemake
from support.designs import make_design

LIBRARY = config.load(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))
BEYOND = ["theta_controls", "yarn_compare", "ten_seeds", "evq", "retrieval"]
SMALL = [f"{name}_small" for name in BEYOND]
REMAPS = ["none", "pi", "yarn"]

# --- names ----------------------------------------------------------------------------------------


def test_a_name_without_a_remap_stands_for_the_remap_of_the_row() -> None:
    plain = Contrasts.of("geo", ["hybrid"])
    assert plain.reference(("hybrid", "none")) == ("geo", "none")
    assert (
        plain.reference(("hybrid", "yarn")) == plain.reference(("geo", "yarn")) == ("geo", "yarn")
    )
    assert plain.family(REMAPS) == [("hybrid", remap) for remap in REMAPS]


def test_a_baseline_with_a_remap_is_that_row_for_all() -> None:
    fixed = Contrasts.of("geo+yarn", ["hybrid+none", "geo"])
    assert {
        fixed.reference((name, remap)) for name in ("geo", "hybrid", "other") for remap in REMAPS
    } == {("geo", "yarn")}
    assert fixed.family(REMAPS) == [
        ("hybrid", "none"),
        ("geo", "none"),
        ("geo", "pi"),
    ]  # not the baseline itself


def test_a_contrast_may_have_a_baseline_of_its_own_and_the_closer_name_wins() -> None:
    own = Contrasts.of("geo", ["hybrid vs other", "hybrid+none vs geo+yarn", "other"])
    assert own.reference(("hybrid", "pi")) == ("other", "pi")
    assert own.reference(("hybrid", "none")) == ("geo", "yarn")
    assert own.reference(("other", "pi")) == ("geo", "pi")


@given(st.sampled_from(["geo", "a.b-c_1"]), st.sampled_from(["none", "pi", "yarn"]))
def test_labels_are_names_again(spectrum: str, remap: str) -> None:
    name, own_remap = parse_arm(label((spectrum, remap)))
    assert (name, own_remap or "none") == (spectrum, remap)


# --- the table ------------------------------------------------------------------------------------

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
    result = summary_table.summarize(runs() if frame is None else frame, baseline, contrasts, 0.01)
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


# --- selection and confirmation -------------------------------------------------------------------


@given(share=st.floats(0.01, 0.99), n_blocks=st.integers(2, 500))
def test_selection_and_confirmation_share_no_block_and_leave_none_out(
    share: float, n_blocks: int
) -> None:
    design = make_design("geo", selection={"seeds": [1], "blocks": share})
    parts = [
        range(n_blocks)[design.blocks_of(phase, n_blocks)] for phase in (SELECTION, CONFIRMATION)
    ]
    assert [*parts[0], *parts[1]] == list(range(n_blocks))
    assert min(map(len, parts)) >= 1
    assert abs(len(parts[0]) - share * n_blocks) <= 1


def test_every_seed_serves_one_phase() -> None:
    design = make_design("geo", seeds=[7, 1, 3], selection={"seeds": [1], "blocks": 0.5})
    assert design.seeds_of(SELECTION) == [1]
    assert design.seeds_of(CONFIRMATION) == [7, 3]
    assert make_design("geo", seeds=[7, 1]).seeds_of(ALL) == [7, 1]


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
    design = make_design("geo", "hybrid")
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


CHOSEN = """
run: [chosen]
experiments:
  chosen:
    dataset: quick
    model: tiny
    training: quick
    evaluation: quick-remaps
    spectra: [geo_500k, evq_500k]
    seeds: [1, 2, 3]
    selection: {seeds: [2], blocks: 0.4}
    baseline: geo_500k+yarn
    contrasts: [evq_500k+none]
evaluation:
  quick-remaps: {lengths: [64, 256], chunks: 4, remaps: [none, yarn]}
"""


@pytest.fixture(scope="module")
def chosen(fresh: Path) -> Path:
    """A small experiment with a selection and a remap, through Snakemake."""
    (fresh / "chosen.yaml").write_text(CHOSEN)
    snakemake(
        fresh, "--cores", "2", "--resources", "gpu=1", "--configfile", "quick.yaml", "chosen.yaml"
    )
    return fresh / "results/chosen"


@pytest.mark.slow
def test_each_phase_is_scored_on_its_own_seeds_and_blocks(chosen: Path) -> None:
    table_of_runs, result = pd.read_csv(chosen / "runs.csv"), pd.read_csv(chosen / "summary.csv")
    assert dict(zip(table_of_runs["seed"], table_of_runs["phase"], strict=True)) == {
        1: "confirmation",
        2: "selection",
        3: "confirmation",
    }
    for seed, kept in (
        (2, slice(None, 9)),
        (3, slice(9, None)),
    ):  # 40 % of the 23 blocks of 256 in 6000 tokens
        nll = np.load(chosen / f"evq_500k/seed{seed}/eval.npz")["yarn/256/nll"]
        assert len(nll) == 23
        row = table_of_runs.query(
            f"spectrum == 'evq_500k' and remap == 'yarn' and protocol == 'full' and length == 256 and seed == {seed}"
        )
        assert row["nll"].item() == pytest.approx(
            nll[kept].sum() / (256 * len(nll[kept])), rel=1e-9
        )
        assert (row["tokens"].item(), row["chunks"].item()) == (
            256 * len(nll[kept]),
            len(nll[kept]),
        )
    seeds = dict(zip(result["phase"], result["seeds"].astype(str), strict=True))
    assert seeds == {"confirmation": "1 3", "selection": "2"}
    assert not result.duplicated(["phase", "spectrum", "remap", "protocol", "length"]).any()
    tokens = result[result["protocol"] == "full"].groupby("phase")["eval_tokens"].unique()
    assert {phase: list(counts) for phase, counts in tokens.items()} == {
        "confirmation": [14 * 256],
        "selection": [9 * 256],
    }


@pytest.mark.slow
def test_only_confirmation_gives_verdicts_and_the_page_says_what_is_what(chosen: Path) -> None:
    result, page = pd.read_csv(chosen / "summary.csv"), (chosen / "summary.md").read_text()
    exploratory = result[(result["phase"] == "selection") | (result["protocol"] == "first_chunks")]
    assert set(exploratory["verdict"]) == {"exploratory", "baseline"}
    assert exploratory["p_holm"].isna().all()
    confirmed = result.query("phase == 'confirmation' and protocol == 'full'")
    assert "exploratory" not in set(confirmed["verdict"])
    claimed = confirmed.dropna(subset="p_holm")
    assert set(zip(claimed["spectrum"], claimed["remap"], claimed["baseline"], strict=True)) == {
        ("evq_500k", "none", "geo_500k+yarn")
    }
    assert "Selection: seeds 2 on the first 40 %" in page
    assert "Confirmation: seeds 1, 3 on the other blocks" in page
    assert page.index("## Against geo_500k + yarn") < page.index(
        "## Selection: exploratory, no verdicts"
    )
    joined = (chosen.parent / "summary.md").read_text()
    assert "evq_500k + yarn" in joined


@pytest.mark.slow
def test_the_run_holds_the_tau_of_its_experiment(chosen: Path) -> None:
    frozen = json.loads((chosen / "evq_500k/seed1/config.json").read_text())
    assert frozen["spectrum"] == {
        "name": "evq_500k",
        "family": "evq_cosh",
        "theta": 500_000.0,
        "tau": 32 / 64**0.5,
    }


# --- the library ----------------------------------------------------------------------------------


def library_design(experiment: str) -> Design:
    return Design.model_validate(config.experiment_settings(LIBRARY, experiment))


@pytest.mark.parametrize("experiment", BEYOND + SMALL)
def test_declared_contrasts_can_become_significant(experiment: str) -> None:
    """m contrasts over the n seeds of confirmation: Holm's smallest p is m * 2 / 2^n."""
    design = library_design(experiment)
    family = design.comparisons.family(design.remaps)
    seeds = design.seeds_of(CONFIRMATION)
    assert len(seeds) >= 6
    assert 0 < len(family) * statistics.smallest_p(len(seeds)) < statistics.ALPHA


@pytest.mark.parametrize("experiment", BEYOND + SMALL)
def test_candidates_were_chosen_on_seed_42_and_are_confirmed_on_others(experiment: str) -> None:
    design = library_design(experiment)
    assert design.selection is not None
    assert design.selection.content() == {"seeds": [42], "blocks": 0.5}
    assert 42 not in design.seeds_of(CONFIRMATION)
    assert set(design.seeds) <= {
        42,
        123,
        7,
        17,
        97,
        999,
        2024,
        2025,
        2718,
        31415,
    }  # the study's ten


@pytest.mark.parametrize("experiment", BEYOND)
def test_small_versions_ask_the_same_of_the_toy(experiment: str) -> None:
    large, small = (LIBRARY["experiments"][name] for name in (experiment, f"{experiment}_small"))
    assert (small["spectra"], small["baseline"]) == (large["spectra"], large["baseline"])
    assert set(small["contrasts"]) <= set(large["contrasts"])
    assert (small["model"], small["training"].partition("-")[0]) == ("tiny", "tiny")
    remaps = [LIBRARY["evaluation"][parts["evaluation"]]["remaps"] for parts in (small, large)]
    assert remaps[0] == remaps[1]


def test_every_hybrid_has_the_geometric_spectrum_of_its_theta_beside_it() -> None:
    for name in BEYOND:
        names = LIBRARY["experiments"][name]["spectra"]
        for hybrid in (each for each in names if each.startswith("hybrid")):
            assert f"geo_{hybrid.partition('_t')[2]}" in names


def test_ten_seeds_are_the_published_ones() -> None:
    facts = published.published_runs("ten_seeds")
    assert set(facts["seed"]) == set(LIBRARY["experiments"]["ten_seeds"]["seeds"])
    assert set(facts["spectrum"]) < set(LIBRARY["experiments"]["ten_seeds"]["spectra"])


def test_every_spectrum_of_the_library_can_be_made_for_every_model() -> None:
    for experiment in LIBRARY["experiments"]:
        design = library_design(experiment)
        for spectrum in design.spectra:
            assert np.isfinite(spectrum.inv_freq(design.head_dim)).all()


@pytest.mark.slow
@pytest.mark.parametrize("experiment", BEYOND + SMALL)
def test_snakemake_plans_every_run(fresh: Path, experiment: str) -> None:
    parts = LIBRARY["experiments"][experiment]
    plan = snakemake(fresh, "-n", "--config", f"run={experiment}").stdout
    counts = dict(re.findall(r"^(train|evaluate) +([0-9]+)$", plan, flags=re.MULTILINE))
    runs = str(len(parts["spectra"]) * len(parts["seeds"]))
    assert counts == {"train": runs, "evaluate": runs}
