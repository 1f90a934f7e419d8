"""The style of the figures: colors that all can tell apart, labels, and the two forms."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from rope_spectra.config.appearance import COLORS, Appearance
from rope_spectra.report import plots, style
from rope_spectra.runtime.errors import UserError

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


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_a_picture_in_column_form_is_as_wide_as_a_column(kind: str, tmp_path: Path) -> None:
    omegas = {
        "geo_500k": np.geomspace(1, 1e-6, 32),
        "a_spectrum_with_a_long_name_0.5": np.geomspace(1, 1e-4, 32),
    }
    with style.applied(Appearance(labels={"geo_500k": "Geometric, $θ$"}), form="column"):
        figure = plots.spectra(omegas, 2048, 16384, style.line_styles(list(omegas)))
        for name in ("one", "again"):
            style.save(figure, tmp_path / f"{name}.{kind}")
    content = (tmp_path / f"one.{kind}").read_bytes()
    assert content == (tmp_path / f"again.{kind}").read_bytes()
    width = {
        "svg": lambda: float(re.search(rb'width="([0-9.]+)pt"', content)[1]) / 72,
        "pdf": lambda: float(re.search(rb"MediaBox \[ 0 0 ([0-9.]+)", content)[1]) / 72,
        "png": lambda: int.from_bytes(content[16:20], "big") / 300,
    }[kind]()
    assert width == pytest.approx(style.COLUMN_WIDTH, abs=0.02)
    words = {text.get_text() for text in figure.findobj(Text)}
    assert {r"Geometric, \$θ\$", "a_spectrum_with_a_long_name_0.5"} <= words
    assert not {word for word in words if "Wavelength of each" in word or "never" in word}
    if kind == "svg":
        assert "Geometric, $θ$</text>" in content.decode()


def test_another_kind_of_picture_is_refused(tmp_path: Path) -> None:
    with style.applied(), pytest.raises(UserError, match=r"a\.jpg: .*\.svg, \.pdf or \.png"):
        style.save(Figure(), tmp_path / "a.jpg")
