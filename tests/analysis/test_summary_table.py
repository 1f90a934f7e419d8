"""Tables as files and pages: what is written is what is read, and the pages say what the tables hold."""

from pathlib import Path

import pandas as pd
import pytest

from rope_spectra.analysis import summary_table
from rope_spectra.artifacts.tables import read_csv, write_csv
from rope_spectra.report import summary_page

DEFINITION = {
    "experiment": "demo",
    "description": "Which is better?",
    "dataset": "toy",
    "model": "tiny",
    "training": "tiny",
    "train_length": 64,
    "spectra": [{"name": "geo"}, {"name": "own"}],
    "seeds": [1, 2, 3],
    "baseline": "geo",
    "contrasts": ["own"],
    "equivalence_margin": 0.01,
}


def summary(ppl: dict[str, list[float]], seeds: list[int] | None = None) -> pd.DataFrame:
    """The summary of made-up perplexities: one value per seed, the same at both lengths."""
    fixed = {"experiment": "demo", "remap": "none", "protocol": "full"}
    rows = [
        {**fixed, "spectrum": name, "seed": seed, "length": length, "ppl": value}
        for name, values in ppl.items()
        for seed, value in zip(seeds or DEFINITION["seeds"], values, strict=False)
        for length in (64, 128)
    ]
    runs = pd.DataFrame(rows).assign(tokens=1000)
    result = summary_table.summarize(runs, "geo", ["own"], 0.01)
    return result.assign(dataset="toy", model="tiny", training="tiny")


@pytest.mark.parametrize("name", ["007", "nan", "NA", "1e5", "geo"])
def test_names_survive_the_file(tmp_path: Path, name: str) -> None:
    written = pd.DataFrame(
        {"experiment": [name], "spectrum": [name], "ppl_mean": [1 / 3], "ppl_std": [None]}
    )
    write_csv(tmp_path / "table.csv", written)
    found = read_csv(tmp_path / "table.csv")
    assert found["spectrum"].tolist() == [name]
    assert found["experiment"].tolist() == [name]
    assert found["ppl_mean"].tolist() == [0.3333333333]
    assert found["ppl_std"].isna().all()


def test_the_page_ranks_by_perplexity_at_the_longest_length() -> None:
    page = summary_page.experiment_page(
        DEFINITION, summary({"geo": [5.0, 5.5, 6.0], "own": [4.0, 4.5, 5.0]})
    )
    ranks = [line.split("|")[1:4] for line in page.splitlines() if line.startswith(("| 1", "| 2"))]
    assert [[cell.strip() for cell in rank] for rank in ranks] == [
        ["1", "demo", "own"],
        ["2", "demo", "geo"],
    ]
    assert "4.500 ± 0.500" in page


def test_three_seeds_cannot_be_significant_and_the_page_says_so() -> None:
    page = summary_page.experiment_page(
        DEFINITION, summary({"geo": [5.0, 5.5, 6.0], "own": [4.0, 4.5, 5.0]})
    )
    assert "own cannot be told from geo by these seeds" in page
    assert "The smallest p that 3 seeds can reach is 0.25" in page


def test_eight_seeds_can_be_and_the_page_names_the_verdict() -> None:
    seeds = list(range(8))
    page = summary_page.experiment_page(
        {**DEFINITION, "seeds": seeds},
        summary(
            {
                "geo": [5.0 + 0.1 * seed for seed in seeds],
                "own": [4.0 + 0.09 * seed for seed in seeds],
            },
            seeds,
        ),
    )
    assert "own is better than geo" in page
    assert "smallest p" not in page


def test_one_seed_has_no_spread_and_no_verdict() -> None:
    page = summary_page.experiment_page(
        {**DEFINITION, "seeds": [1]}, summary({"geo": [5.0], "own": [4.0]})
    )
    assert "±" not in "".join(line for line in page.splitlines() if line.startswith("| 1"))
    assert "One seed has no spread" in page
    assert "inconclusive" in page


def test_experiments_are_ranked_together_only_where_they_can_be_compared() -> None:
    first, second = summary({"geo": [5.0, 5.5, 6.0]}), summary({"geo": [4.0, 4.5, 5.0]})
    page = summary_page.overall_page(
        pd.concat([first, second.assign(experiment="other", model="50m")])
    )
    assert page.count("| 1 ") == 2
    together = summary_page.overall_page(pd.concat([first, second.assign(experiment="other")]))
    assert together.count("| 1 ") == 1
    assert together.index("other") < together.index("demo")


def test_the_leaderboard_mixes_no_phases_and_leaves_selection_out() -> None:
    phases = {
        phase: summary({"geo": [ppl]}).assign(phase=phase)
        for phase, ppl in (("all", 5.0), ("confirmation", 6.0), ("selection", 7.0))
    }
    page = summary_page.overall_page(pd.concat(phases.values()))
    assert page.count("\n| 1 ") == 2
    assert (
        page.index("5.000")
        < page.index("confirmation (part of the text and seeds)")
        < page.index("6.000")
    )
    assert "7.000" not in page
