"""The page over all experiments: what the primary endpoints say, and rankings of what compares."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rope_spectra import summary as command
from rope_spectra.analysis import summary_table
from rope_spectra.analysis.endpoints import Plan
from rope_spectra.analysis.summary_table import Blocks
from rope_spectra.artifacts import files, seal, tables
from rope_spectra.config.experiment import Primary
from rope_spectra.report import overall
from support.designs import make_design

SEEDS = [1, 2, 3, 4, 5, 6]
PRIMARY = {"metric": "degradation", "length": 128}
DESIGN = make_design("geo", "own", seeds=SEEDS, protocols=["full"], primary=PRIMARY)
UNDECLARED = make_design("geo", "own", seeds=SEEDS, protocols=["full"])
# PPL at 64 and 128 tokens: own starts higher, ends lower and grows by less.
PPL = {"geo": (4.0, 9.0), "own": (5.0, 8.0)}


def summary(ppl: dict[str, tuple[float, float]] = PPL, primary: bool = True) -> pd.DataFrame:
    """The summary of made-up perplexities, which the six seeds move a little."""
    rows, blocks = [], Blocks(tokens={64: 1, 128: 1}, train_length=64)
    for name, values in ppl.items():
        for seed in SEEDS:
            for length, value in zip((64, 128), values, strict=True):
                nll = np.log(value) + 0.001 * seed * (length == 128) + np.zeros(4)
                blocks.nll[name, seed, "none", length] = nll
                growth = nll[0] - np.log(values[0]) if length == 128 else np.nan
                fixed = {"experiment": "demo", "remap": "none", "protocol": "full", "tokens": 4}
                key = {"spectrum": name, "seed": seed, "length": length, "ppl": np.exp(nll[0])}
                rows.append({**fixed, **key, "degradation": growth, "degradation_beyond": np.nan})
    plan = Plan(Primary(length=128) if primary else None, SEEDS)
    table = summary_table.summarize(pd.DataFrame(rows), "geo", ["own"], 0.01, blocks, plan)
    parts = {"dataset": "toy", "model": "tiny", "training": "tiny", "phase": "all"}
    return table.assign(**parts, in_run=True)


def cells(page: str) -> list[list[str]]:
    """The lines of all tables of a page, their cells without padding."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def named(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table.assign(experiment=name)


def renamed(name: str, design: object = DESIGN) -> object:
    return design.model_copy(update={"experiment": name})


def test_the_page_says_what_the_primary_endpoint_says_and_ranks_by_it() -> None:
    """own degrades less, and is ahead although geo has the lower perplexity when trained."""
    page = overall.page(summary(), [DESIGN])
    verdict = cells(page)[2]
    assert verdict[:4] == ["demo", "own", "geo", "degradation at 128"]
    assert verdict[4].startswith("0.711 (")
    assert verdict[5:] == ["0.0312", "better"]
    assert "ranked by growth at 128 tokens, the primary endpoint" in page
    assert [line[:3] for line in cells(page)[-2:]] == [["1", "demo", "own"], ["2", "demo", "geo"]]
    assert "not of this run" not in page


def test_without_a_primary_endpoint_perplexity_at_the_longest_length_counts() -> None:
    """geo has the lower perplexity there, although it degrades more."""
    ppl = {"geo": (4.0, 7.0), "own": (7.0, 8.0)}
    page = overall.page(summary(ppl, primary=False), [UNDECLARED])
    assert "ranked by perplexity at 128 tokens (" in page
    assert [line[2] for line in cells(page)[-2:]] == ["geo", "own"]


def test_experiments_are_ranked_together_only_where_they_can_be_compared() -> None:
    other = named(summary({"geo": (4.0, 7.0)}), "other")
    designs = [DESIGN, renamed("other")]
    apart = overall.page(pd.concat([summary(), other.assign(model="50m")]), designs)
    assert apart.count("\n| 1 ") == 2
    together = overall.page(pd.concat([summary(), other]), designs)
    assert together.count("\n| 1 ") == 1
    assert "`full`): geo: 29 %. Where these ran on different machines" in together
    by_another = [DESIGN, renamed("other", UNDECLARED)]
    assert overall.page(pd.concat([summary(), other]), by_another).count("\n| 1 ") == 2


def test_results_of_other_runs_are_marked_and_ranked_by_themselves() -> None:
    """Text or model of the same name may have been another then."""
    other = named(summary(), "other").assign(in_run=False)
    page = overall.page(pd.concat([summary(), other]), [DESIGN, renamed("other")])
    assert [line[0] for line in cells(page)[2:4]] == ["demo", "other *"]
    assert "\\* not of this run" in page
    assert "## Not of this run: other, dataset toy" in page
    assert page.count("\n| 1 ") == 2


def test_the_leaderboard_mixes_no_phases_and_leaves_selection_out() -> None:
    parts = [
        summary({"geo": (4.0, ppl)}).assign(phase=phase)
        for phase, ppl in (("all", 5.0), ("confirmation", 6.0), ("selection", 7.0))
    ]
    page = overall.page(pd.concat(parts), [DESIGN])
    assert page.count("\n| 1 ") == 2
    order = [page.index(text) for text in ("| 5.0", "tiny, confirmation", "| 6.0")]
    assert order == sorted(order)
    assert "| 7.0" not in page


# --- the command ---------------------------------------------------------------------------------


def leave(name: str, table: pd.DataFrame) -> None:
    """The table of an experiment in results/, with its record."""
    path = Path("results") / name / "summary.csv"
    tables.write_csv(path, table.drop(columns="in_run"))
    record = {"definition": renamed(name).content(), "evaluations": {}}
    sealed = record | {"files": {path.name: files.sha256(path)}}
    seal.write(path.with_name("tables.json"), sealed)


def test_other_experiments_stay_in_the_tables_if_they_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("own", "before", "torn"):
        leave(name, named(summary(), name))
    leave("old", named(summary(), "old").drop(columns="metric"))
    (tmp_path / "results/torn/summary.csv").write_text("experiment\n")
    command_line = ["summary", "--experiments", "results/own/summary.csv"]
    labels = {"labels": {"geo": "Geometric"}}
    seal.freeze(Path("appearance.json"), labels)
    command_line += ["--appearances", "appearance.json"]
    command_line += ["--csv", "results/summary.csv", "--md", "results/summary.md"]
    monkeypatch.setattr("sys.argv", command_line)
    command.main()

    joined = tables.read_csv(Path("results/summary.csv"))
    rows = joined.groupby("experiment")["in_run"].agg(["all", "any", "size"])
    assert rows.to_dict("index") == {
        "own": {"all": True, "any": True, "size": 4},
        "before": {"all": False, "any": False, "size": 4},
    }
    page = Path("results/summary.md").read_text()
    assert "before *" in page
    assert "| Geometric " in page
    assert "| geo " not in page
