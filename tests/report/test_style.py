"""The style of the figures: colors that all can tell apart, labels, and the two forms."""

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from rope_spectra.config.appearance import COLORS, Appearance
from rope_spectra.report import style

# What is seen of linear RGB without one kind of cone: Machado, Oliveira and Fernandes 2009,
# severity 1.
SIGHT = {
    "normal": np.eye(3),
    "no red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array(
    [[0.412456, 0.357576, 0.180437], [0.212673, 0.715152, 0.072175], [0.019334, 0.119192, 0.950304]]
)
WHITE = TO_XYZ.sum(axis=1)


def linear(color: str) -> NDArray[np.float64]:
    values = np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE L*a*b* of linear RGB, in which distances are about those that are seen."""
    relative = TO_XYZ @ np.clip(rgb, 0, 1) / WHITE
    root = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative * 841 / 108 + 4 / 29)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.fixture(params=SIGHT)
def seen(request: pytest.FixtureRequest) -> list[NDArray[np.float64]]:
    matrix = np.asarray(SIGHT[request.param])
    return [lab(matrix @ linear(color)) for color in (*style.COLORS, "#FFFFFF")]


def test_colors_differ_from_each_other_and_from_paper_for_every_kind_of_sight(
    seen: list[NDArray[np.float64]],
) -> None:
    # About 2 is the least difference that can be seen side by side.
    assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) > 15


def test_places_give_pairs_of_color_and_marker_that_no_two_share() -> None:
    assert len(style.COLORS) == COLORS
    names = [f"s{place}" for place in range(280)]
    with style.applied(Appearance(places={name: place for place, name in enumerate(names)})):
        styles = style.line_styles(names)
    looks = [(each.color, each.marker, str(each.dashes)) for each in styles.values()]
    assert len(set(looks)) == 280
    assert len({look[:2] for look in looks[:56]}) == 56


def test_a_spectrum_looks_the_same_among_others_and_one_without_a_place_takes_a_free_one() -> None:
    with style.applied(Appearance(places={"geo": 3, "own": 0}, labels={"geo": "Geometric"})):
        both, one = style.line_styles(["new", "own", "geo"]), style.line_styles(["geo"])
    assert one["geo"] == both["geo"]
    assert one["geo"].label == "Geometric"
    assert len({each.color for each in both.values()}) == 3


def test_labels_and_form_end_with_their_context() -> None:
    with style.applied(Appearance(labels={"geo": "Geometric"}), form="column"):
        assert style.in_column()
        assert style.shown("geo+yarn") == "Geometric + yarn"
    assert not style.in_column()
    assert style.shown("geo+yarn") == "geo+yarn"
