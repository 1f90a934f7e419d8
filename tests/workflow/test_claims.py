"""The claims of docs/findings.md, each computed again from the committed tables.

docs/claims.yaml says at its head what a row of it holds.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import BaseModel, ConfigDict

from rope_spectra.analysis.summary_table import summarize
from rope_spectra.artifacts import tables
from rope_spectra.config.design import NATIVE, SELECTION
from support.checkout import ROOT

TABLES = ROOT / "docs/tables"
FINDINGS = (ROOT / "docs/findings.md").read_text(encoding="utf-8")
NUMBER = re.compile(r" ?\[\[(\d+)\]\]\(claims\.yaml\)")
# The table of a runs.csv is the summary that it leads to, with the default margin.
MARGIN = 0.01
# What summary.csv holds besides the blocks of text, so that runs.csv alone leads to it.
OF_RUNS = ["ppl_mean", "ppl_std", "ppl_ratio", "ppl_ratio_ci95_low", "ppl_ratio_ci95_high"]
OF_RUNS += ["p_sign_flip", "degradation_mean", "degradation_std"]


class Claim(BaseModel):
    """A row of claims.yaml."""

    model_config = ConfigDict(extra="forbid")

    number: int
    claim: str
    experiment: str
    table: str
    contrast: str | list[str] | None = None
    row: dict[str, str | list[str]] = {}
    says: str | None = None
    values: dict[str, str] = {}
    cells: str | None = None


# All scalars stay text: 2.50 has two digits.
CLAIMS = [
    Claim.model_validate(row)
    for row in yaml.load((ROOT / "docs/claims.yaml").read_text(), yaml.BaseLoader)
]


def words(text: str) -> str:
    """Text without its line breaks and without the links to claims."""
    return " ".join(NUMBER.sub("", text).split())


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@cache
def summary_of_runs(path: Path, contrast: str | None) -> pd.DataFrame:
    """The summary of a runs.csv; without a contrast all are compared with the first spectrum."""
    runs = tables.read_csv(path)
    runs = runs[runs["phase"] != SELECTION]
    baseline = runs["spectrum"].iloc[0]
    return summarize(runs, baseline, [contrast] if contrast else [], MARGIN)


def rows_of(claim: Claim) -> Iterator[pd.Series]:
    """The rows of the table that the claim rests on."""
    path = TABLES / claim.table
    wanted = {"protocol": "full", "remap": "none"} | claim.row
    for contrast in listed(claim.contrast) if claim.contrast else [None]:
        is_runs = path.name == "runs.csv"
        table = summary_of_runs(path, contrast) if is_runs else tables.read_csv(path)
        # The tables of a search are in its folder and name no experiment.
        names = table.get("experiment", pd.Series([path.parent.name]))
        assert set(names) == set(listed(claim.row.get("experiment", claim.experiment)))
        if "phase" in table and "phase" not in wanted:
            table = table[table["phase"] != SELECTION]
        columns = [column for column in wanted if column in table or column in claim.row]
        for values in product(*(listed(wanted[column]) for column in columns)):
            found = table
            for column, value in zip(columns, values, strict=True):
                found = found[found[column].astype(str) == value]
            assert len(found) == 1, f"{claim.table}: {len(found)} rows with {values}"
            yield found.iloc[0]


def written(value: object, like: str) -> str:
    """A value of a table with as many digits as another text has."""
    if isinstance(value, float) and re.fullmatch(r"-?\d+(\.\d+)?", like):
        return f"{value:.{len(like.partition('.')[2])}f}"
    return str(value)


def check(claim: Claim) -> None:
    """Raises AssertionError unless the table bears the claim."""
    assert claim.says or claim.values or claim.cells
    if claim.cells:
        assert cells_of_findings(claim.claim) == cells_of_table(claim)
        return
    for row in rows_of(claim):
        if claim.says:
            assert claim.says.format(**row) in words(claim.claim)
        for column, value in claim.values.items():
            assert written(row[column], value) == value


def cells_of_findings(heading: str) -> dict[tuple[str, str], str]:
    """The cells of the table of findings.md with that first heading, by spectrum and length."""
    findings = NUMBER.sub("", FINDINGS)
    (text,) = re.findall(rf"^(\| {re.escape(heading)} \|.*?)\n\n", findings, re.M | re.S)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    lengths = [cell.partition(" ")[0] for cell in lines[0][1:]]
    cells = {}
    for name, *values in lines[2:]:
        for length, value in zip(lengths, values, strict=True):
            cells[name.partition(",")[0], length] = value
    return cells


def cells_of_table(claim: Claim) -> dict[tuple[str, str], str]:
    assert claim.cells
    names = cells_of_findings(claim.claim)
    spectra, lengths = ({key[side] for key in names} for side in (0, 1))
    everywhere = {"spectrum": sorted(spectra), "length": sorted(lengths)}
    whole = claim.model_copy(update={"row": everywhere | claim.row})
    return {
        (row["spectrum"], str(row["length"])): claim.cells.format(**row) for row in rows_of(whole)
    }


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.number}-{claim.experiment}")
def test_its_table_bears_the_claim(claim: Claim) -> None:
    check(claim)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.number}-{claim.experiment}")
def test_findings_has_the_words_of_the_claim(claim: Claim) -> None:
    assert words(claim.claim) in words(FINDINGS)


def test_every_number_of_findings_has_a_row_and_every_row_a_place_there() -> None:
    assert set(map(int, NUMBER.findall(FINDINGS))) == {claim.number for claim in CLAIMS}


@pytest.mark.parametrize("number", sorted({claim.number for claim in CLAIMS}))
def test_the_number_stands_in_the_paragraph_of_its_words(number: int) -> None:
    of_number = [claim for claim in CLAIMS if claim.number == number]
    paragraphs = [text for text in FINDINGS.split("\n\n") if f"[[{number}]]" in text]
    for claim in of_number:
        assert any(words(claim.claim) in words(text) for text in paragraphs)


def check_summary(summary: pd.DataFrame, runs: pd.DataFrame) -> None:
    """Raises AssertionError unless the runs lead to this summary, as far as they do."""
    for phase, rows in summary.groupby("phase"):
        # Names with their remap: a bare one would be compared at the same remap.
        arms = zip(rows["spectrum"], rows["remap"], rows["baseline"], strict=True)
        compared = {
            f"{name}+{remap}": other if "+" in other else f"{other}+{NATIVE}"
            for name, remap, other in arms
        }
        contrasts = [f"{name} vs {other}" for name, other in compared.items() if name != other]
        first = next(iter(compared.values()))
        again = summarize(runs[runs["phase"] == phase], first, contrasts, MARGIN)
        key = ["spectrum", "remap", "protocol", "length"]
        both = [table.set_index(key).sort_index() for table in (rows, again)]
        for column in OF_RUNS:
            one, other = (table[column].to_numpy(float) for table in both)
            np.testing.assert_allclose(one, other, rtol=1e-6, err_msg=column)
        assert both[0]["wins"].fillna("").to_list() == both[1]["wins"].fillna("").to_list()
        is_different = rows["verdict"].str.match("better|worse")
        assert (rows.loc[is_different, "p_holm"] < 0.05).all()


def test_committed_summaries_are_those_of_the_committed_runs() -> None:
    for path in TABLES.glob("*/summary.csv"):
        check_summary(tables.read_csv(path), tables.read_csv(path.with_name("runs.csv")))


def test_a_summary_of_other_runs_is_found() -> None:
    runs = tables.read_csv(TABLES / "theta_long_books/runs.csv")
    contrasts = ["geo_2048", "geo_10k vs geo_2048"]
    summary = summarize(runs, "geo_500k", contrasts, MARGIN).assign(phase="all")
    check_summary(summary, runs)
    for column, value in (("ppl_ratio", 1.0), ("wins", "1/3"), ("verdict", "better")):
        changed = summary.assign(**{column: value})
        with pytest.raises(AssertionError):
            check_summary(changed, runs)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"claim": "its ratio to the hybrid at 16384 is 2.74 (2.06 to 3.66)"}, "2.75"),
        ({"values": {"verdict": "worse"}}, "too few seeds"),
        ({"values": {"ppl_mean": "646.5"}}, "646.4"),
        ({"row": {"spectrum": "geo_2048", "length": "1024"}}, "0 rows"),
        ({"experiment": "demo"}, "theta_long_books"),
    ],
)
def test_a_claim_that_its_table_does_not_bear_is_found(
    change: dict[str, object], error: str
) -> None:
    (claim,) = (claim for claim in CLAIMS if claim.number == 3)
    check(claim.model_copy(update={"values": {"ppl_mean": "646.4"}}))
    with pytest.raises(AssertionError, match=error):
        check(claim.model_copy(update=change))
