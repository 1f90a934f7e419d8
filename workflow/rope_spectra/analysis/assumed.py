"""The effect and spread of a contrast in a table of earlier results, from which to plan others."""

from dataclasses import dataclass

import pandas as pd
from scipy import stats

from rope_spectra.analysis.endpoints import METRICS
from rope_spectra.analysis.statistics import std
from rope_spectra.config.design import NATIVE, Arm, label, parse_arm
from rope_spectra.config.experiment import Metric
from rope_spectra.runtime.errors import UserError

# By metric: the column of a run in runs.csv.
_OF_RUN: dict[Metric, str] = {"ppl": "nll", "degradation": "degradation"}


@dataclass(frozen=True)
class Wanted:
    """The contrast and the place in a table; what is None is found where there is only one.

    metric: None is that of the contrast's verdict, PPL where it has none.
    """

    contrast: str
    baseline: str | None = None
    metric: Metric | None = None
    length: int | None = None
    protocol: str | None = None
    experiment: str | None = None


@dataclass(frozen=True)
class Assumed:
    """The effect and spread that a simulation takes for the truth.

    effect and spread: mean and standard deviation over the seeds of the differences, in nats per
    token. pairs: how many seeds they come from, None where they were given. contrasts: the size of
    the family. name: the contrast and its place, in words.
    """

    effect: float
    spread: float
    contrasts: int
    pairs: int | None = None
    name: str = ""


def of_summary(table: pd.DataFrame, wanted: Wanted) -> Assumed:
    """From summary.csv; the family is that of the contrast's own p_holm, 1 where it has none."""
    place = _place(table, wanted)
    row = _arm_rows(place, parse_arm(wanted.contrast)).iloc[0]
    judged = row.get("metric")
    metric = wanted.metric or ("ppl" if pd.isna(judged) else judged)
    delta = METRICS[metric].delta
    if wanted.baseline not in (None, row["baseline"]):
        raise UserError(
            f"--baseline: the table compares {wanted.contrast} with {row['baseline']};"
            " take runs.csv"
        )
    if not row.get("n_pairs", 0) >= 2 or not pd.notna(row.get(delta)):
        raise UserError(
            f"--contrast: {wanted.contrast} has no {delta} over two pairs or more in this table"
        )
    pairs = int(row["n_pairs"])
    half = (row[f"{delta}_ci95_high"] - row[f"{delta}_ci95_low"]) / 2
    spread = half * pairs**0.5 / stats.t.isf(0.025, pairs - 1)
    declared = place[place["p_holm"].notna()]
    if "endpoint" in place:
        whole = _of_experiment(table, wanted)
        same = (whole["endpoint"] == row["endpoint"]) & (whole["protocol"] == row["protocol"])
        declared = whole[same & whole["p_holm"].notna()]
    family = len(declared) if pd.notna(row["p_holm"]) else 1
    return Assumed(
        float(row[delta]), float(spread), family, pairs, _name(row, row["baseline"], metric)
    )


def of_runs(table: pd.DataFrame, wanted: Wanted) -> Assumed:
    """From runs.csv, the difference of the seeds that both have; the family is the contrast."""
    metric = wanted.metric or "ppl"
    value = _OF_RUN[metric]
    if wanted.baseline is None:
        raise UserError("--baseline: runs.csv does not name one; give the spectrum to compare with")
    if value not in table:
        raise UserError(f"--metric: this table has no column {value}; take ppl")
    place = _place(table, wanted)
    ours = _arm_rows(place, parse_arm(wanted.contrast))
    theirs = _arm_rows(place, parse_arm(wanted.baseline))
    pairs = ours.merge(theirs, on="seed", suffixes=("", "_baseline"))
    deltas = (pairs[value] - pairs[f"{value}_baseline"]).dropna()
    if len(deltas) < 2:
        raise UserError(
            f"--contrast: {wanted.contrast} and {wanted.baseline} share {len(deltas)} seeds; a"
            " spread needs two"
        )
    name = _name(ours.iloc[0], wanted.baseline, metric)
    return Assumed(float(deltas.mean()), std(deltas), 1, len(deltas), name)


def _of_experiment(table: pd.DataFrame, wanted: Wanted) -> pd.DataFrame:
    """The rows of one experiment, without those that served selection."""
    names = list(table["experiment"].unique())
    if not names:
        raise UserError("--table: has no rows; give that of a finished experiment")
    if wanted.experiment is None and len(names) > 1:
        raise UserError(f"--experiment: the table has several; give one of {', '.join(names)}")
    if wanted.experiment not in (None, *names):
        raise UserError(
            f"--experiment: {wanted.experiment} is not in the table; it has {', '.join(names)}"
        )
    rows = table[table["experiment"] == (wanted.experiment or names[0])]
    return rows[rows["phase"] != "selection"] if "phase" in rows else rows


def _place(table: pd.DataFrame, wanted: Wanted) -> pd.DataFrame:
    """The rows of one experiment, protocol and length: `full` and the longest unless given."""
    rows = _of_experiment(table, wanted)
    protocols = list(rows["protocol"].unique())
    protocol = wanted.protocol or ("full" if "full" in protocols else protocols[0])
    if protocol not in protocols:
        raise UserError(f"--protocol: the table has {', '.join(protocols)}, not {protocol}")
    rows = rows[rows["protocol"] == protocol]
    length = int(rows["length"].max()) if wanted.length is None else wanted.length
    if length not in set(rows["length"]):
        lengths = ", ".join(map(str, sorted(set(rows["length"]))))
        raise UserError(f"--length: {length} is not in the table; it has {lengths}")
    return rows[rows["length"] == length]


def _arm_rows(place: pd.DataFrame, arm: tuple[str, str | None]) -> pd.DataFrame:
    spectrum, remap = arm
    of_arm = (place["spectrum"] == spectrum) & (place["remap"] == (remap or NATIVE))
    if not of_arm.any():
        arms = place[["spectrum", "remap"]].drop_duplicates().itertuples(index=False, name=None)
        known = ", ".join(label(each) for each in arms)
        raise UserError(f"--contrast: {_written(arm)} is not in the table; it has {known}")
    return place[of_arm]


def _written(arm: tuple[str, str | None]) -> str:
    spectrum, remap = arm
    return label((spectrum, remap or NATIVE))


def _name(row: pd.Series, baseline: str, metric: str) -> str:
    arm: Arm = (row["spectrum"], row["remap"])
    where = f"at {row['length']} tokens, {row['protocol']}, by {metric}"
    return f"{label(arm)} against {baseline} {where}"
