"""The formulas and the table: brute force, closed forms, simulation, invariances, one seed."""

import itertools
import warnings
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rope_spectra.analysis import statistics, summary_table

FIXED = [
    "experiment",
    "spectrum",
    "remap",
    "protocol",
    "length",
    "n_seeds",
    "ppl_mean",
    "ppl_std",
    "ppl_ci95_low",
    "ppl_ci95_high",
]
FIXED += ["baseline", "delta_log_ppl", "p_sign_flip", "wins", "verdict"]
MARGIN = 0.0123457  # no ratio of two PPL of three decimals lies on this edge
EVIDENCE = [
    "ppl_std",
    "ppl_sem",
    "ppl_ci95_low",
    "ppl_ci95_high",
    "delta_log_ppl_ci95_low",
    "delta_log_ppl_ci95_high",
    "p_sign_flip",
]
EVIDENCE += [
    "ppl_ratio_ci95_low",
    "ppl_ratio_ci95_high",
    "p_holm",
    "bootstrap_ci95_low",
    "seeds_for_80pct_power",
    "study_claim",
]

ppl_values = st.integers(2000, 40_000).map(lambda thousandths: thousandths / 1000)
pairs_of_ppl = st.lists(st.tuples(ppl_values, ppl_values), min_size=2, max_size=10)


def runs(
    ppl: dict[str, dict[int, float]], protocol: str = "first_chunks", length: int = 4096
) -> pd.DataFrame:
    """The tidy table of {spectrum: {seed: ppl}}."""
    place = {
        "experiment": "demo",
        "remap": "none",
        "protocol": protocol,
        "length": length,
        "tokens": 1000,
        "chunks": 10,
    }
    rows = [
        place | {"spectrum": name, "seed": seed, "ppl": p}
        for name, seeds in ppl.items()
        for seed, p in seeds.items()
    ]
    return pd.DataFrame(rows).assign(nll=lambda frame: np.log(frame["ppl"]))


def two_spectra(pairs: list[tuple[float, float]]) -> dict[str, dict[int, float]]:
    ours, base = zip(*pairs, strict=True)
    return {"geo": dict(enumerate(base)), "hybrid": dict(enumerate(ours))}


def contrast(
    ppl: dict[str, dict[int, float]], spectrum: str = "hybrid", baseline: str = "geo"
) -> pd.Series:
    """The one row of a spectrum against the baseline."""
    return (
        summary_table.summarize(runs(ppl), baseline, [spectrum], MARGIN)
        .set_index("spectrum")
        .loc[spectrum]
    )


def same_numbers(left: pd.Series, right: pd.Series, columns: list[str]) -> bool:
    return np.allclose(
        left[columns].astype(float),
        right[columns].astype(float),
        rtol=1e-9,
        atol=1e-12,
        equal_nan=True,
    )


# ---- formulas


