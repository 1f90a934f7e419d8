"""The figures: the numbers they draw, their words on seeds; whole, legible and reproducible."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from rope_spectra import paper
from rope_spectra.analysis import statistics, summary_table
from rope_spectra.analysis.runs import read_positions
from rope_spectra.artifacts import layout
from rope_spectra.config.design import Contrasts, Design
from rope_spectra.evaluation import perplexity
from rope_spectra.figures import write_figures
from rope_spectra.report import figures, panels, plots, style
from rope_spectra.runtime.errors import UserError
from support import small_experiment as small
from support.designs import make_design
from support.sealed_results import seal_results

TRAIN_LENGTH, LENGTHS, BLOCKS = 128, [128, 256, 512, 1024], 3
NAMES = ["hybrid", "geo", "poly"]
ALL_AGAINST_GEO = Contrasts.of("geo", [])


def demo_design(names: list[str]) -> Design:
    """Of these spectra, against geo, without declared contrasts."""
    changes = {"seeds": [42, 123, 7], "lengths": LENGTHS, "train_length": TRAIN_LENGTH}
    return make_design(*names, baseline="geo", contrasts=[], **changes)


def make_runs(
    names: list[str], seeds: list[int], protocols: tuple[str, ...] = ("first_chunks", "full")
) -> pd.DataFrame:
    random = np.random.default_rng(0)
    rows = [
        {
            "experiment": "demo",
            "spectrum": name,
            "seed": seed,
            "remap": "none",
            "protocol": protocol,
            "length": length,
        }
        for name in names
        for seed in seeds
        for protocol in protocols
        for length in LENGTHS
    ]
    growth = np.log2([row["length"] / TRAIN_LENGTH for row in rows])
    nll = (
        1.4
        + growth * [0.2 + 0.1 * names.index(row["spectrum"]) for row in rows]
        + random.normal(0, 0.03, len(rows))
    )
    return pd.DataFrame(rows).assign(nll=nll, ppl=np.exp(nll), tokens=3072, chunks=10, phase="all")


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    names = list(runs["spectrum"].unique())
    return summary_table.summarize(
        runs, "geo", [name for name in names if name != "geo"], margin=0.01
    )


def intervals(runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of the summary for the forest plot."""
    return figures.with_intervals(of(summarize(runs)), "ppl")


def write_experiment(folder: Path, runs: pd.DataFrame) -> None:
    """The files that the step reads, as the steps before it write them."""
    for name, seed in runs[["spectrum", "seed"]].drop_duplicates().itertuples(index=False):
        log = folder / layout.TRAIN_LOG.format(experiment="demo", spectrum=name, seed=seed)
        log.parent.mkdir(parents=True)
        steps = np.arange(0, 100, 10)
        pd.DataFrame({"step": steps, "loss": 2 + 4 / (1 + steps), "lr": 0.0, "tokens": 0}).to_csv(
            log, index=False
        )
        edges = perplexity.bin_edges(1024, TRAIN_LENGTH)
        tokens = np.diff(edges)
        nll = np.arange(1, len(tokens) + 1) * tokens * np.ones((BLOCKS, 1))
        (log.parent / "eval.csv").write_text("remap,protocol,length,ppl,nll,tokens,chunks\n")
        np.savez(
            log.parent / "eval.npz",
            **{"none/1024/nll": nll, "none/1024/tokens": tokens, "none/1024/edges": edges},
        )
    runs.to_csv(folder / layout.RUNS.format(experiment="demo"), index=False)
    summarize(runs).to_csv(
        folder / layout.EXPERIMENT_SUMMARY.format(experiment="demo"), index=False
    )


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_experiment(tmp_path, make_runs(NAMES, [42, 123, 7]))
    monkeypatch.chdir(tmp_path)
    seal_results(demo_design(NAMES))
    return tmp_path


@pytest.fixture(autouse=True)
def _styled() -> Iterator[None]:
    with style.applied():
        yield


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def of(runs: pd.DataFrame, protocol: str = "full") -> pd.DataFrame:
    return runs[runs["protocol"] == protocol]


