"""The frontier of an experiment, and the verdicts on its retrieval endpoint."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.analysis.frontier import (
    COLUMNS,
    Measured,
    comparisons,
    correct,
    frontier_table,
    measure,
    non_dominated,
    shares_on_the_frontier,
)
from rope_spectra.analysis.runs import read_trials
from rope_spectra.analysis.summary_table import Blocks
from rope_spectra.artifacts import layout
from rope_spectra.config.design import Design
from rope_spectra.runtime.errors import UserError
from support.designs import make_design

SEEDS = list(range(1, 9))
TRIALS = 40
STUDIES = 2000
# By number of seeds, two contrasts; docs/statistics.md, section 8.
RATES = {8: 0.026, 12: 0.045}


def design(*names: str, **changes: Any) -> Design:
    """Of these spectra, with both endpoints; the first one is the baseline."""
    declared = {
        "seeds": SEEDS,
        "primary": {"length": 128},
        "retrieval": {"trials": TRIALS, "distractors": 9},
        "retrieval_endpoint": {"length": 64},
    }
    return make_design(*names, **(declared | changes))


def arm(growth: float, right: float, seeds: list[int] = SEEDS, spread: float = 0.0) -> Measured:
    """An arm whose seeds differ by `spread` in growth, and right in a share of the tasks."""
    place = np.linspace(-spread, spread, len(seeds))[:, None]
    degradation = growth + place + np.linspace(-0.2, 0.2, 12)
    answers = np.full((len(seeds), TRIALS), right)
    return Measured(seeds, degradation + 1.0, degradation, answers, chance=0.1)


def test_a_frontier_by_hand_with_ties_and_dominated_points() -> None:
    lower = [1.0, 1.0, 2.0, 3.0, 3.0]
    higher = [0.2, 0.1, 0.5, 0.5, 0.9]
    # The second has a twin in x that finds more, the fourth one in y that degrades less.
    assert non_dominated(lower, higher).tolist() == [True, False, True, False, True]
    assert non_dominated([1, 1], [0.5, 0.5]).tolist() == [True, True]


def test_what_has_no_finite_value_is_not_on_the_frontier_and_beats_nothing() -> None:
    assert non_dominated([np.inf, 1.0, np.nan], [0.9, 0.1, 0.5]).tolist() == [False, True, False]


POINTS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=12).map(
    lambda points: np.array(points, dtype=float)
)


@given(POINTS)
def test_one_that_is_better_by_both_is_alone_on_the_frontier(points: np.ndarray) -> None:
    best = [points[:, 0].min() - 1, points[:, 1].max() + 1]
    x, y = np.vstack([points, best]).T
    assert np.flatnonzero(non_dominated(x, y)).tolist() == [len(points)]


@given(POINTS)
def test_the_frontier_is_never_empty_and_does_not_depend_on_the_order(points: np.ndarray) -> None:
    free = non_dominated(*points.T)
    assert free.any()
    assert (non_dominated(*points[::-1].T)[::-1] == free).all()
    for index, (x, y) in enumerate(points):
        beaten = [(a <= x and b >= y and (a < x or b > y)) for a, b in points]
        assert free[index] == (not any(beaten))


def test_the_share_counts_the_resampled_sets_of_seeds() -> None:
    # By its second seed alone, the first arm is dominated; two seeds give sets 11, 12, 21, 22.
    lower = np.array([[1.0, 3.0], [2.0, 2.0]])
    higher = np.array([[0.5, 0.5], [0.5, 0.5]])
    ours, theirs = shares_on_the_frontier(lower, higher)
    assert ours == pytest.approx(0.75, abs=0.03)  # 12 and 21 are ties
    assert theirs == pytest.approx(0.75, abs=0.03)
    assert np.isnan(shares_on_the_frontier(lower[:, :1], higher[:, :1])).all()


def test_a_trial_is_right_by_the_share_of_its_tasks_and_a_tie_is_wrong() -> None:
    sure = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 3.0]])
    unsure = np.array([[2.0, 1.0, 3.0], [0.5, 1.0, 3.0]])
    assert correct([sure]).tolist() == [1.0, 0.0]
    assert correct([sure, unsure]).tolist() == [0.5, 0.5]


def test_the_table_names_the_frontier_and_judges_the_declared_contrasts() -> None:
    found = frontier_table(
        design("geo", "wide", "narrow", "lost"),
        {
            ("geo", "none"): arm(1.0, 0.9, spread=0.1),
            ("wide", "none"): arm(0.5, 0.5, spread=0.1),
            ("narrow", "none"): arm(1.2, 0.9, spread=0.1),
            ("lost", "none"): arm(0.6, 0.4, seeds=SEEDS[:3]),
        },
    ).set_index("spectrum")
    assert list(found.index) == ["wide", "lost", "geo", "narrow"]
    assert found["non_dominated"].to_dict() == {
        "wide": True,
        "lost": False,
        "geo": True,
        "narrow": False,
    }
    assert found["n_seeds"].unique().tolist() == [3]
    assert found["n_pairs"].dropna().to_dict() == {"wide": 8, "lost": 3, "narrow": 8}
    assert found["verdict"].to_dict() == {
        "geo": "baseline",
        "wide": "worse",
        "narrow": "cannot be told apart",
        "lost": "too few seeds",
    }
    assert found.loc["wide", "delta_accuracy"] == pytest.approx(-0.4)
    # Three contrasts over eight seeds: 2 / 2^8, times 3.
    assert found.loc["wide", "p_holm"] == pytest.approx(3 * 2 / 2**8)
    assert found.loc["wide", "wins"] == "0/8"


def test_verdicts_are_those_of_the_primary_contrasts_alone() -> None:
    declared = design("geo", "own", "other", primary={"length": 128, "contrasts": ["own"]})
    arms = {(name, "none"): arm(1.0, right) for name, right in [("geo", 0.2), ("own", 0.8)]}
    found = frontier_table(declared, arms | {("other", "none"): arm(1.0, 0.8)})
    verdicts = found.set_index("spectrum")["verdict"]
    assert verdicts.to_dict() == {"geo": "baseline", "own": "better", "other": "not declared"}
    changed = frontier_table(declared, arms, is_exploratory=True).set_index("spectrum")["verdict"]
    assert changed.to_dict() == {"geo": "baseline", "own": "exploratory"}


def test_a_contrast_that_was_not_run_counts_in_the_family() -> None:
    arms = {(name, "none"): arm(1.0, right) for name, right in [("geo", 0.2), ("own", 0.8)]}
    found = frontier_table(design("geo", "own", "missing"), arms).set_index("spectrum")
    assert found.loc["own", "p_holm"] == pytest.approx(2 * 2 / 2**8)


def test_equal_accuracy_is_no_equivalence() -> None:
    arms = {(name, "none"): arm(1.0, 0.5) for name in ("geo", "own")}
    found = frontier_table(design("geo", "own"), arms).set_index("spectrum")
    assert found.loc["own", "verdict"] == "cannot be told apart"
    assert found["non_dominated"].all()


def test_one_seed_has_no_interval_and_no_share() -> None:
    arms = {(name, "none"): arm(1.0, 0.5, seeds=[1]) for name in ("geo", "own")}
    found = frontier_table(design("geo", "own", seeds=[1]), arms)
    assert list(found) == COLUMNS
    assert found["non_dominated"].all()
    assert found[["non_dominated_share", "accuracy_crossed95_low"]].isna().all(axis=None)


@pytest.mark.slow
@pytest.mark.parametrize("n_seeds", [8, 12])
def test_false_verdicts_on_retrieval_stay_below_the_promise(n_seeds: int) -> None:
    """At most 5 % over the family, where seeds and passages both vary and no spectrum differs.

    Trials are right or wrong, which the crossed interval takes for normal.
    """
    random = np.random.default_rng(3)
    seeds = list(range(n_seeds))
    names = ("geo", "a", "b")
    declared = design(*names, seeds=seeds)
    wrong = 0
    for _ in range(STUDIES):
        arms = {}
        for name in names:
            passages = random.normal(0, 0.15, (1, TRIALS))
            chance = np.clip(0.6 + passages + random.normal(0, 0.1, (n_seeds, 1)), 0, 1)
            answers = random.binomial(1, chance).astype(float)
            arms[name, "none"] = Measured(seeds, answers, None, answers, 0.1)
        verdicts = {row["verdict"] for row in comparisons(declared, arms).values()}
        wrong += bool(verdicts & {"better", "worse"})
    assert wrong / STUDIES == pytest.approx(RATES[n_seeds], abs=0.002)


# ---- from the runs


def runs_of(names: tuple[str, ...]) -> tuple[pd.DataFrame, Blocks]:
    blocks = Blocks(tokens={64: 100, 128: 100}, train_length=64)
    rows = []
    for place, name in enumerate(names):
        for seed in (2, 1):
            for length in (64, 128):
                nll = np.array([100.0, 120.0]) * (1 + place * (length > 64)) + seed
                blocks.nll[name, seed, "none", length] = nll
                key = {"spectrum": name, "seed": seed, "remap": "none", "length": length}
                rows.append({**key, "protocol": "full", "ppl": np.exp(nll.mean() / 100)})
    return pd.DataFrame(rows), blocks


def test_both_endpoints_are_read_for_the_same_seeds() -> None:
    right = np.tile([1.0, 2.0], (TRIALS, 1))
    scores = {
        (name, seed, "none"): [right if name == "geo" else right[:, ::-1]]
        for name in ("geo", "own")
        for seed in (1, 2)
    }
    found = measure(design("geo", "own"), *runs_of(("geo", "own")), scores)
    own = found["own", "none"]
    assert own.seeds == [1, 2]
    assert own.degradation == pytest.approx(np.array([[1.0, 1.2], [1.0, 1.2]]))
    assert found["geo", "none"].degradation == pytest.approx(np.zeros((2, 2)))
    assert (own.correct.mean(), found["geo", "none"].correct.mean()) == (0.0, 1.0)
    assert own.chance == 0.5
    by_ppl = design("geo", "own", primary={"length": 128, "metric": "ppl"})
    assert measure(by_ppl, *runs_of(("geo", "own")), scores)["own", "none"].degradation is None


@pytest.mark.parametrize(
    ("tasks", "names"),
    [(None, ["/retrieval"]), (["key", "item"], ["/retrieval/key", "/retrieval/item"])],
)
def test_trials_are_read_from_both_versions_of_the_probe(
    tasks: list[str] | None, names: list[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = layout.fill(layout.EVAL_NLL, experiment="demo", spectrum="geo", seed=1)
    path.parent.mkdir(parents=True)
    tables = {f"none/64{name}": np.full((3, 10), k) for k, name in enumerate(names)}
    np.savez(path, **tables)
    declared = design("geo", retrieval_endpoint={"length": 64, "tasks": tasks})
    found = read_trials(declared, [("geo", 1)], 64)
    assert [table[0, 0] for table in found["geo", 1, "none"]] == list(range(len(names)))
    elsewhere = design("geo", retrieval_endpoint={"length": 128, "tasks": tasks})
    with pytest.raises(UserError, match=r"eval\.npz: has no none/128/retrieval"):
        read_trials(elsewhere, [("geo", 1)], 128)