def test_seed_summary_of_a_textbook_sample() -> None:
    summary = statistics.seed_summary([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])
    assert (summary.n, summary.mean, summary.min, summary.max) == (8, 5.0, 2.0, 9.0)
    assert summary.std == pytest.approx((32 / 7) ** 0.5)
    assert summary.sem == pytest.approx((32 / 7 / 8) ** 0.5)
    assert summary.ci95_high - summary.mean == pytest.approx(
        2.364624 * summary.sem, rel=1e-6
    )  # t(0.975, 7) of the tables
    assert summary.mean - summary.ci95_low == pytest.approx(summary.ci95_high - summary.mean)
    assert summary.geomean == pytest.approx((2 * 4 * 4 * 4 * 5 * 5 * 7 * 9) ** (1 / 8))


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=8))
def test_sign_flip_is_the_brute_force_count(deltas: list[int]) -> None:
    observed = abs(sum(deltas))
    sums = [
        abs(sum(s * d for s, d in zip(signs, deltas, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(deltas))
    ]
    assert statistics.sign_flip_p(np.array(deltas) / 10) == np.mean(
        [total >= observed for total in sums]
    )


@pytest.mark.parametrize("n", [2, 3, 5, 6, 10, 16])
def test_the_smallest_p_is_reached_when_every_seed_agrees(n: int) -> None:
    assert (
        statistics.sign_flip_p(-np.linspace(0.1, 0.2, n))
        == statistics.smallest_p(n)
        == 2.0 ** (1 - n)
    )


@pytest.mark.parametrize(("n", "negative"), [(16, 12), (17, 13), (20, 15), (40, 25)])
def test_sign_flip_of_equal_sizes_is_the_binomial_test_exact_and_monte_carlo(
    n: int, negative: int
) -> None:
    deltas = np.where(np.arange(n) < negative, -0.1, 0.1)
    expected = stats.binomtest(negative, n).pvalue
    tolerance = (
        0 if n <= 16 else 4 * (expected * (1 - expected) / 2**16) ** 0.5 + 2**-16
    )  # four standard errors
    assert statistics.sign_flip_p(deltas) == pytest.approx(expected, rel=1e-12, abs=tolerance)


@given(st.lists(st.floats(-1, 1), min_size=17, max_size=20), st.randoms())
@settings(max_examples=6, deadline=None)
def test_monte_carlo_p_does_not_depend_on_the_order_or_the_sign(
    deltas: list[float], random: Random
) -> None:
    shuffled = random.sample(deltas, len(deltas))
    p = statistics.sign_flip_p(sorted(deltas, key=abs))
    assert statistics.sign_flip_p(shuffled) == pytest.approx(
        p, abs=0.01
    )  # equal sizes of both signs may trade places
    assert statistics.sign_flip_p(-np.array(shuffled)) == pytest.approx(p, abs=0.01)


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert statistics.holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert statistics.holm([]).size == 0


def test_holm_counts_members_that_have_no_p() -> None:
    assert statistics.holm([np.nan, 0.01, np.nan]) == pytest.approx(
        [np.nan, 0.03, np.nan], nan_ok=True
    )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_raw_p_and_bonferroni_and_keeps_the_order(
    p_values: list[float],
) -> None:
    p, adjusted = np.array(p_values), statistics.holm(p_values)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, p * len(p)) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()


def test_study_claim_needs_all_three_parts() -> None:
    base = [10.0, 10.1, 9.9]
    assert statistics.study_claim([9.0, 9.1, 8.9], base) is True
    assert statistics.study_claim([11.0, 11.1, 10.9], base) is False
    assert statistics.study_claim([9.99, 10.05, 9.85], base) is False  # a gap below the std
    assert statistics.study_claim([8.0, 8.0, 8.0], [9.0, 12.0, 9.0]) is True
    assert (
        statistics.study_claim([9.0, 9.0, 9.0], [9.1, 12.0, 9.1]) is False
    )  # the spread of the baseline counts as well
    assert (
        statistics.study_claim([9.8, 10.2, 9.9, 10.2, 9.2], [10.0, 10.1, 9.9, 10.1, 10.6]) is False
    )
    assert statistics.study_claim([9.0], [10.0]) is None


def test_study_claim_counts_two_thirds_of_the_seeds() -> None:
    base = np.array([10.0, 10.0, 10.0])
    assert statistics.study_claim([9.0, 9.0, 10.0], base) is True
    assert statistics.study_claim([8.0, 10.0, 10.0, 8.0], np.full(4, 10.0)) is False


# ---- simulation


def test_the_t_interval_covers_95_percent_of_five_seed_studies() -> None:
    draws = np.random.default_rng(1).normal(3.0, 0.5, (4000, 5))
    intervals = np.array([statistics.mean_ci95(draw) for draw in draws])
    covered = ((intervals[:, 0] < 3.0) & (intervals[:, 1] > 3.0)).mean()
    assert 0.936 < covered < 0.964  # four standard errors; a normal interval would cover 88 %


def crossed(random: np.random.Generator, n_seeds: int = 25, n_blocks: int = 50) -> np.ndarray:
    """Deltas of mean 0 whose mean over all owes the same variance to seeds and to blocks."""
    seeds = random.normal(0, n_seeds**0.5, (n_seeds, 1))
    blocks = random.normal(0, n_blocks**0.5, (1, n_blocks))
    return seeds + blocks + random.normal(0, 1, (n_seeds, n_blocks))


def test_the_bootstrap_covers_seeds_and_blocks_together() -> None:
    random = np.random.default_rng(2)
    intervals = np.array(
        [statistics.two_level_bootstrap(crossed(random), resamples=300, seed=i) for i in range(400)]
    )
    covered = ((intervals[:, 0] < 0) & (intervals[:, 1] > 0)).mean()
    assert (
        0.89 < covered < 0.98
    )  # about 94 % +- 1 %; resampling one of the two levels alone covers at most 83 %


def test_the_bootstrap_is_repeatable_antisymmetric_and_blind_to_the_order_of_the_seeds() -> None:
    deltas = crossed(np.random.default_rng(3), n_seeds=6)
    low, high = statistics.two_level_bootstrap(deltas)
    assert low < deltas.mean() < high
    assert statistics.two_level_bootstrap(deltas) == (low, high)
    assert statistics.two_level_bootstrap(deltas[[5, 2, 0, 1, 4, 3]]) == (low, high)
    assert statistics.two_level_bootstrap(-deltas) == pytest.approx((-high, -low))
    assert statistics.two_level_bootstrap(deltas, seed=1) != (low, high)


def test_the_bootstrap_of_equal_deltas_is_that_delta() -> None:
    assert statistics.two_level_bootstrap(np.full((3, 7), -0.25)) == pytest.approx((-0.25, -0.25))


@pytest.mark.parametrize("shape", [(0, 5), (1, 5), (5, 1)])
def test_the_bootstrap_needs_two_seeds_and_two_blocks(shape: tuple[int, int]) -> None:
    assert np.isnan(statistics.two_level_bootstrap(np.zeros(shape))).all()


# ---- the table


def test_columns_begin_with_the_fixed_ones_even_without_runs() -> None:
    nothing = summary_table.summarize(runs({"geo": {1: 5.0}}).iloc[:0], "geo", [], MARGIN)
    assert len(nothing) == 0
    assert list(nothing.columns)[: len(FIXED)] == FIXED
    assert list(nothing.columns) == list(summary_table.COLUMNS)


@given(pairs_of_ppl, st.randoms())
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_runs_does_not_matter(
    pairs: list[tuple[float, float]], random: Random
) -> None:
    frame = runs(two_spectra(pairs))
    shuffled = frame.iloc[random.sample(range(len(frame)), len(frame))]
    expected = summary_table.summarize(frame, "geo", ["hybrid"], MARGIN)
    pd.testing.assert_frame_equal(
        summary_table.summarize(shuffled, "geo", ["hybrid"], MARGIN), expected
    )


@given(pairs_of_ppl, st.randoms())
@settings(max_examples=20, deadline=None)
def test_names_of_seeds_and_spectra_do_not_matter(
    pairs: list[tuple[float, float]], random: Random
) -> None:
    ppl = two_spectra(pairs)
    label = dict(zip(range(len(pairs)), random.sample(range(10**6), len(pairs)), strict=True))
    renamed = {
        name: {label[seed]: p for seed, p in ppl[old].items()}
        for name, old in (("z", "geo"), ("a", "hybrid"))
    }
    before, after = contrast(ppl), contrast(renamed, "a", "z")
    numbers = [
        name
        for name, kind in summary_table.COLUMNS.items()
        if kind == "float64" and name != "seeds_for_80pct_power"
    ]
    assert same_numbers(before, after, numbers)
    assert (before["wins"], before["verdict"]) == (after["wins"], after["verdict"])


@given(pairs_of_ppl, st.floats(0.1, 10.0))
@settings(max_examples=25, deadline=None)
def test_the_comparison_does_not_depend_on_the_scale_of_ppl(
    pairs: list[tuple[float, float]], scale: float
) -> None:
    before = contrast(two_spectra(pairs))
    after = contrast(two_spectra([(scale * ours, scale * base) for ours, base in pairs]))
    assert same_numbers(before, after, ["delta_log_ppl", "p_sign_flip", "p_holm", "ppl_ratio"])
    assert (before["wins"], before["verdict"]) == (after["wins"], after["verdict"])
    assert after["ppl_mean"] == pytest.approx(scale * before["ppl_mean"])


@given(pairs_of_ppl)
@settings(max_examples=25, deadline=None)
def test_swapping_spectrum_and_baseline_turns_the_sign(pairs: list[tuple[float, float]]) -> None:
    ppl = two_spectra(pairs)
    there, back = contrast(ppl), contrast(ppl, "geo", "hybrid")
    assert there["delta_log_ppl"] == pytest.approx(-back["delta_log_ppl"])
    assert there["delta_log_ppl_ci95_low"] == pytest.approx(-back["delta_log_ppl_ci95_high"])
    assert there["ppl_ratio"] == pytest.approx(1 / back["ppl_ratio"])
    assert there["ppl_ratio_ci95_low"] == pytest.approx(1 / back["ppl_ratio_ci95_high"])
    assert there["p_sign_flip"] == back["p_sign_flip"]
    assert {"better": "worse", "worse": "better"}.get(there["verdict"], there["verdict"]) == back[
        "verdict"
    ]


def test_the_baseline_row_compares_with_nothing() -> None:
    frame = summary_table.summarize(
        runs(two_spectra([(9.0, 10.0), (9.1, 10.2)])), "geo", ["hybrid"], MARGIN
    )
    row = frame.iloc[0]
    assert (row["spectrum"], row["verdict"], row["baseline"], row["n_seeds"]) == (
        "geo",
        "baseline",
        "geo",
        2,
    )
    own = {
        "experiment",
        "spectrum",
        "remap",
        "protocol",
        "length",
        "n_seeds",
        "seeds",
        "eval_tokens",
        "baseline",
        "verdict",
        "rank",
        "rank_ci95_low",
        "rank_ci95_high",
    }
    own |= {
        f"ppl_{field}"
        for field in ("mean", "std", "sem", "ci95_low", "ci95_high", "min", "max", "geomean")
    }
    assert set(row.dropna().index) == own


def test_one_seed_leaves_the_evidence_empty() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = contrast({"geo": {42: 10.0}, "hybrid": {42: 9.0}})
    assert row[EVIDENCE].isna().all()
    assert (row["verdict"], row["wins"], row["n_pairs"], row["n_seeds"]) == (
        "too few seeds",
        "1/1",
        1,
        1,
    )
    assert row["delta_log_ppl"] == pytest.approx(np.log(0.9))


def test_unpaired_seeds_are_left_out_and_named() -> None:
    row = contrast(
        {"geo": {7: 10.0, 42: 11.0, 97: 3.0, 17: 3.0}, "hybrid": {42: 9.9, 7: 9.0, 5: 50.0}}
    )
    assert row["unpaired_seeds"] == "hybrid only: 5; geo only: 17 97"
    assert (row["n_pairs"], row["n_seeds"], row["seeds"], row["wins"]) == (2, 3, "5 7 42", "2/2")
    assert row["delta_log_ppl"] == pytest.approx(np.log(0.9))
    assert pd.isna(
        contrast({"geo": {1: 5.0, 2: 6.0}, "hybrid": {1: 5.0, 2: 6.0}})["unpaired_seeds"]
    )


@pytest.mark.parametrize(
    "ppl", [{"hybrid": {1: 9.0, 2: 8.0}}, {"geo": {3: 10.0}, "hybrid": {1: 9.0, 2: 8.0}}]
)
def test_without_a_common_seed_there_is_no_comparison(ppl: dict[str, dict[int, float]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = contrast(ppl)
    assert row[["delta_log_ppl", "p_sign_flip", "wins", "p_holm", "study_claim"]].isna().all()
    assert (row["n_pairs"], row["verdict"], row["n_seeds"]) == (0, "too few seeds", 2)
    assert row["unpaired_seeds"].startswith("hybrid only: 1 2")


def test_rows_follow_the_declared_order_at_every_length() -> None:
    ppl = {name: {1: 5.0, 2: 5.5} for name in ("d", "c", "b", "a")}
    frame = pd.concat(
        [runs(ppl, "full", 8192), runs(ppl, "full", 2048), runs(ppl, "first_chunks", 8192)]
    )
    result = summary_table.summarize(frame, "b", ["d", "a"], MARGIN)
    assert list(zip(result["protocol"], result["length"], strict=True))[::4] == [
        ("first_chunks", 8192),
        ("full", 2048),
        ("full", 8192),
    ]
    assert list(result["spectrum"]) == ["b", "d", "a", "c"] * 3


def test_only_declared_contrasts_share_the_correction() -> None:
    seeds = range(10)
    ppl = {
        name: {seed: 10.0 * factor + 0.01 * seed for seed in seeds}
        for name, factor in (("geo", 1), ("a", 0.9), ("b", 0.8))
    }
    both = summary_table.summarize(runs(ppl), "geo", ["a", "b"], MARGIN).set_index("spectrum")
    one = summary_table.summarize(runs(ppl), "geo", ["a"], MARGIN).set_index("spectrum")
    p = statistics.smallest_p(10)
    assert both.loc[["a", "b"], "p_holm"].tolist() == [2 * p, 2 * p]
    assert one["p_holm"].tolist() == pytest.approx([np.nan, p, np.nan], nan_ok=True)
    assert one["verdict"].tolist() == ["baseline", "better", "not declared"]


def test_a_declared_contrast_that_has_not_run_still_counts() -> None:
    ppl = {
        "geo": {seed: 10.0 + seed / 10 for seed in range(6)},
        "a": {seed: 9.0 + seed / 10 for seed in range(6)},
    }
    row = (
        summary_table.summarize(runs(ppl), "geo", ["a", "never"], MARGIN)
        .set_index("spectrum")
        .loc["a"]
    )
    assert (row["p_sign_flip"], row["p_holm"]) == (2 / 64, 4 / 64)


def full_runs(
    n_seeds: int, n_blocks: int = 40, tokens: int = 100
) -> tuple[pd.DataFrame, summary_table.Blocks]:
    """Two spectra on the same blocks; the second is worse by 0.05 nats per token and noise."""
    random = np.random.default_rng(4)
    text = random.normal(2.0, 0.2, n_blocks)
    nll = {
        (name, seed, "none", 4096): tokens
        * (text + shift + random.normal(0, 0.01) + random.normal(0, 0.02, n_blocks))
        for name, shift in (("geo", 0.0), ("hybrid", 0.05))
        for seed in range(n_seeds)
    }
    ppl = {
        name: {
            seed: float(np.exp(nll[name, seed, "none", 4096].mean() / tokens))
            for seed in range(n_seeds)
        }
        for name in ("geo", "hybrid")
    }
    return runs(ppl, "full"), summary_table.Blocks(
        nll, tokens={4096: tokens}, bytes={4096: 4 * tokens * n_blocks}
    )


def test_blocks_give_the_bootstrap_and_bits_per_byte() -> None:
    frame, blocks = full_runs(n_seeds=8)
    row = (
        summary_table.summarize(frame, "geo", ["hybrid"], MARGIN, blocks)
        .set_index("spectrum")
        .loc["hybrid"]
    )
    assert (
        0.03 < row["bootstrap_ci95_low"] < row["delta_log_ppl"] < row["bootstrap_ci95_high"] < 0.07
    )
    assert row["verdict"] == "worse"
    assert row["bits_per_byte"] == pytest.approx(
        np.log2(row["ppl_geomean"]) / 4
    )  # four bytes a token


def test_blocks_belong_to_the_full_protocol_alone() -> None:
    frame, blocks = full_runs(n_seeds=3)
    both = pd.concat([frame, frame.assign(protocol="first_chunks")])
    result = summary_table.summarize(both, "geo", ["hybrid"], MARGIN, blocks).set_index(
        ["protocol", "spectrum"]
    )
    columns = ["bits_per_byte", "bootstrap_ci95_low"]
    assert result.loc[("full", "hybrid"), columns].notna().all()
    assert result.loc[("first_chunks", "hybrid"), columns].isna().all()


def test_text_of_unknown_size_has_no_bits_per_byte() -> None:
    frame, blocks = full_runs(n_seeds=1)
    unknown = summary_table.Blocks(blocks.nll, blocks.tokens, bytes={})
    assert (
        summary_table.summarize(frame, "geo", ["hybrid"], MARGIN, unknown)["bits_per_byte"]
        .isna()
        .all()
    )