def test_the_step_writes_every_figure_and_the_same_bytes_again(demo: Path) -> None:
    design = demo_design(NAMES)
    arguments = [
        "--definition",
        str(small.freeze(Path("results/demo/experiment.json"), design.content())),
        "--output",
        "again",
        "--spectra-csv",
        "results/demo/spectra.csv",
    ]
    write_figures(design, Path("here"))
    subprocess.run(
        [sys.executable, "-m", "rope_spectra.figures", *arguments],
        check=True,
        cwd=demo,
        capture_output=True,
    )
    assert {path.name for path in Path("again").iterdir()} == {
        f"{figure}.svg" for figure in layout.FIGURES
    }
    for path in Path("again").iterdir():
        assert path.read_bytes() == (Path("here") / path.name).read_bytes()
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
        assert "<dc:date>" not in path.read_text()
    assert list(pd.read_csv(layout.SPECTRA.format(experiment="demo"))["spectrum"]) == NAMES


def test_a_figure_for_a_paper_has_all_kinds_and_forms(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = small.freeze(Path("results/demo/experiment.json"), demo_design(NAMES).content())
    arguments = ["--definition", str(design), "--output", "figures", "--figure"]
    monkeypatch.setattr(sys, "argv", ["paper", *arguments, "spectra"])
    paper.main()
    made = {str(path) for path in Path("figures").rglob("*.*")}
    expected = [path.format(experiment="demo", figure="spectra") for path in layout.PAPER_FIGURES]
    assert made == {path.removeprefix("results/demo/") for path in expected}
    assert "Wavelength of each rotary pair" not in Path("figures/column/spectra.svg").read_text()
    monkeypatch.setattr(sys, "argv", ["paper", *arguments, "ppl"])
    with pytest.raises(UserError, match="--figure: ppl is no figure; choose from: ppl_by_length"):
        paper.main()


def test_curves_are_means_with_bands_of_the_sample_std() -> None:
    runs = of(make_runs(NAMES, [42, 123, 7]))
    figure = plots.ppl_by_length(runs, "full", TRAIN_LENGTH, style.line_styles(NAMES))
    axes = figure.axes[0]
    by_length = runs[runs["spectrum"] == "hybrid"].groupby("length")["ppl"]
    mean = next(line for line in axes.lines if line.get_marker() == "o")
    np.testing.assert_allclose(mean.get_ydata(), by_length.mean())
    np.testing.assert_array_equal(mean.get_xdata(), LENGTHS)
    band = (
        next(item for item in axes.collections if isinstance(item, PolyCollection))
        .get_paths()[0]
        .vertices
    )
    for length in LENGTHS:
        edges = band[band[:, 0] == length, 1]
        deviation = by_length.std()[length]
        np.testing.assert_allclose(
            [edges.min(), edges.max()], by_length.mean()[length] + np.array([-deviation, deviation])
        )
    assert axes.get_yscale() == axes.get_xscale() == "log"
    assert list(axes.get_xticks()) == LENGTHS
    assert "n = 3" in texts(figure)
    assert "training length 128" in texts(figure)


def test_a_band_of_perplexity_stays_above_one() -> None:
    runs = of(make_runs(["geo"], [1, 2]))
    runs["ppl"] = np.where(runs["seed"] == 1, 1.5, 90.0)
    axes = plots.ppl_by_length(runs, "full", TRAIN_LENGTH, style.line_styles(["geo"])).axes[0]
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == 1.0


def test_one_seed_has_no_band_and_says_so() -> None:
    runs = make_runs(NAMES, [42])
    styles = style.line_styles(NAMES)
    curves = plots.ppl_by_length(of(runs), "full", TRAIN_LENGTH, styles)
    assert not curves.axes[0].collections
    assert "n = 1" in texts(curves)
    forest = panels.paired_deltas(
        figures.paired_deltas(of(runs), ALL_AGAINST_GEO), intervals(runs), "geo", 0.01, styles
    )
    assert "dots only" in texts(forest)
    assert all(len(axes.lines) == 1 for axes in forest.axes)  # the zero line alone, no interval


def test_only_steps_that_all_seeds_logged_are_averaged() -> None:
    losses = pd.DataFrame(
        {
            "spectrum": "geo",
            "seed": [1, 1, 1, 2, 2],
            "step": [0, 5, 10, 0, 10],
            "loss": [8.0, 6, 4, 7, 3],
        }
    )
    mean = plots.training_loss(losses, style.line_styles(["geo"])).axes[0].lines[-1]
    np.testing.assert_array_equal(np.column_stack(mean.get_data()), [[0, 7.5], [10, 3.5]])


@pytest.mark.usefixtures("demo")
def test_loss_by_position_is_the_mean_of_each_bin() -> None:
    runs = pd.DataFrame({"spectrum": ["geo"], "seed": [7], "remap": ["none"]})
    positions = read_positions(demo_design(NAMES), runs, 1024)
    assert positions["nll"].tolist() == pytest.approx(range(1, 12))
    assert positions["context"].tolist() == [
        1,
        2,
        3.5,
        6.5,
        12.5,
        24.5,
        48.5,
        96.5,
        192.5,
        384.5,
        768.5,
    ]


def test_deltas_are_paired_by_seed_and_length() -> None:
    runs = of(make_runs(["geo", "poly"], [1, 2, 3]))
    runs = runs[~((runs["spectrum"] == "geo") & (runs["seed"] == 3))]
    deltas = figures.paired_deltas(runs, ALL_AGAINST_GEO)
    assert set(deltas["seed"]) == {1, 2}
    nll = runs.set_index(["spectrum", "seed", "length"])["nll"]
    for row in deltas.itertuples():
        assert row.delta == pytest.approx(
            nll["poly", row.seed, row.length] - nll["geo", row.seed, row.length]
        )


def test_the_forest_shows_the_intervals_of_the_summary() -> None:
    runs = make_runs(NAMES, [42, 123, 7])
    summary = intervals(runs)
    figure = panels.paired_deltas(
        figures.paired_deltas(of(runs), ALL_AGAINST_GEO),
        summary,
        "geo",
        0.01,
        style.line_styles(NAMES),
    )
    hybrid, poly = figure.axes
    assert (hybrid.get_title("left"), poly.get_title("left")) == ("hybrid", "poly")
    rows = summary[summary["spectrum"] == "hybrid"].sort_values("length")
    bars = [
        line.get_xdata()
        for line in hybrid.lines
        if len(line.get_xdata()) == 2 and line.get_linewidth() > 1
    ]
    np.testing.assert_allclose(
        bars, rows[["delta_log_ppl_crossed95_low", "delta_log_ppl_crossed95_high"]]
    )
    dots = next(item for item in hybrid.collections if isinstance(item, PathCollection))
    assert len(dots.get_offsets()) == 3 * len(LENGTHS)
    assert [label.get_text() for label in hybrid.get_yticklabels()] == [
        str(length) for length in LENGTHS
    ]
    assert hybrid.patches[0].get_width() == pytest.approx(2 * np.log(1.01))


def test_remapped_models_are_drawn_beside_the_trained_ones_and_name_their_baselines() -> None:
    native = of(make_runs(["geo", "hybrid"], [1, 2, 3]))
    yarn = native.assign(
        remap="yarn", ppl=native["ppl"] * np.where(native["length"] > TRAIN_LENGTH, 0.9, 1.0)
    )
    runs = pd.concat([native, yarn])
    deltas = figures.paired_deltas(runs, Contrasts.of("geo", ["hybrid+none vs geo+yarn"]))
    against = dict(zip(deltas["spectrum"], deltas["baseline"], strict=True))
    assert against == {"hybrid": "geo+yarn", "hybrid+yarn": "geo+yarn"}
    ppl = runs.set_index(["spectrum", "remap", "seed", "length"])["ppl"]
    for row in deltas[deltas["spectrum"] == "hybrid"].itertuples():
        assert row.delta == pytest.approx(
            np.log(
                ppl["hybrid", "none", row.seed, row.length]
                / ppl["geo", "yarn", row.seed, row.length]
            )
        )
    deltas = figures.paired_deltas(runs, Contrasts.of("geo", ["hybrid"]))
    styles = style.line_styles(["geo", "hybrid", "geo+yarn", "hybrid+yarn"])
    forest = panels.paired_deltas(deltas, figures.by_arm(intervals(runs)), "geo", 0.01, styles)
    assert [axes.get_title("left") for axes in forest.axes] == [
        "hybrid\nv geo",
        "hybrid+yarn\nv geo+yarn",
    ]
    assert "against its baseline" in texts(forest)
    curves = texts(plots.ppl_by_length(figures.by_arm(runs), "full", TRAIN_LENGTH, styles))
    assert all(name in curves for name in styles)


def test_many_spectra_are_ranked_in_a_panel_per_length() -> None:
    names = ["geo", *(f"s{k}" for k in range(6))]
    runs = make_runs(names, [42])
    figure = panels.paired_deltas(
        figures.paired_deltas(of(runs), ALL_AGAINST_GEO),
        intervals(runs),
        "geo",
        0.01,
        style.line_styles(names),
    )
    assert [axes.get_title("left") for axes in figure.axes] == [
        f"length {length}" for length in LENGTHS
    ]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == names[
        1:
    ]  # made ever worse


def test_the_forest_is_of_the_metric_of_the_primary_endpoint() -> None:
    runs = of(make_runs(["geo", "hybrid"], [1, 2, 3]))
    runs = runs.assign(degradation=np.where(runs["length"] > TRAIN_LENGTH, runs["nll"], np.nan))
    deltas = figures.paired_deltas(runs, ALL_AGAINST_GEO, "degradation")
    assert sorted(deltas["length"].unique()) == LENGTHS[1:]
    nll = runs.set_index(["spectrum", "seed", "length"])["nll"]
    row = deltas.iloc[0]
    place = (row["seed"], row["length"])
    assert row["delta"] == pytest.approx(nll["hybrid", *place] - nll["geo", *place])
    styles = style.line_styles(["geo", "hybrid"])
    none = intervals(runs).assign(low=np.nan)
    figure = panels.paired_deltas(deltas, none, "geo", 0.01, styles, "degradation")
    assert "Degradation against geo on the same seeds" in texts(figure)
    assert "degrades less" in texts(figure)


def test_degradation_begins_at_the_training_length_with_t_intervals() -> None:
    runs = of(make_runs(["geo"], [42, 123, 7]))
    trained = runs[runs["length"] == TRAIN_LENGTH].set_index("seed")["nll"]
    grown = runs["nll"].to_numpy() - trained.loc[runs["seed"]].to_numpy()
    runs = runs.assign(degradation=np.where(runs["length"] > TRAIN_LENGTH, grown, np.nan))
    figure = plots.degradation_by_length(runs, TRAIN_LENGTH, style.line_styles(["geo"]))
    mean = next(line for line in figure.axes[0].lines if line.get_marker() == "o")
    assert mean.get_xdata().tolist() == LENGTHS
    assert mean.get_ydata()[0] == 0.0
    (band,) = figure.axes[0].findobj(PolyCollection)
    at_longest = runs[runs["length"] == 1024]["degradation"]
    edges = band.get_paths()[0].vertices
    found = sorted({y for x, y in edges if x == 1024})
    assert found == pytest.approx(list(statistics.mean_ci95(at_longest)))
    assert "95 % t interval" in texts(figure)


@pytest.mark.usefixtures("demo")
def test_what_was_not_measured_is_said() -> None:
    runs = make_runs(["geo"], [42], protocols=("first_chunks",))
    drawn = figures.draw(demo_design(["geo"]), runs, summarize(runs))
    assert "protocol full was not run" in texts(drawn["nll_by_position"])
    assert "protocol full was not run both" in texts(drawn["degradation_by_length"])
    assert "no spectrum shares a seed with the baseline geo" in texts(drawn["paired_deltas"])
    assert "Protocol first_chunks" in texts(drawn["ppl_by_length"])


def test_pairs_that_do_not_rotate_are_mentioned() -> None:
    omegas = {"still": np.array([1.0, 0.1, 0.0]), "geo": np.array([1.0, 0.1, 0.01])}
    figure = plots.spectra(omegas, 128, 1024, style.line_styles(list(omegas)))
    assert "do not rotate" in texts(figure)
    np.testing.assert_allclose(
        figure.axes[0].lines[0].get_ydata(), 2 * np.pi / np.array([1.0, 0.1])
    )


def test_spectra_without_a_rotating_pair_are_named_below_the_figure() -> None:
    omegas = {"nope": np.zeros(3), "geo": np.array([1.0, 0.1, 0.01])}
    for drawn in (omegas, {"nope": omegas["nope"]}):
        figure = plots.spectra(drawn, 128, 1024, style.line_styles(list(drawn)))
        assert "None rotates: nope." in texts(figure)


def test_22_spectra_look_different_and_their_labels_do_not_touch() -> None:
    names = ["geo", *(f"spectrum_number_{k}" for k in range(21))]
    styles = style.line_styles(names)
    assert len({(to_hex(line.color), str(line.dashes)) for line in styles.values()}) == 22
    assert styles["geo"].color == "#000000"
    figure = plots.ppl_by_length(of(make_runs(names, [42])), "full", TRAIN_LENGTH, styles)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    labels = [text for text in figure.findobj(Annotation) if text.get_text() in styles]
    boxes = sorted(
        (Text.get_window_extent(label, renderer) for label in labels), key=lambda box: box.y0
    )
    assert len(boxes) == 22
    assert all(above.y0 > below.y1 for below, above in pairwise(boxes))
    in_order = sorted(labels, key=lambda label: label.xy[1])
    assert all(below.xyann[1] < above.xyann[1] for below, above in pairwise(in_order))


@given(
    wanted=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30).map(sorted),
    gap=st.floats(0.001, 0.03),
)
def test_spread_labels_keep_their_distance_and_stay_inside(wanted: list[float], gap: float) -> None:
    placed = style.spread(np.array(wanted), gap)
    assert np.all(np.diff(placed) >= gap - 1e-12)
    assert placed.min() >= 0.0
    assert placed.max() <= 1.0 + 1e-12
    if np.all(np.diff(wanted) >= gap):
        np.testing.assert_allclose(placed, wanted, atol=1e-12)


