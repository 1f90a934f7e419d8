"""The figures of a search: what is drawn where, and what a candidate far off does to them."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from rope_spectra.report import search_figures


def table(**columns: list[float | None]) -> pd.DataFrame:
    """Two rounds of course.csv: four proposals, two of which go on with two seeds."""
    base = {
        "round": [0, 0, 0, 0, 1, 1],
        "tokens": [250] * 4 + [1_500_000] * 2,
        "n_seeds": [1] * 4 + [2] * 2,
        "proposal": [0, 1, 2, 3, 3, 1],
        "is_new": [True] * 4 + [False] * 2,
        "rank": [3, 2, 4, 1, 1, 2],
        "goes_on": [False, True, False, True, False, False],
        "value": [0.4, 0.1, -0.5, -0.2, -0.3, -0.1],
        "noise": [0.1] * 4 + [0.07] * 2,
        "within": [0.0] * 6,
        "is_allowed": [True, True, False, True, True, True],
        "best_so_far": [0.4, 0.1, 0.1, -0.2, -0.3, -0.3],
        "best": [0, 1, 1, 3, 3, 3],
        "wavelength0": [4.0, 5.0, 6.0, 7.0, 7.0, 5.0],
        "wavelength1": [50.0, 60.0, 900.0, 800.0, 800.0, 60.0],
        "stilled": [0.0, 0.1, 0.2, 0.3, 0.3, 0.1],
    }
    return pd.DataFrame(base | columns)


def words(figure: Figure) -> str:
    texts = [text for axes in figure.axes for text in axes.texts]
    return " ".join([*(text.get_text() for text in texts), *map(labels, figure.axes)])


def labels(axes) -> str:
    return f"{axes.get_title(loc='left')} {axes.get_xlabel()} {axes.get_ylabel()}"


def test_candidates_are_ratios_and_say_what_became_of_them() -> None:
    drawn = search_figures.drawn(table(), "degradation")
    assert drawn["y"].to_list() == pytest.approx(np.exp([0.4, 0.1, -0.5, -0.2, -0.3, -0.1]))
    assert drawn["low"][0] == pytest.approx(np.exp(0.3))
    assert drawn["kind"].to_list() == ["dropped", "kept", "beyond", "kept", "kept", "dropped"]
    assert not drawn["far"].any()


def test_retrieval_is_in_points() -> None:
    assert search_figures.drawn(table(), "retrieval")["y"][0] == pytest.approx(40)


@pytest.mark.parametrize("value", [50.0, np.inf, np.nan])
def test_a_candidate_far_off_is_drawn_at_the_edge(value: float) -> None:
    values = [value, 0.1, -0.5, -0.2, -0.3, -0.1]
    shown = table(value=values)
    drawn = search_figures.drawn(shown, "degradation")
    assert drawn["far"].to_list() == [True] + [False] * 5
    assert drawn["y"].max() < 3
    assert search_figures.course(shown, ["degradation"], "geo").axes[0].get_ylim()[1] < 3


def test_no_allowed_candidate_can_be_drawn_too() -> None:
    nothing = table(is_allowed=[False] * 6, best_so_far=[np.nan] * 6, value=[np.nan] * 6)
    for shown in (nothing, table(is_allowed=[False] * 6, best_so_far=[np.nan] * 6)):
        assert search_figures.course(shown, ["degradation"], "geo").axes
        assert search_figures.response(shown, "degradation", "geo").axes


def test_the_course_names_its_rounds_and_the_best_breaks_between_them() -> None:
    figure = search_figures.course(table(), ["degradation"], "geo_10k")
    text = words(figure)
    assert "round 0\n250 tokens\n1 seed" in text
    assert "round 1\n1.5M tokens\n2 seeds" in text
    assert "Degradation over that of geo_10k" in text
    stairs = [line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post"]
    assert [line.get_ydata().tolist() for line in stairs] == [
        pytest.approx(np.exp([0.4, 0.1, 0.1, -0.2])),
        pytest.approx(np.exp([-0.3, -0.3])),
    ]


def test_a_search_without_two_seeds_says_that_its_noise_is_not_known() -> None:
    text = words(search_figures.course(table(noise=[np.nan] * 6), ["degradation"], "geo"))
    assert "the noise is not known" in text


def test_two_metrics_have_a_panel_each() -> None:
    both = table(value2=[0.1] * 6, noise2=[0.01] * 6)
    figure = search_figures.course(both, ["degradation", "retrieval"], "geo")
    assert len(figure.axes) == 2
    assert "Points of accuracy lost to geo" in words(figure)


def test_the_response_has_a_panel_for_each_coordinate_that_varies() -> None:
    figure = search_figures.response(table(), "degradation", "geo")
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "Wavelength at knot 0",
        "Wavelength at knot 1",
        "Share of stilled pairs",
    ]
    fixed = search_figures.response(table(stilled=[0.25] * 6), "degradation", "geo")
    assert len(fixed.axes) == 2
    # Each proposal once, and a ring around the winner.
    points = [len(points.get_offsets()) for points in figure.axes[0].collections]
    assert sum(points) == 4
    assert [line.get_xdata().tolist() for line in figure.axes[0].lines] == [[7.0]]


def test_the_best_is_drawn_with_its_knots_over_the_pairs_that_rotate() -> None:
    found = {"best": np.array([1.0, 0.1, 0.01, 0.0])}
    named = {"geo": np.array([1.0, 0.5, 0.25, 0.125]), "nope": np.zeros(4)}
    figure = search_figures.best(found, named, [2 * np.pi, 60, 200 * np.pi], 128)
    (knots,) = (line for line in figure.axes[0].lines if line.get_linestyle() == "None")
    assert knots.get_xdata().tolist() == [0, 1, 2]
    assert "training length 128" in words(figure)


def test_best_of_still_pairs_alone_has_no_knots() -> None:
    figure = search_figures.best({"best": np.zeros(4)}, {"geo": np.ones(4)}, [4, 8], 128)
    assert all(line.get_linestyle() != "None" for line in figure.axes[0].lines)
