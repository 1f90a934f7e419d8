"""The page for reading of an experiment, its summary.md.

The page over all experiments is in report/overall.py. A page is made from tables alone. The
sentences are in the templates, their values and tables are made here.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from rope_spectra.analysis import statistics
from rope_spectra.analysis.declaration import Standing
from rope_spectra.analysis.endpoints import METRICS, PRIMARY
from rope_spectra.analysis.statistics import exponential
from rope_spectra.analysis.verdicts import UNDECIDED, Finding
from rope_spectra.config.design import NATIVE, SELECTION, Design, label, parse_arm
from rope_spectra.report import markdown, retrieval_section, usage_section
from rope_spectra.report.frontier_section import frontier_section
from rope_spectra.report.markdown import interval, named, number, spaced, text
from rope_spectra.report.rankings import protocols, rankings
from rope_spectra.report.rates_section import rates_section
from rope_spectra.report.theory_section import hypotheses_values, theory_values

METRIC_WORDS = {"ppl": "PPL", "degradation": "degradation"}


class Comparisons(NamedTuple):
    """The comparisons at one length: rows of summary.csv, and tables of them.

    metric: of the endpoint. baseline: of all rows, or None where they differ. secondary: the
    declared contrasts at all lengths, but for the primary endpoint. A table is empty where it has
    no rows.
    """

    protocol: str
    length: int
    metric: str
    baseline: str | None
    is_primary: bool
    declared: list[Any]
    declared_table: str
    undeclared_table: str
    secondary_table: str
    n_primary: int
    n_secondary: int
    stoppable: dict[str, int]


def experiment_page(
    design: Design,
    summary: pd.DataFrame,
    noise_floor: pd.DataFrame | None = None,
    retrieval: pd.DataFrame | None = None,
    standing: Standing | None = None,
    theory: pd.DataFrame | None = None,
    hypotheses: pd.DataFrame | None = None,
    frontier: pd.DataFrame | None = None,
    rates: pd.DataFrame | None = None,
    usage: pd.DataFrame | None = None,
) -> str:
    """summary.md of one experiment.

    The tables are those of the files with these names, usage that of usage_runs.csv; None where
    the experiment has no such table. standing: how the claims stand against the declaration, None
    where the tables do not tell.
    """
    chosen = summary[summary["phase"] == SELECTION]
    tested = summary[summary["phase"] != SELECTION]
    # Until a confirmation has run, the limits of the page are those of the selection.
    limiting = summary if tested.empty else tested
    return markdown.render(
        "experiment.md.j2",
        design=design,
        diverged=_diverged(summary),
        standing=standing,
        remapped=set(summary["remap"]) != {NATIVE},
        confirmed=rankings(tested, design.primary),
        degradation=_degradation(tested),
        contrasts=comparisons(design, tested, frontier),
        finding=finding,
        exploratory=rankings(chosen, design.primary),
        retrieval=None if retrieval is None else _retrieval(design, retrieval),
        theory=None if theory is None else theory_values(theory),
        hypotheses=None if hypotheses is None else hypotheses_values(hypotheses),
        frontier=None if frontier is None else frontier_section(design, frontier, tested),
        rates=None if rates is None else rates_section(design, rates),
        usage="" if usage is None else usage_section.table(usage),
        repeats=None if noise_floor is None else _repeats(noise_floor),
        n_seeds=int(limiting["n_seeds"].max()),
        smallest_p=statistics.smallest_p,
        alpha=statistics.ALPHA,
    )


def _degradation(summary: pd.DataFrame) -> str:
    """PPL at each length as a multiple of that at the training length; empty if not measured."""
    rows = summary.dropna(subset="degradation_mean")
    if rows.empty:
        return ""
    lengths = sorted(rows["length"].unique())
    longest = rows[rows["length"] == lengths[-1]].sort_values("degradation_mean", kind="stable")
    cells = rows.set_index(["spectrum", "remap", "length"])
    table = []
    for row in longest.itertuples():
        line = [named(row)]
        for length in lengths:
            line.append(_growth(cells.loc[(row.spectrum, row.remap, length)]))
        beyond = row.degradation_beyond
        line.append("" if pd.isna(beyond) else f"{exponential(beyond):.3f}")
        table.append(line)
    header = ["spectrum", *map(str, lengths), f"{lengths[-1]}, beyond"]
    return markdown.as_table(header, table)


def _growth(row: pd.Series) -> str:
    """PPL as a multiple of that at the training length, such as `1.756 (1.590 to 1.940)`."""
    low, high = exponential([row["degradation_ci95_low"], row["degradation_ci95_high"]])
    between = interval(low, high, digits=3)
    return f"{exponential(row['degradation_mean']):.3f}" + (f" ({between})" if between else "")


def _diverged(summary: pd.DataFrame) -> list[str]:
    """The arms of which a run has a perplexity that no float holds."""
    rows = summary[np.isinf(summary["ppl_max"])]
    return sorted({named(row) for row in rows.itertuples()})


def comparisons(
    design: Design, summary: pd.DataFrame, frontier: pd.DataFrame | None = None
) -> Comparisons | None:
    """The comparisons at the primary endpoint; None where nothing is compared.

    Without one, those at the longest length.
    """
    compared = summary[summary["verdict"] != "baseline"]
    if compared.empty:
        return None
    protocol = protocols(summary)[0]
    compared = compared[compared["protocol"] == protocol]
    length = design.primary.length if design.primary else int(summary["length"].max())
    at = compared[compared["length"] == length]
    by_arm = {(row.spectrum, row.remap): row for row in at.itertuples()}
    family = design.comparisons.family(sorted(summary["remap"].unique()))
    declared = [by_arm[arm] for arm in family if arm in by_arm]
    primary = [row for row in declared if row.endpoint == PRIMARY] or declared
    undeclared = [row for arm, row in by_arm.items() if arm not in family]
    baselines = at["baseline"].unique()
    common = baselines[0] if len(baselines) == 1 else None
    cells = len(family) * summary[summary["protocol"] == protocol]["length"].nunique()
    n_primary = sum(row.endpoint == PRIMARY for row in declared)
    others = compared[(compared["endpoint"].notna()) & (compared["endpoint"] != PRIMARY)]
    return Comparisons(
        protocol=protocol,
        length=length,
        metric=at["metric"].iloc[0],
        baseline=common,
        is_primary=design.primary is not None,
        declared=primary,
        declared_table=_comparison_table(primary, common),
        undeclared_table=_comparison_table(undeclared, common),
        secondary_table=_secondary_table(others, family),
        n_primary=n_primary,
        n_secondary=cells - n_primary,
        stoppable=_stoppable(design, primary, frontier),
    )


def _stoppable(design: Design, primary: list[Any], frontier: pd.DataFrame | None) -> dict[str, int]:
    """Spectra that need no more seeds after this look, with the number of seeds that they have.

    With a retrieval endpoint they need none only where that is decided too.
    """
    pairs = max((int(row.n_pairs) for row in primary), default=0)
    if pairs not in design.looks[:-1]:
        return {}
    wanted = {parse_arm(other)[0] for other in design.comparisons.against.values()}
    open_ones = {row.spectrum for row in primary if not _is_settled(row)}
    if design.retrieval_endpoint is not None:
        if frontier is None:
            return {}
        open_ones |= set(frontier["spectrum"][frontier["verdict"].isin(UNDECIDED)])
    names = dict.fromkeys(row.spectrum for row in primary)
    keep = wanted | open_ones | set(design.stopped) | {parse_arm(design.baseline)[0]}
    return {name: len(design.up_to(pairs)) for name in names if name not in keep}


def _is_settled(row: Any) -> bool:
    hopeless = not pd.isna(row.hopeless) and bool(row.hopeless)
    return hopeless or row.verdict not in UNDECIDED


def _comparison_table(rows: list[Any], common: str | None) -> str:
    """The rows of summary.csv as a table; their baselines have a column unless they are one."""
    if not rows:
        return ""
    table = []
    for row in rows:
        names = METRICS[row.metric]
        line = {
            "spectrum": named(row),
            "against": spaced(row.baseline),
            f"{METRIC_WORDS[row.metric]} ratio": number(getattr(row, names.ratio)),
            "95 %, seeds and text": _ratio_interval(row, f"{names.delta}_crossed95"),
            "95 %, seeds alone": _ratio_interval(row, f"{names.delta}_ci95"),
            "p": number(getattr(row, names.p)),
            "p (Holm)": number(row.p_holm),
            "wins": text(getattr(row, names.wins)),
            "verdict": row.verdict,
        }
        if common:
            del line["against"]
        table.append(line)
    return markdown.as_table(list(table[0]), [list(line.values()) for line in table])


def _ratio_interval(row: Any, column: str) -> str:
    """The exponential of an interval of differences of a logarithm."""
    low, high = exponential([getattr(row, f"{column}_low"), getattr(row, f"{column}_high")])
    return interval(low, high, digits=3)


def _secondary_table(rows: pd.DataFrame, family: list[tuple[str, str]]) -> str:
    """The ratio with its interval and verdict, a row for each contrast, a column a length."""
    if rows.empty:
        return ""
    metrics = rows.drop_duplicates("length").set_index("length")["metric"].sort_index()
    header = [f"{length} ({METRIC_WORDS[metric]})" for length, metric in metrics.items()]
    by_place = {(row.spectrum, row.remap, row.length): row for row in rows.itertuples()}
    table = []
    for arm in family:
        cells = [_secondary_cell(by_place.get((*arm, length))) for length in metrics.index]
        if any(cells):
            table.append([spaced(label(arm)), *cells])
    return markdown.as_table(["spectrum", *header], table)


def _secondary_cell(row: Any) -> str:
    if row is None:
        return ""
    names = METRICS[row.metric]
    between = _ratio_interval(row, f"{names.delta}_crossed95")
    value = number(getattr(row, names.ratio)) + (f" ({between})" if between else "")
    return f"{value}, {row.verdict}" if value else row.verdict


def finding(row: Any) -> str:
    """The verdict of a row of summary.csv in words."""
    wins = getattr(row, METRICS[row.metric].wins)
    won = 0 if pd.isna(wins) else int(wins.partition("/")[0])
    return Finding(row.verdict, int(row.n_pairs), won).in_words()


def _repeats(noise_floor: pd.DataFrame) -> pd.Series:
    """The row of the noise floor that the page reports: the longest length."""
    first_remap = noise_floor[noise_floor["remap"] == noise_floor["remap"].iloc[0]]
    return first_remap.sort_values(["protocol", "length"]).iloc[-1]


def _retrieval(design: Design, table: pd.DataFrame) -> dict[str, object]:
    """The values of the section on the retrieval probe: what a trial is, and tables of the spectra.

    Of the first version of the probe the table has the accuracy at each length, and how the
    spectra differ at the longest one.
    """
    if "task" in table:
        return retrieval_section.values(design, table)
    lengths = sorted(table["length"].unique())
    against = f"NLL gap at {lengths[-1]} against {spaced(design.baseline)}"
    lines = []
    for arm, rows in table.groupby(["spectrum", "remap"], sort=False):
        at = rows.set_index("length").loc
        accuracies = [_accuracy(at[length]) for length in lengths]
        lines.append([spaced(label(arm)), *accuracies, _nll_gap(at[lengths[-1]])])
    chance = table["chance"].iloc[0]
    return {
        "tasks": [],
        "chance": chance,
        "seeds": table["n_seeds"].max(),
        "trials": table["trials"].iloc[0],
        "table": markdown.as_table(["spectrum", *map(str, lengths), against], lines),
    }


def _accuracy(row: pd.Series) -> str:
    """Percent right with its spread over seeds and interval, such as `90 ± 2 (77 to 96)*`."""
    spread = "" if pd.isna(row["accuracy_std"]) else f" ± {100 * row['accuracy_std']:.0f}"
    low, high = row["accuracy_wilson95_low"], row["accuracy_wilson95_high"]
    star = "*" if low > row["chance"] else ""
    within = interval(100 * low, 100 * high, digits=0)
    return f"{100 * row['accuracy_mean']:.0f}{spread} ({within}){star}"


def _nll_gap(row: pd.Series) -> str:
    """The difference from the baseline in nats; nothing for a baseline and without common seeds."""
    # The table has no such column at all where nothing is compared.
    delta = row.get("delta_nll_gap")
    if pd.isna(delta):
        return ""
    between = interval(row["delta_nll_gap_ci95_low"], row["delta_nll_gap_ci95_high"], digits=2)
    return f"{delta:+.2f} ({between})" if between else f"{delta:+.2f}"
