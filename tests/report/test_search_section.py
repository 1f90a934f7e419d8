"""The page of a search: the scores of its best beside each other, and its course."""

import pandas as pd
import pytest

from rope_spectra.config.candidates import EarlierRound, SearchStep
from rope_spectra.config.design import Design
from rope_spectra.report.search_section import search_page

GEO = {"name": "geo", "family": "geometric", "theta": 10_000.0}


def design(experiment: str, **changes: object) -> Design:
    settings = {
        "experiment": experiment,
        "description": "Is there a better one?",
        "dataset": "toy",
        "model": "tiny",
        "training": "tiny",
        "seeds": [11, 12],
        "baseline": "best+none",
        "contrasts": ["geo+none"],
        "selection": {"seeds": [1], "blocks": 0.5},
        "noise_floor": 0,
        "lengths": [64, 256],
        "protocols": ["full"],
        "remaps": ["none"],
        "equivalence_margin": 0.01,
        "primary": {"metric": "degradation", "length": 256},
        "head_dim": 4,
        "train_length": 64,
        "spectra": [{"name": "best", "family": "values", "inv_freq": [1.0, 0.1]}, GEO],
    }
    return Design.model_validate(settings | changes)


def step(**changes: object) -> SearchStep:
    rounds = [
        EarlierRound(
            design=design("found/round0", baseline="geo", seeds=[1]),
            candidates=["c00", "c01"],
            proposals=2,
        )
    ]
    settings = {
        "search": "found",
        "space": {"knots": 3, "wavelength": [4.0, "train_length*16"], "stilled": [0.0, 0.5]},
        "objective": {"metric": "degradation", "length": 256, "limit": 0.02},
        "sampler": "tpe",
        "seed": 7,
        "head_dim": 4,
        "train_length": 64,
        "earlier": [each.content() for each in rounds],
        "names": ["best", "second"],
        "new": 0,
        "proposals": [2],
    }
    return SearchStep.model_validate(settings | changes)


def course(**changes: object) -> pd.DataFrame:
    columns = {
        "round": 0,
        "tokens": [1000, 1000],
        "n_seeds": 1,
        "proposal": [0, 1],
        "is_new": True,
        "rank": [2, 1],
        "goes_on": False,
        "value": [0.1, -0.3],
        "noise": [float("nan")] * 2,
        "is_allowed": [False, True],
    }
    return pd.DataFrame(columns | changes)


def found(selection: float, confirmation: float, metric: str = "degradation") -> pd.DataFrame:
    row = {"spectrum": "best", "proposal": 1, "metric": metric}
    row |= {"selection": selection, "selection_se": float("nan"), "selection_n_seeds": 1}
    row |= {"confirmation": confirmation, "confirmation_se": 0.02, "confirmation_n_seeds": 2}
    return pd.DataFrame([row])


SUMMARY = pd.DataFrame(
    {
        "spectrum": ["best", "geo"],
        "remap": "none",
        "protocol": "full",
        "length": 256,
        "phase": "confirmation",
        "verdict": ["baseline", "too few seeds"],
        "baseline": "best+none",
        "metric": ["degradation"] * 2,
        "endpoint": [None, "primary"],
        "n_pairs": [None, 2],
        "hopeless": None,
        "p_holm": 0.5,
        "degradation_ratio": [None, 1.3],
        "degradation_p_sign_flip": 0.5,
        "degradation_wins": ["", "0/2"],
        **{
            f"delta_degradation_{kind}_{side}": 0.1
            for kind in ("crossed95", "ci95")
            for side in ("low", "high")
        },
    }
)


def page(**parts: object) -> str:
    values = {"step": step(), "design": design("found/confirmation"), "course": course()}
    values |= {"found": found(-0.3, -0.1), "summary": SUMMARY}
    return search_page(**(values | parts))


def test_the_scores_of_the_best_are_beside_each_other_with_their_cost() -> None:
    text = page()
    row = next(line for line in text.splitlines() if line.startswith("| best "))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["best", "1", "degradation", "0.741 (-0.300)", "0.905 (-0.100 ± 0.020)"]
    assert "selection, 1 seed " in text
    assert "confirmation, 2 seeds" in text
    assert "The cost of selection" in text
    assert "1.221 times" in text


def test_a_score_that_held_is_not_called_a_cost() -> None:
    assert "The cost of selection" not in page(found=found(-0.3, -0.4))


def test_retrieval_is_in_points() -> None:
    sought = step(objective={"metric": "retrieval", "length": 256})
    text = page(step=sought, found=found(-0.30, -0.25, "retrieval"))
    assert "| -30.0 " in text
    assert "| -25.0 ± 2.0 " in text
    assert "loses +5.0 points more" in text
    assert "nats per token above" not in text


def test_the_page_says_what_was_sought_where() -> None:
    text = page()
    assert text.startswith("# found\n")
    assert "2 spectra, 1 round and 2 runs" in text
    for piece in (
        "from 4 to 1024 tokens",
        "0 to 50 % of the pairs",
        "0.02 nats",
        "tpe with seed 7",
    ):
        assert piece in text
    fixed = step(space={"knots": 3, "wavelength": [4.0, 64.0], "stilled": [0.25, 0.25]})
    assert ", 25 % of the pairs" in page(step=fixed).replace("; 25", ", 25")


def test_rounds_have_a_line_each_with_what_broke_the_limit() -> None:
    row = next(line for line in page().splitlines() if line.startswith("| 0 "))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["0", "1,000", "1", "2", "2", "1", "proposal 1", "0.741 (-0.300)"]


def test_a_search_that_found_nothing_within_the_limit_says_so() -> None:
    assert "kept the limit" not in page()
    assert "No spectrum of the last round kept the limit" in page(course=course(is_allowed=False))


def test_the_verdicts_of_the_confirmation_are_on_the_page() -> None:
    text = page()
    assert "too few seeds" in text
    assert "(confirmation/summary.md)" in text


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_best_that_diverged_has_a_page(value: float) -> None:
    assert "| best " in page(found=found(-0.3, value))
