"""Primary and secondary endpoints: which comparisons are judged together, and by which metric.

The primary endpoint is one metric at one length for declared contrasts, and these alone share its
error rate. All other lengths of a protocol, with all declared contrasts, share another one. Pure.
The rule of a verdict is in analysis/verdicts.py, in words in docs/statistics.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rope_spectra.analysis import looks, power, verdicts
from rope_spectra.analysis.verdicts import Verdict
from rope_spectra.config.design import Arm, parse_arm
from rope_spectra.config.experiment import Metric, Primary

# Values by column, of as many types as the table has; a column that a row lacks is empty there.
Row: TypeAlias = dict[str, Any]
# Protocol, length and arm of a row.
Place: TypeAlias = tuple[str, int, Arm]

PRIMARY, SECONDARY = "primary", "secondary"


class MetricColumns(NamedTuple):
    """The columns of a comparison by one metric."""

    delta: str
    ratio: str
    p: str
    wins: str


METRICS: dict[Metric, MetricColumns] = {
    "ppl": MetricColumns("delta_log_ppl", "ppl_ratio", "p_sign_flip", "wins"),
    "degradation": MetricColumns(
        "delta_degradation", "degradation_ratio", "degradation_p_sign_flip", "degradation_wins"
    ),
}


@dataclass(frozen=True)
class Plan:
    """The declared part of verdicts: the primary endpoint, the seeds in order, the looks.

    Without looks there is one, at all seeds.
    """

    primary: Primary | None = None
    seeds: Sequence[int] = ()
    looks: Sequence[int] = ()


NO_PLAN = Plan()


def judge(rows: Sequence[Row], family: Sequence[Arm], margin: float, plan: Plan) -> None:
    """Fill in what a summary's rows say about verdicts: endpoint, metric, p, verdict and power.

    Rows of baselines have their verdict already. family: the declared contrasts; one without a row
    still counts, or its absence would help the others. margin: a fraction of PPL.
    """
    compared = {place(row): row for row in rows if row.get("verdict") != "baseline"}
    for row in compared.values():
        row["metric"] = metric_of(row, plan.primary)
        row["verdict"] = "not declared"
    for endpoint, places in _families(rows, family, plan.primary):
        of_family = [compared.get(each, {}) for each in places]
        tables = [_table(row, plan.seeds) for row in of_family]
        findings = verdicts.judge(tables, margin, plan.looks or None)
        for row, table, finding in zip(of_family, tables, findings, strict=True):
            row["endpoint"] = endpoint
            row["p_holm"] = finding.p_difference
            row["p_equivalence"] = finding.p_equivalence
            row["verdict"] = finding.verdict
            pairs = table[~np.isnan(table).any(axis=1)]
            row["hopeless"] = _is_hopeless(pairs, finding.verdict, margin, plan, len(places))
            row["seeds_for_80pct_power"] = power.seeds_for_80pct_power(pairs, len(places))


def _is_hopeless(
    pairs: NDArray[np.float64], verdict: Verdict, margin: float, plan: Plan, contrasts: int
) -> bool | None:
    """True where the last look will hardly decide a comparison; None where it is not to come."""
    if not plan.looks or not 2 <= len(pairs) < plan.looks[-1]:
        return None
    level = looks.levels(plan.looks, contrasts)[-1] / contrasts
    undecided = verdict in verdicts.UNDECIDED
    return undecided and looks.is_hopeless(pairs.mean(axis=1), plan.looks[-1], level, margin)


def place(row: Row) -> Place:
    """The place of a row in the table."""
    return row["protocol"], row["length"], (row["spectrum"], row["remap"])


def metric_of(row: Row, primary: Primary | None) -> Metric:
    """That of the primary endpoint wherever it was measured, else PPL."""
    wanted: Metric = primary.metric if primary else "ppl"
    return wanted if wanted in row["deltas"] else "ppl"


def _families(
    rows: Iterable[Row], family: Sequence[Arm], primary: Primary | None
) -> list[tuple[str, list[Place]]]:
    """The endpoints, each with the places that are corrected together."""
    cells = dict.fromkeys((row["protocol"], row["length"]) for row in rows)
    # `full` scores the same text at every length.
    main = "full" if any(protocol == "full" for protocol, _ in cells) else "first_chunks"
    primaries: list[Place] = []
    secondaries: dict[str, list[Place]] = {}
    for protocol, length in cells:
        for arm in family:
            where = (protocol, length, arm)
            if primary and (main, primary.length) == where[:2] and is_chosen(arm, primary):
                primaries.append(where)
            else:
                secondaries.setdefault(protocol, []).append(where)
    return [(PRIMARY, primaries), *((SECONDARY, places) for places in secondaries.values())]


def is_chosen(arm: Arm, primary: Primary) -> bool:
    """True where the contrast of an arm is among those of the primary endpoint."""
    if primary.contrasts is None:
        return True
    spectrum, remap = arm
    names = [parse_arm(entry.partition(" vs ")[0].strip()) for entry in primary.contrasts]
    return any(name == spectrum and own in (None, remap) for name, own in names)


def _table(row: Row, seeds: Sequence[int]) -> NDArray[np.float64]:
    """The differences of a row's metric, [seeds, blocks] in the declared order of the seeds."""
    if not row.get("pairs"):
        return np.full((0, 1), np.nan)
    return in_order(row["deltas"][row["metric"]], row["pairs"], seeds)


def in_order(
    deltas: NDArray[np.float64], pairs: Sequence[int], seeds: Sequence[int]
) -> NDArray[np.float64]:
    """The differences [pairs, blocks] of these seeds in the declared order, [seeds, blocks].

    Seeds without a pair are NaN; those after the last pair are left out.
    """
    places = [seeds.index(seed) for seed in pairs]
    table = np.full((max(places) + 1, deltas.shape[1]), np.nan)
    table[places] = deltas
    return table
