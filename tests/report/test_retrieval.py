"""The figures and the section of the page on the tasks of the retrieval probe."""

import numpy as np
import pandas as pd
import pytest

from rope_spectra.analysis import retrieval_tasks
from rope_spectra.analysis.retrieval_tasks import ALL
from rope_spectra.report import retrieval_figures, retrieval_section, style
from support import asked
from support.designs import make_design

DESIGN = make_design("geo", "own", retrieval={"trials": 40, "tasks": ["key", "pairs"]})


@pytest.fixture(scope="module")
def summary() -> pd.DataFrame:
    study = asked.study({"geo": 0.4, "own": 0.8})
    return retrieval_tasks.summarize(study, "geo", ["own"], {"key": 0.2})


@pytest.fixture(scope="module")
def distances() -> pd.DataFrame:
    return retrieval_tasks.by_distance(asked.study({"geo": 0.4, "own": 0.8}), 64)


def test_each_panel_has_chance_control_and_the_last_tokens_alone(summary: pd.DataFrame) -> None:
    figure = retrieval_figures.by_length(DESIGN, summary)
    titles = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    assert titles == [retrieval_figures.TITLES[task] for task in (ALL, "key", "pairs")]
    for axes, task in zip(figure.axes, (ALL, "key", "pairs"), strict=False):
        drawn = [np.array(line.get_ydata(), float) for line in axes.lines]
        rows = summary[(summary["task"] == task) & (summary["spectrum"] == "own")]
        for column in ("accuracy_mean", "truncated_accuracy", "control_accuracy"):
            wanted = rows[column].to_numpy(float)
            assert any(len(y) == 2 and np.allclose(y, wanted, equal_nan=True) for y in drawn)
        assert any(np.array_equal(y, [0.1, 0.1]) for y in drawn)
        colors = {line.get_color() for line in axes.lines}
        assert {style.COLORS[0], style.COLORS[1]} <= colors
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["geo", "own", "reading the last 64 tokens alone", "no statements", "chance"]


def test_a_cell_is_percent_right_of_its_spectrum_distance_and_length(
    distances: pd.DataFrame,
) -> None:
    figure = retrieval_figures.by_distance(DESIGN, distances)
    assert [axes.get_title() for axes in figure.axes] == ["length 64", "length 128"]
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["geo", "own", "last 64 tokens alone", "no statements"]
    at = distances[(distances["task"] == ALL) & (distances["length"] == 128)]
    cells = {text.get_position()[1]: [] for text in figure.axes[1].texts}
    for text in figure.axes[1].texts:
        cells[text.get_position()[1]].append(text.get_text())
    for place, name in enumerate(["geo", "own"]):
        wanted = at[at["spectrum"] == name]["accuracy"]
        assert cells[place] == [f"{100 * value:.0f}" for value in wanted]
    *_, truncated, control = (cells[place] for place in sorted(cells))
    assert truncated[-1] == "0"
    assert len(control) == len(cells[0])


def test_the_page_has_the_mean_of_the_tasks_its_controls_and_differences(
    summary: pd.DataFrame,
) -> None:
    values = retrieval_section.values(DESIGN, summary)
    assert values["untrained"] == ["pairs"]
    by_length = str(values["by_length"]).splitlines()
    names = [line.split("|")[1].strip() for line in by_length[2:]]
    assert names == [
        "geo",
        "geo, last 64 tokens alone",
        "own",
        "own, last 64 tokens alone",
        "without statements",
    ]
    own = summary[(summary["spectrum"] == "own") & (summary["task"] == ALL)].set_index("length")
    assert f"{100 * own.loc[128, 'accuracy_mean']:.0f} (" in by_length[4].split("|")[3]
    # Nothing is cut off at the training length.
    assert by_length[5].split("|")[2].strip() == ""
    assert by_length[6].split("|")[2:4] == [" 10            ", " 10            "]
    (difference,) = str(values["differences"]).splitlines()[2:]
    assert f"{round(100 * own.loc[128, 'delta_accuracy']):+d} (" in difference
    assert "–, " in str(values["by_task"])
