"""The candidates of a round follow from the scores of those before it."""

import pytest

from rope_spectra.config import parts, search_checks
from rope_spectra.config.candidates import Candidate, Candidates, SearchStep
from rope_spectra.search import rounds
from rope_spectra.search.objective import Score
from rope_spectra.search.rounds import FinishedRound, next_candidates
from support.searched import config_of

# By place in the first round: the second is best, the last is beyond the limit.
VALUES, EXCESS = [0.3, 0.1, 0.2, 0.0], [-1.0, -1.0, -1.0, 0.5]


@pytest.fixture(autouse=True)
def _without_files(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    monkeypatch.setattr(rounds, "basis", lambda _: "")
    monkeypatch.setattr(search_checks, "_library", lambda *_: [])


def step_of(part: str, sampler: str = "random") -> SearchStep:
    return parts.step(config_of(sampler=sampler), part)


def over(step: SearchStep, number: int, found: Candidates) -> FinishedRound:
    """A round that is over with the scores above."""
    earlier = step.earlier[number]
    scores = {
        each.name: Score((value,), ((value,),), 0.0, excess)
        for each, value, excess in zip(found.candidates, VALUES, EXCESS, strict=False)
    }
    candidates = {each.name: each for each in found.candidates}
    new = list(candidates)[len(candidates) - earlier.proposals :]
    return FinishedRound(earlier.design, candidates, scores, new)


def same(candidate: Candidate, other: Candidate) -> bool:
    return candidate.content() | {"name": ""} == other.content() | {"name": ""}


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_best_go_on_and_new_ones_follow(sampler: str) -> None:
    first = next_candidates(step_of("s/round0", sampler), [])
    assert [each.proposal for each in first.candidates] == [0, 1, 2, 3]
    step = step_of("s/round1", sampler)
    second = next_candidates(step, [over(step, 0, first)])
    assert [each.name for each in second.candidates] == ["c00", "c01", "c02", "c03"]
    assert [each.proposal for each in second.candidates] == [1, 2, 4, 5]
    assert same(second.candidates[0], first.candidates[1])
    assert second == next_candidates(step, [over(step, 0, first)])
    last = step_of("s/confirmation", sampler)
    third = next_candidates(
        step_of("s/round2", sampler), [over(last, 0, first), over(last, 1, second)]
    )
    # The second round has them at the places of the values above.
    assert [each.proposal for each in third.candidates] == [2, 4]


def test_the_confirmation_has_the_best_of_the_last_round() -> None:
    first = next_candidates(step_of("s/round0"), [])
    step = step_of("s/confirmation")
    last = Candidates(search="s", basis="", candidates=first.candidates[:2])
    found = next_candidates(step, [over(step, 0, first), over(step, 2, last)])
    assert [(each.name, each.proposal) for each in found.candidates] == [("best", 1), ("second", 0)]


def test_every_candidate_is_a_curve_within_the_space() -> None:
    found = next_candidates(step_of("s/round0"), [])
    for candidate in found.candidates:
        rotating = [omega for omega in candidate.inv_freq if omega]
        assert len(candidate.inv_freq) == 16
        assert rotating == sorted(rotating, reverse=True)
        assert min(rotating) >= 2 * 3.14159 / 1024
        assert max(rotating) <= 2 * 3.1416 / 4
        assert len(rotating) >= 8
