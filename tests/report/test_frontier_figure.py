"""The figure of the frontier: every spectrum has its point, its name and its bars."""

from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from rope_spectra.analysis.frontier import Measured, frontier_table
from rope_spectra.config.design import Design
from rope_spectra.report import frontier_figure, style
from support.designs import make_design

NAMES = [f"a_spectrum_with_a_long_name_{place}" for place in range(14)]
SEEDS = [1, 2, 3]


def drawn(metric: str = "degradation", seeds: list[int] = SEEDS) -> tuple[pd.DataFrame, Figure]:
    """Fourteen spectra, most of them close together."""
    design = design_of(metric, seeds)
    random = np.random.default_rng(2)
    arms = {}
    for place, name in enumerate(NAMES):
        growth = 1.0 + 0.05 * place + random.normal(0, 0.02, (len(seeds), 12))
        right = 0.4 + 0.02 * place + random.normal(0, 0.03, (len(seeds), 12))
        by_length = growth if metric == "degradation" else None
        arms[name, "none"] = Measured(seeds, growth + 1, by_length, right, 0.1)
    table = frontier_table(design, arms)
    with style.applied():
        figure = frontier_figure.draw(design, table)
        FigureCanvasAgg(figure).draw()
    return table, figure


def design_of(metric: str, seeds: list[int]) -> Design:
    return make_design(
        *NAMES,
        seeds=seeds,
        primary={"length": 128, "metric": metric},
        retrieval={"trials": 20, "distractors": 9},
        retrieval_endpoint={"length": 64},
    )


def names_in(axes: Axes) -> list[Annotation]:
    return [
        text for text in axes.texts if isinstance(text, Annotation) and "name" in text.get_text()
    ]


def test_names_stand_clear_of_each_other_in_both_panels() -> None:
    _, figure = drawn()
    assert len(figure.axes) == 2
    for axes in figure.axes:
        texts = names_in(axes)
        assert sorted(text.get_text() for text in texts) == sorted(NAMES)
        boxes = [text.get_window_extent() for text in texts]
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_the_frontier_is_bold_filled_and_joined() -> None:
    table, figure = drawn()
    axes = figure.axes[0]
    best = table[table["non_dominated"]].sort_values("degradation")
    bold = {text.get_text() for text in names_in(axes) if text.get_fontweight() == "bold"}
    assert bold == set(best["spectrum"])
    lines = [np.column_stack(line.get_data()) for line in axes.lines]
    wanted = np.column_stack([np.exp(best["degradation"]), best["accuracy"]])
    assert any(line.shape == wanted.shape and np.allclose(line, wanted) for line in lines)


def test_perplexity_as_the_primary_metric_has_one_panel() -> None:
    _, figure = drawn("ppl")
    (axes,) = figure.axes
    assert axes.get_xlabel() == "Perplexity at 128 tokens"


def test_one_seed_is_drawn_without_bars() -> None:
    _, figure = drawn(seeds=[1])
    assert len(names_in(figure.axes[0])) == len(NAMES)
    assert any("no interval is possible" in text.get_text() for text in figure.axes[0].texts)
