"""The objective of a search: paired differences, the limit, and the order of candidates."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.runtime.errors import UserError
from rope_spectra.search.objective import (
    Measured,
    Objective,
    Score,
    in_order,
    measured,
    pooled_noise,
    score,
)

DEGRADATION = Objective(("degradation",), length=256, train_length=128)


def arrays(inside: float, beyond: float, at_length: float) -> dict[str, np.ndarray]:
    """Two blocks of 256 tokens: NLL per token at 128 in both halves, and at 256 in the second."""
    edges = np.array([0, 128, 256])
    return {
        "none/128/nll": np.full((2, 1), 128 * (inside + beyond)),
        "none/128/tokens": np.array([256]),
        "none/128/edges": np.array([0, 128]),
        "none/256/nll": np.tile([128 * inside, 128 * at_length], (2, 1)),
        "none/256/tokens": np.array([128, 128]),
        "none/256/edges": edges,
    }


def of(*values: float, excess: float = -1.0) -> Score:
    return Score(values=values, deltas=(values,), within=0.0, excess=excess)


def test_degradation_and_the_loss_within_the_training_length() -> None:
    found = measured(arrays(inside=1.0, beyond=2.0, at_length=5.0), DEGRADATION)
    assert found.values == pytest.approx((1.5,))  # 3 nats more on half of the targets
    assert found.within == pytest.approx(1.5)


def test_retrieval_is_the_share_of_wrong_trials_over_the_tasks() -> None:
    right, wrong = [0.0, 1.0], [1.0, 0.0]
    probed = arrays(1, 1, 1) | {
        "none/256/retrieval/key": np.array([right, right, right, wrong]),
        "none/256/retrieval/key/control": np.array([wrong] * 4),
        "none/256/retrieval/item": np.array([right, wrong, wrong, wrong]),
        "none/128/retrieval/key": np.array([wrong] * 4),
    }
    both = Objective(("degradation", "retrieval"), length=256, train_length=128)
    assert measured(probed, both).values == pytest.approx((0.0, 0.5))


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("none/128/nll", "objective: .* not evaluated at 128"),
        ("none/256/nll", "objective.length: .* not evaluated at 256"),
    ],
)
def test_runs_without_what_the_objective_needs(missing: str, message: str) -> None:
    without = {key: value for key, value in arrays(1, 1, 1).items() if key != missing}
    with pytest.raises(UserError, match=message):
        measured(without, DEGRADATION)
    with pytest.raises(UserError, match=r"objective.metric: .* no retrieval probe at 256"):
        measured(arrays(1, 1, 1), Objective(("retrieval",), length=256, train_length=128))


def test_a_score_is_the_mean_difference_over_the_same_seeds() -> None:
    baseline = [Measured((1.0,), 2.0), Measured((3.0,), 2.2)]
    found = score([Measured((0.5,), 2.1), Measured((2.7,), 2.3)], baseline, limit=0.15)
    assert found.values == pytest.approx((-0.4,))
    assert np.array(found.deltas) == pytest.approx(np.array([[-0.5], [-0.3]]))
    assert found.noise == pytest.approx((0.1,))
    assert found.within == pytest.approx(0.1)
    assert found.excess == pytest.approx(-0.05)
    assert found.is_allowed
    assert found.told == found.values


def test_one_seed_has_no_noise_and_other_seeds_do_not_pair() -> None:
    assert math.isnan(score([Measured((1.0,), 1.0)], [Measured((2.0,), 1.0)]).noise[0])
    with pytest.raises(ValueError, match="zip"):
        score([Measured((1.0,), 1.0)], [Measured((1.0,), 1.0)] * 2)


def test_a_candidate_beyond_the_limit_is_worse_than_all_within_it() -> None:
    scores = {
        "diverged": of(math.nan),
        "far": of(-9.0, excess=0.2),
        "near": of(9.0, excess=0.1),
        "worst": of(50.0),
        "best": of(-0.1),
    }
    assert in_order(scores) == ["best", "worst", "near", "far", "diverged"]
    told = {name: each.told[0] for name, each in scores.items()}
    assert sorted(told, key=told.__getitem__) == in_order(scores)
    assert all(map(math.isfinite, told.values()))


def test_a_loss_that_is_not_finite_within_the_training_length_is_no_candidate() -> None:
    found = score([Measured((-1.0,), math.inf)], [Measured((0.0,), 1.0)])
    assert not found.is_allowed
    assert all(map(math.isfinite, found.told))


def test_equal_candidates_keep_their_order() -> None:
    assert in_order({"b": of(1.0), "a": of(1.0), "c": of(0.0)}) == ["c", "b", "a"]


def test_two_metrics_are_in_order_of_their_frontiers() -> None:
    scores = {
        "second": of(2.0, 3.0),  # beaten by `middle` alone
        "left": of(0.0, 9.0),
        "last": of(9.0, 10.0),
        "middle": of(1.0, 2.0),
        "right": of(5.0, 1.0),
    }
    assert in_order(scores)[0] == "middle"
    assert set(in_order(scores)[:3]) == {"left", "middle", "right"}
    assert in_order(scores)[3:] == ["second", "last"]


values = st.floats(-5, 5).map(lambda value: round(value, 1))


@given(
    points=st.lists(st.tuples(values, values, st.sampled_from([-1.0, 0.3])), min_size=1, max_size=9)
)
def test_no_candidate_comes_before_one_that_beats_it(
    points: list[tuple[float, float, float]],
) -> None:
    scores = {str(i): of(x, y, excess=excess) for i, (x, y, excess) in enumerate(points)}
    order = [scores[name] for name in in_order(scores)]
    assert len(order) == len(points)
    for index, one in enumerate(order):
        for later in order[index + 1 :]:
            assert one.is_allowed or not later.is_allowed
            as_good = all(b <= a for a, b in zip(one.values, later.values, strict=True))
            beats = as_good and later.values != one.values
            assert not (beats and one.is_allowed and later.is_allowed)


def test_the_noise_is_pooled_over_the_candidates_with_two_seeds() -> None:
    one = Score((0.0,), ((-1.0,), (1.0,)), 0.0, -1.0)
    other = Score((5.0,), ((5.0,), (5.0,)), 0.0, -1.0)
    assert pooled_noise([one, other, of(7.0)]) == pytest.approx((1.0,))
    assert all(map(math.isnan, pooled_noise([of(7.0)])))