@pytest.mark.parametrize(("low", "high"), [(4.1, 13.0), (6.5, 7.1), (1.2, 60.0), (6.0, 7e6)])
def test_log_axes_have_enough_plain_ticks(low: float, high: float) -> None:
    _, axes = style.canvas("", 3.0)
    axes.set(yscale="log", ylim=(low, high))
    style.plain_log_ticks(axes.yaxis, low, high)
    inside = [tick for tick in axes.get_yticks() if low <= tick <= high]
    labels = axes.yaxis.get_major_formatter().format_ticks(inside)
    assert 3 <= len(inside) <= 12
    assert [float(label.replace(",", "")) for label in labels] == pytest.approx(inside)
    assert "e" not in "".join(labels)


def test_the_figure_of_retrieval_shows_the_means_over_the_seeds_and_chance() -> None:
    accuracy = {"geo": [(64, 0.75), (64, 0.85), (256, 0.2), (256, 0.3)]}
    accuracy["hybrid"] = [(length, 0.75) for length in (64, 64, 256, 256)]
    runs = pd.DataFrame(
        {"spectrum": name, "seed": index % 2, "length": length, "accuracy": value}
        for name, points in accuracy.items()
        for index, (length, value) in enumerate(points)
    )
    axes = plots.retrieval(runs, 0.1, 64, style.line_styles(["geo", "hybrid"])).axes[0]
    means = {
        line.get_color(): np.round(line.get_ydata(), 12).tolist()
        for line in axes.lines
        if line.get_marker() in ("o", "s")
    }
    assert means == {style.COLORS[0]: [0.8, 0.25], style.COLORS[1]: [0.75, 0.75]}
    assert [0.1, 0.1] in [list(line.get_ydata()) for line in axes.lines]
    assert axes.get_ylim() == (0.0, 1.03)
