"""The command that says how many seeds a contrast needs, and the tables that it reads."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rope_spectra import power
from rope_spectra.analysis import assumed
from rope_spectra.analysis.assumed import Wanted
from rope_spectra.artifacts import tables
from rope_spectra.runtime import cli


def run(*arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["power", *arguments])
        cli.run(power.main)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two arms over four seeds; at 256 tokens they differ by 0.10, 0.12, 0.14 and 0.16 nats."""
    rows = [
        (spectrum, seed, length, 2.0 + shift * (0.1 + 0.02 * seed) * (length == 256), 0.0)
        for spectrum, shift in (("geo", 0), ("own", 1))
        for seed in range(4)
        for length in (128, 256)
    ]
    table = pd.DataFrame(rows, columns=["spectrum", "seed", "length", "nll", "degradation"])
    table = table.assign(experiment="e", remap="none", protocol="full")
    tables.write_csv(tmp_path / "runs.csv", table)
    return tmp_path / "runs.csv"


@pytest.fixture
def summary(tmp_path: Path) -> Path:
    """The row that these runs give, in a family of two at each length."""
    deltas = np.array([0.10, 0.12, 0.14, 0.16])
    half = 3.182446305 * deltas.std(ddof=1) / 2
    row = {
        "experiment": "e",
        "spectrum": "own",
        "remap": "none",
        "protocol": "full",
        "length": 256,
        "baseline": "geo",
        "n_pairs": 4,
        "delta_log_ppl": deltas.mean(),
        "delta_log_ppl_ci95_low": deltas.mean() - half,
        "delta_log_ppl_ci95_high": deltas.mean() + half,
        "p_holm": 0.25,
    }
    other = row | {"spectrum": "other"}
    undeclared = row | {"spectrum": "third", "p_holm": np.nan}
    shorter = [row | {"length": 128}, other | {"length": 128}]
    table = pd.DataFrame([row, other, undeclared, *shorter])
    tables.write_csv(tmp_path / "summary.csv", table)
    return tmp_path / "summary.csv"


def test_both_tables_give_the_same_effect_and_spread(runs: Path, summary: Path) -> None:
    by_run = assumed.of_runs(tables.read_csv(runs), Wanted("own", "geo"))
    by_row = assumed.of_summary(tables.read_csv(summary), Wanted("own"))
    for found in (by_run, by_row):
        assert (found.effect, found.spread) == pytest.approx((0.13, 0.0258199))
        assert (found.pairs, found.name) == (4, "own against geo at 256 tokens, full, by ppl")
    assert (by_run.contrasts, by_row.contrasts) == (1, 2)


def test_the_metric_is_that_of_the_verdict(summary: Path) -> None:
    table = tables.read_csv(summary)
    of_growth = {f"delta_degradation{end}": 0.5 for end in ("", "_ci95_low", "_ci95_high")}
    table = table.assign(metric="degradation", **of_growth)
    assert assumed.of_summary(table, Wanted("own")).effect == 0.5
    assert assumed.of_summary(table, Wanted("own", metric="ppl")).effect == pytest.approx(0.13)


def test_the_family_is_that_of_the_endpoint(summary: Path) -> None:
    table = tables.read_csv(summary)
    one = table.assign(endpoint=np.where(table["length"] == 128, "primary", "secondary"))
    assert assumed.of_summary(one, Wanted("own", length=128)).contrasts == 2
    both = table.assign(endpoint="secondary")
    assert assumed.of_summary(both, Wanted("own", length=128)).contrasts == 4
    assert assumed.of_summary(table, Wanted("third")).contrasts == 1


def test_it_prints_the_floor_the_seeds_and_the_power(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--table", str(runs), "--contrast", "own", "--baseline", "geo", "--contrasts", "5")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["3", "1", "0%"] in lines
    assert ["8", "0.039", "100%"] in lines
    said = [" ".join(line) for line in lines]
    assert "fewest seeds 8, if all of them agree" in said
    assert "seeds for 80 % power 8" in said


def test_it_prints_a_plan_of_looks(capsys: pytest.CaptureFixture[str]) -> None:
    run("--effect", "0.05", "--spread", "0.05", "--looks", "6", "8", "10")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["6", "0", "0.031", "0%"] in lines
    (last,) = (line for line in lines if line[:3] == ["10", "0.024", "0.002"])
    assert 0.6 < float(last[3].strip("%")) / 100 < 0.75


def test_an_effect_that_no_ratio_holds_is_inf(capsys: pytest.CaptureFixture[str]) -> None:
    run("--effect", "1000", "--spread", "1")
    assert "1000 (inf times PPL)" in capsys.readouterr().out


GIVEN = ["--effect", "0.1", "--spread", "0.1"]
TABLE = ["--table", "TABLE", "--contrast", "own"]


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ([], "--effect"),
        (["--effect", "0.1"], "--effect"),
        (["--effect", "0", "--spread", "1"], "--effect"),
        (["--effect", "nan", "--spread", "1"], "--effect"),
        (["--effect", "1", "--spread", "0"], "--spread"),
        (["--effect", "1", "--spread", "inf"], "--spread"),
        ([*GIVEN, "--contrasts", "0"], "--contrasts"),
        ([*GIVEN, "--text", "-1"], "--text"),
        ([*GIVEN, "--looks", "10", "8"], "--looks"),
        ([*GIVEN, "--looks", "1", "8"], "--looks"),
        ([*GIVEN, "--looks", "8", "2000"], "--looks"),
        ([*GIVEN, *TABLE], "--table"),
        (["--table", "TABLE"], "--contrast"),
        (["--table", "missing.csv", "--contrast", "own"], "missing.csv"),
        ([*TABLE, "--length", "999"], "--length"),
        ([*TABLE, "--experiment", "f"], "--experiment"),
        ([*TABLE, "--protocol", "first_chunks"], "--protocol"),
        ([*TABLE, "--metric", "degradation"], "--contrast"),
        ([*TABLE, "--baseline", "other"], "--baseline"),
        (["--table", "TABLE", "--contrast", "own+yarn"], "--contrast"),
        (["--table", __file__, "--contrast", "own"], Path(__file__).name),
    ],
)
def test_bad_input_ends_with_one_line(
    summary: Path, arguments: list[str], key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [str(summary) if argument == "TABLE" else argument for argument in arguments]
    with pytest.raises(SystemExit, match="1"):
        run(*filled)
    (line,) = capsys.readouterr().err.splitlines()
    assert key in line


def test_a_table_without_rows_ends_with_one_line(
    summary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables.write_csv(summary, tables.read_csv(summary).iloc[:0])
    with pytest.raises(SystemExit, match="1"):
        run("--table", str(summary), "--contrast", "own")
    (line,) = capsys.readouterr().err.splitlines()
    assert "--table: has no rows" in line


@pytest.mark.parametrize("arguments", [[], ["--baseline", "own+pi"], ["--baseline", "geo"]])
def test_runs_need_a_baseline_and_two_pairs(
    runs: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    table = tables.read_csv(runs)
    alone = table[(table["spectrum"] == "geo") | (table["seed"] == 0)]
    tables.write_csv(runs, alone)
    with pytest.raises(SystemExit, match="1"):
        run("--table", str(runs), "--contrast", "own", *arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert "--baseline" in line or "--contrast" in line
