"""The published facts, and the known answers that follow from them (docs/statistics.md)."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rope_spectra import published as step
from rope_spectra.analysis import counterparts, published, statistics, summary_table
from rope_spectra.config import appearance
from rope_spectra.report import panels, style
from rope_spectra.report import published as drawing
from rope_spectra.runtime.errors import UserError
from support.checkout import ROOT, SHARED

PUBLISHED_JSON = SHARED / "published/published.json"
NAMES = {
    "geo_10k_ALIGN": "geo_10k",
    "geo_500k_ALIGN": "geo_500k",
    "geo_native": "geo_500k",
    "hybrid_native": "hybrid_a0.2_t100k",
}
HYBRID, ANCHORED = "hybrid_a0.2_t100k", "anchpoly_p3.9_omf0.3_t500k"


def from_json() -> pd.DataFrame:
    """Every published value as text, under the names of our table."""
    if not PUBLISHED_JSON.exists():
        pytest.skip("the collection of published results is not next to this checkout")
    rows = []
    for experiment, entry in json.loads(PUBLISHED_JSON.read_text(), parse_float=str)[
        "experiments"
    ].items():
        source = "{repo}@{commit}:{path}".format(**entry["source"])
        for spectrum, seeds in entry["results"].items():
            for seed, lengths in seeds.items():
                name = NAMES.get(spectrum, spectrum)
                rows += [
                    (experiment, name, int(seed), int(length), str(ppl), source)
                    for length, ppl in lengths.items()
                ]
    return pd.DataFrame(rows, columns=["experiment", "spectrum", "seed", "length", "ppl", "source"])


def from_csv() -> pd.DataFrame:
    return pd.read_csv(published.FACTS)


@pytest.fixture(params=[from_csv, from_json])
def facts(request: pytest.FixtureRequest) -> pd.DataFrame:
    return request.param().astype({"ppl": float})


def summary(facts: pd.DataFrame, experiment: str, length: int) -> pd.DataFrame:
    """Our table of a published experiment at one length, by spectrum."""
    chosen = facts[(facts["experiment"] == experiment) & (facts["length"] == length)]
    runs = chosen.assign(remap="none", protocol="first_chunks", tokens=10 * length)
    contrasts = [name for name in chosen["spectrum"].unique() if name != "geo_500k"]
    return summary_table.summarize(runs, "geo_500k", contrasts, margin=0.01).set_index("spectrum")


def ppl_deltas(facts: pd.DataFrame, experiment: str, length: int) -> np.ndarray:
    """hybrid - geo_500k in PPL, one value per seed."""
    chosen = facts[(facts["experiment"] == experiment) & (facts["length"] == length)]
    by_seed = chosen.pivot(index="seed", columns="spectrum", values="ppl")
    return (by_seed[HYBRID] - by_seed["geo_500k"]).to_numpy()


# ---- known answers


def test_three_seeds_at_16384(facts: pd.DataFrame) -> None:
    result = summary(facts, "50m_3cfg_3seed", 16384)
    assert result.loc[["geo_500k", HYBRID, ANCHORED], "ppl_mean"].tolist() == pytest.approx(
        [18.207, 17.324, 19.133], abs=5e-4
    )
    assert result.loc["geo_500k", "ppl_std"] == pytest.approx(0.940, abs=5e-4)
    ddof_0 = result.loc[["geo_500k", HYBRID, ANCHORED], "ppl_std"] * (2 / 3) ** 0.5
    assert ddof_0.tolist() == pytest.approx([0.768, 0.360, 1.135], abs=5e-4)
    assert result.loc[HYBRID, "p_sign_flip"] == 0.5
    assert set(result["verdict"]) == {"baseline", "too few seeds"}


def test_three_seeds_at_16384_in_ppl(facts: pd.DataFrame) -> None:
    deltas = ppl_deltas(facts, "50m_3cfg_3seed", 16384)
    assert deltas.mean() == pytest.approx(-0.883, abs=5e-4)
    assert statistics.mean_ci95(deltas) == pytest.approx((-3.801, 2.035), abs=5e-4)
    assert statistics.sign_flip_p(deltas) == 0.5


def test_ten_seeds_at_16384_are_not_significant(facts: pd.DataFrame) -> None:
    deltas = ppl_deltas(facts, "50m_2cfg_10seed", 16384)
    assert deltas.mean() == pytest.approx(-1.02, abs=5e-3)
    assert statistics.mean_ci95(deltas) == pytest.approx((-2.69, 0.65), abs=5e-3)
    assert statistics.sign_flip_p(deltas) == pytest.approx(0.21, abs=5e-3)
    row = summary(facts, "50m_2cfg_10seed", 16384).loc[HYBRID]
    assert row["delta_log_ppl"] == pytest.approx(-0.064, abs=5e-4)
    assert row["delta_log_ppl_ci95_low"] == pytest.approx(-0.156, abs=5e-4)
    assert row["delta_log_ppl_ci95_high"] == pytest.approx(0.028, abs=5e-4)
    assert (row["wins"], row["verdict"]) == ("8/10", "cannot be told apart")


def test_ten_seeds_at_4096_are(facts: pd.DataFrame) -> None:
    deltas = ppl_deltas(facts, "50m_2cfg_10seed", 4096)
    assert deltas.mean() == pytest.approx(-0.391, abs=5e-4)
    assert statistics.mean_ci95(deltas) == pytest.approx((-0.650, -0.132), abs=5e-4)
    assert statistics.sign_flip_p(deltas) == pytest.approx(0.0098, abs=5e-5)
    row = summary(facts, "50m_2cfg_10seed", 4096).loc[HYBRID]
    assert (row["wins"], row["verdict"]) == ("9/10", "better")


# ---- the table of facts


def test_every_fact_is_in_the_collection_digit_by_digit() -> None:
    ours = pd.read_csv(published.FACTS, dtype={"ppl": str})
    theirs = from_json()
    kept = theirs[theirs["experiment"].isin(ours["experiment"])]
    key = ["experiment", "spectrum", "seed", "length"]
    merged = kept.merge(ours, on=key, how="outer", suffixes=("_json", "_csv"), indicator=True)
    assert set(merged.loc[merged["_merge"] != "both", "spectrum"]) == {
        "geo_yarn_progressive"
    }  # position interpolation, a remap
    both = merged[merged["_merge"] == "both"]
    assert (both["ppl_json"] == both["ppl_csv"]).all()
    assert (both["source_json"] == both["source_csv"]).all()


def test_each_experiment_finds_its_published_counterpart() -> None:
    counts = {
        "unified_search": (22, 1),
        "unified_search_split_a": (12, 1),
        "unified_search_split_b": (12, 1),
        "unified_search_3cfg_3seed": (3, 3),
        "ten_seeds": (2, 10),
        "350m_final": (2, 1),
    }
    for experiment, (spectra, seeds) in counts.items():
        runs = published.published_runs(experiment)
        assert list(runs.columns) == ["experiment", "spectrum", "seed", "length", "ppl", "source"]
        assert (runs["spectrum"].nunique(), runs["seed"].nunique()) == (spectra, seeds)
        assert not runs["ppl"].isna().any()
        assert 42 in set(runs["seed"])
    assert "demo" not in counterparts.COUNTERPARTS


def test_the_two_machines_of_the_search_stay_apart() -> None:
    runs = published.published_runs("unified_search")
    aligned = runs[(runs["length"] == 16384) & runs["spectrum"].isin(["geo_10k", "geo_500k"])]
    assert aligned["ppl"].tolist() == [33.234, 16.991, 29.079, 17.947]
    assert aligned["source"].nunique() == 2


def test_350m_was_evaluated_at_eight_lengths() -> None:
    runs = published.published_runs("350m_final").pivot(
        index="length", columns="spectrum", values="ppl"
    )
    assert list(runs.index) == [2048, 3072, 4096, 5120, 6144, 8192, 12288, 16384]
    assert runs.loc[16384].to_dict() == {"geo_500k": 14.653, HYBRID: 12.646}


def test_the_rerun_spread_comes_from_the_six_repeats() -> None:
    assert published.rerun_spread(16384) == pytest.approx(
        np.std([16.991, 17.947, 18.224, 16.569, 16.791, 17.966], ddof=1)
    )
    assert published.rerun_spread(2048) == pytest.approx(
        np.std([6.804, 6.852, 6.829, 6.753, 6.767, 6.839], ddof=1)
    )
    assert np.isnan(published.rerun_spread(12288))  # one run only
    assert np.isnan(published.rerun_spread(3072))


# ---- published against ours


def our_runs(ppl: dict[tuple[str, int], float], **changed: str) -> pd.DataFrame:
    place = {
        "experiment": "ours",
        "remap": "none",
        "protocol": "first_chunks",
        "length": 16384,
        "tokens": 1,
        "chunks": 10,
    }
    rows = [
        place | changed | {"spectrum": name, "seed": seed, "ppl": value}
        for (name, seed), value in ppl.items()
    ]
    return pd.DataFrame(rows)


def test_compare_uses_one_ddof_and_the_rerun_spread() -> None:
    ours = our_runs(
        {
            ("geo_500k", 42): 18.0,
            ("geo_500k", 123): 20.0,
            (HYBRID, 42): 17.0,
            ("geo_100k", 42): 11.0,
        }
    )
    result = published.compare(published.published_runs("unified_search_3cfg_3seed"), ours)
    assert list(result["spectrum"]) == ["geo_500k", HYBRID]
    assert set(result["length"]) == {16384}
    geo, hybrid = result.iloc[0], result.iloc[1]
    assert (geo["n_published"], geo["n_ours"], geo["mean_ours"]) == (3, 2, 19.0)
    assert (geo["std_published"], geo["std_ours"]) == pytest.approx((0.940, 2**0.5), abs=5e-4)
    assert geo["difference"] == pytest.approx(19.0 - 18.2066667)
    assert geo["difference_in_rerun_std"] == pytest.approx(
        geo["difference"] / published.rerun_spread(16384)
    )
    assert (hybrid["n_ours"], np.isnan(hybrid["std_ours"])) == (1, True)


def test_compare_never_mixes_protocols_or_remaps() -> None:
    ppl = {("geo_500k", 42): 18.0}
    other = pd.concat(
        [
            our_runs({("geo_500k", 42): 90.0}, protocol="full"),
            our_runs({("geo_500k", 42): 90.0}, remap="pi"),
        ]
    )
    facts = published.published_runs("unified_search_3cfg_3seed")
    assert published.compare(facts, pd.concat([other, our_runs(ppl)]))["mean_ours"].tolist() == [
        18.0
    ]
    assert len(published.compare(facts, other)) == 0


def test_compare_sets_a_run_next_to_each_machine() -> None:
    result = published.compare(
        published.published_runs("unified_search"), our_runs({("geo_500k", 42): 17.0})
    )
    assert result["mean_published"].tolist() == [16.991, 17.947]
    assert result["n_published"].tolist() == [1, 1]
    assert result["source"].nunique() == 2


def test_the_spread_of_50m_says_nothing_about_350m() -> None:
    result = published.compare(
        published.published_runs("350m_final"), our_runs({("geo_500k", 42): 15.0})
    )
    assert result["difference"].tolist() == pytest.approx([15.0 - 14.653])
    assert result["difference_in_rerun_std"].isna().all()


def as_ours(experiment: str, shift: float = 0.0) -> pd.DataFrame:
    """Runs of ours with the published values plus `shift`, as runs.csv has them."""
    runs = (
        published.published_runs(experiment)
        .drop_duplicates(["spectrum", "seed", "length"])
        .drop(columns="source")
    )
    return runs.assign(
        experiment=experiment, remap="none", protocol="first_chunks", ppl=runs["ppl"] + shift
    )


@settings(max_examples=25, deadline=None)
@given(shift=st.floats(-1.0, 5.0))
def test_a_constant_shift_is_the_difference_and_leaves_the_spread(shift: float) -> None:
    result = published.compare(published.published_runs("ten_seeds"), as_ours("ten_seeds", shift))
    assert len(result) == 2 * 4
    np.testing.assert_allclose(result["difference"], shift, atol=1e-9)
    np.testing.assert_allclose(result["std_ours"], result["std_published"], rtol=1e-6)
    spread = [published.rerun_spread(length) for length in result["length"]]
    np.testing.assert_allclose(
        result["difference_in_rerun_std"], shift / np.array(spread), atol=1e-7
    )


def test_compare_lists_the_value_of_each_seed() -> None:
    ours = our_runs({("geo_500k", 7): 18.0, ("geo_500k", 5): 20.25})
    row = published.compare(published.published_runs("unified_search_3cfg_3seed"), ours).iloc[0]
    assert row["per_seed_published"] == "42: 18.224; 123: 19.138; 7: 17.258"
    assert row["per_seed_ours"] == "7: 18; 5: 20.25"


# ---- the figure


def draw(experiment: str, ours: pd.DataFrame) -> Figure:
    theirs = published.published_runs(experiment)
    points = drawing.points(theirs, ours, published.compare(theirs, ours))
    with style.applied():
        return panels.published_v_ours(points, drawing.caption(points))


def marks(figure: Figure, length: int, label: str) -> np.ndarray:
    """The (ppl, row) of one kind of mark in the panel of a length."""
    axes = next(axes for axes in figure.axes if axes.get_title("left") == f"length {length}")
    return next(line for line in axes.lines if line.get_label() == label).get_xydata()


def row_labels(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_a_row_holds_one_seed_of_both_sides_best_spectrum_first() -> None:
    figure = draw("unified_search_3cfg_3seed", as_ours("unified_search_3cfg_3seed", 0.5))
    seeds = ["seed 42", "seed 123", "seed 7"]
    assert [label.split("  ") for label in row_labels(figure)] == [
        [name if seed == "seed 42" else "", seed]
        for name in (HYBRID, "geo_500k", ANCHORED)
        for seed in seeds
    ]
    theirs, ours = (marks(figure, 16384, side) for side in ("published", "ours"))
    by_row = theirs[np.argsort(theirs[:, 1])]
    assert by_row[:, 0].tolist() == [
        16.847,
        17.408,
        17.716,
        18.224,
        19.138,
        17.258,
        19.609,
        17.568,
        20.223,
    ]
    np.testing.assert_allclose(ours[np.argsort(ours[:, 1])], by_row + np.array([0.5, 0.0]))


def test_a_seed_of_one_side_only_has_a_row_of_its_own() -> None:
    figure = draw(
        "unified_search_3cfg_3seed", our_runs({("geo_500k", 123): 18.0, ("geo_500k", 5): 20.0})
    )
    assert [label.split()[-1] for label in row_labels(figure)] == ["42", "123", "7", "5"]
    assert marks(figure, 16384, "published")[:, 1].tolist() == [0, 1, 2]
    assert marks(figure, 16384, "ours").tolist() == [[18.0, 1], [20.0, 3]]


def test_bars_are_the_rerun_spread_around_the_published_values() -> None:
    figure = draw("unified_search", as_ours("unified_search"))
    for length, axes in zip([2048, 4096, 8192, 16384], figure.axes, strict=True):
        ends = np.array([segment[:, 0] for segment in axes.collections[0].get_segments()])
        assert len(ends) == 24  # two machines ran geo_10k and geo_500k
        np.testing.assert_allclose(ends.mean(axis=1), marks(figure, length, "published")[:, 0])
        np.testing.assert_allclose(np.diff(ends)[:, 0] / 2, published.rerun_spread(length))


def test_the_caption_explains_a_spectrum_with_two_published_values() -> None:
    for experiment, twice in (
        ("unified_search", True),
        ("unified_search_split_a", False),
        ("unified_search_3cfg_3seed", False),
    ):
        theirs, ours = published.published_runs(experiment), as_ours(experiment)
        text = drawing.caption(drawing.points(theirs, ours, published.compare(theirs, ours)))
        assert (drawing.TWICE in text) == twice
        assert drawing.RERUNS in text
        assert ("(seed 42)" in text) == (ours["seed"].nunique() == 1)


def test_350m_has_no_bars_and_says_why() -> None:
    figure = draw("350m_final", as_ours("350m_final", 0.1))
    assert len(figure.axes) == 8
    assert not any(axes.collections for axes in figure.axes)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ours", "published"]
    assert drawing.NO_RERUNS in " ".join(
        text.get_text().replace("\n", " ") for axes in figure.axes for text in axes.texts
    )


@pytest.mark.parametrize(
    ("experiment", "rows"), [("unified_search", 22), ("ten_seeds", 20), ("350m_final", 2)]
)
def test_no_text_touches_another(experiment: str, rows: int) -> None:
    with style.applied():
        figure = draw(experiment, as_ours(experiment))
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
    labels = [label.get_window_extent(renderer) for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == rows
    assert all(below.y1 < above.y0 for above, below in pairwise(labels))
    axis_name = next(
        text for axes in figure.axes for text in axes.texts if text.get_text() == "Perplexity"
    )
    assert (
        axis_name.get_window_extent(renderer).x1 < figure.legends[0].get_window_extent(renderer).x0
    )


# ---- the step


def test_the_step_writes_table_and_figure_and_the_same_bytes_again(tmp_path: Path) -> None:
    as_ours("unified_search_3cfg_3seed", 0.1).to_csv(tmp_path / "runs.csv", index=False)
    with style.applied(appearance.read(None)):
        step.write(
            "unified_search_3cfg_3seed",
            tmp_path / "runs.csv",
            tmp_path / "here.csv",
            tmp_path / "here.svg",
        )
    places = [
        "--runs",
        "runs.csv",
        "--csv",
        "results/again.csv",
        "--figure",
        "results/figures/again.svg",
        "--log",
        "log/again",
    ]
    command = [
        sys.executable,
        "-m",
        "rope_spectra.published",
        "--experiment",
        "unified_search_3cfg_3seed",
        *places,
    ]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    result = pd.read_csv(tmp_path / "here.csv")
    assert result["difference"].tolist() == pytest.approx([0.1] * 12)
    assert result["n_ours"].tolist() == [3] * 12
    assert ElementTree.parse(tmp_path / "here.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "results/again.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert (tmp_path / "results/figures/again.svg").read_bytes() == (
        tmp_path / "here.svg"
    ).read_bytes()
    assert "12 means compared" in (tmp_path / "log/again").read_text()


@pytest.mark.parametrize(
    ("experiment", "text", "message"),
    [
        (
            "demo",
            "",
            "--experiment: demo has no published counterpart; use one of unified_search, ",
        ),
        ("350m_final", "", "runs.csv: not a table of runs with spectrum, seed, "),
        ("350m_final", "step,loss\n0,1.5\n", "runs.csv: not a table of runs with spectrum, seed, "),
        ("350m_final", "a\n1\n1,2,3\n", "runs.csv: not a table of runs with spectrum, seed, "),
        (
            "350m_final",
            "first_chunks,none,geo_500k,2.5,2048",
            "runs.csv: not a table of runs with spectrum, seed, ",
        ),
        (
            "350m_final",
            "full,none,geo_500k,2048",
            "runs.csv: has no protocol first_chunks with remap none; add both",
        ),
        (
            "350m_final",
            "first_chunks,pi,geo_500k,2048",
            "runs.csv: has no protocol first_chunks with remap none; add both",
        ),
        (
            "350m_final",
            "first_chunks,none,geo_500k,64",
            "evaluate its spectra at any of 2048, 3072, 4096, ",
        ),
        (
            "350m_final",
            "first_chunks,none,geo_100k,2048",
            "has no spectrum and length of the published 350m_final",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    tmp_path: Path, experiment: str, text: str, message: str
) -> None:
    row = f"protocol,remap,spectrum,length,seed,ppl\n{text},42,2.5\n"
    (tmp_path / "runs.csv").write_text(row if text.endswith(("2048", "64")) else text)
    with pytest.raises(UserError) as refused:
        step.write(experiment, tmp_path / "runs.csv", tmp_path / "new.csv", tmp_path / "new.svg")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["runs.csv"]


def test_every_experiment_of_the_study_has_a_counterpart() -> None:
    library = yaml.safe_load((ROOT / "config.yaml").read_text())["experiments"]
    ours = {
        "demo",
        "theta_controls",
        "yarn_compare",
        "evq",
        "retrieval",
        "frontier",
        "frontier_books",
        *(name for name in library if "_small" in name),
    }
    assert set(library) - set(counterparts.COUNTERPARTS) == ours
    assert set(counterparts.COUNTERPARTS) <= set(library)
