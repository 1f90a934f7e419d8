"""The summary table: a row per spectrum x remap x protocol x length, paired with its baseline.

A spectrum under a remap is an arm (config/design.py). Pure: it takes the tidy table of runs and
gives a table. Columns and definitions: docs/statistics.md.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rope_spectra.analysis import statistics
from rope_spectra.config.design import ALL, SELECTION, Arm, Contrasts, Design, label

# Spectrum, seed, remap, length.
Key: TypeAlias = tuple[str, int, str, int]

_FLOAT = "float64"
_TEXT = "str"

COLUMNS = {
    "experiment": _TEXT,
    "spectrum": _TEXT,
    "remap": _TEXT,
    "protocol": _TEXT,
    "length": "int64",
    "n_seeds": "int64",
    "ppl_mean": _FLOAT,
    "ppl_std": _FLOAT,
    "ppl_ci95_low": _FLOAT,
    "ppl_ci95_high": _FLOAT,
    "baseline": _TEXT,
    "delta_log_ppl": _FLOAT,
    "p_sign_flip": _FLOAT,
    "wins": _TEXT,
    "verdict": _TEXT,
    "seeds": _TEXT,
    "ppl_sem": _FLOAT,
    "ppl_min": _FLOAT,
    "ppl_max": _FLOAT,
    "ppl_geomean": _FLOAT,
    "bits_per_byte": _FLOAT,
    "eval_tokens": "Int64",
    "ppl_in_length": _FLOAT,
    "ppl_beyond_length": _FLOAT,
    "delta_log_ppl_ci95_low": _FLOAT,
    "delta_log_ppl_ci95_high": _FLOAT,
    "ppl_ratio": _FLOAT,
    "ppl_ratio_ci95_low": _FLOAT,
    "ppl_ratio_ci95_high": _FLOAT,
    "p_holm": _FLOAT,
    "bootstrap_ci95_low": _FLOAT,
    "bootstrap_ci95_high": _FLOAT,
    "study_claim": "boolean",
    "seeds_for_80pct_power": _FLOAT,
    "n_pairs": "Int64",
    "unpaired_seeds": _TEXT,
    "phase": _TEXT,
}


@dataclass(frozen=True)
class Blocks:
    """The results of protocol `full` block by block; every length scores the same blocks of text.

    nll: NLL sums in nats, float64 [n_blocks], by (spectrum, seed, remap, length).
    tokens: scored tokens of one block, by length.
    bytes: bytes of the text of all blocks' scored tokens, by length; a length is missing where the
        text is unknown.
    parts: PPL at positions below the training length and at those from it on, by (spectrum, seed,
        remap, length); NaN where a length has no such position.
    """

    nll: Mapping[Key, NDArray[np.float64]]
    tokens: Mapping[int, int]
    bytes: Mapping[int, int]
    parts: Mapping[Key, tuple[float, float]] = field(default_factory=dict)

    def nll_of(self, runs: pd.DataFrame) -> NDArray[np.float64]:
        """NLL sums in nats of the runs, [runs, blocks]."""
        return np.stack([self.nll[key] for key in self._keys(runs)])

    def parts_of(self, runs: pd.DataFrame) -> NDArray[np.float64]:
        """PPL inside and beyond the training length, [runs, 2]; NaN where it was not measured."""
        return np.array([self.parts.get(key, (np.nan, np.nan)) for key in self._keys(runs)])

    @staticmethod
    def _keys(runs: pd.DataFrame) -> Iterator[Key]:
        keys = runs[["spectrum", "seed", "remap", "length"]]
        yield from keys.itertuples(index=False, name=None)


@dataclass(frozen=True)
class Comparison:
    """An arm against its baseline: the columns of the table by these names.

    What cannot be computed keeps its default, such as everything where no seed is common to both.
    """

    n_pairs: int
    unpaired_seeds: str | None
    delta_log_ppl: float = np.nan
    delta_log_ppl_ci95_low: float = np.nan
    delta_log_ppl_ci95_high: float = np.nan
    ppl_ratio: float = np.nan
    ppl_ratio_ci95_low: float = np.nan
    ppl_ratio_ci95_high: float = np.nan
    p_sign_flip: float = np.nan
    wins: str | None = None
    bootstrap_ci95_low: float = np.nan
    bootstrap_ci95_high: float = np.nan
    study_claim: bool | None = None
    seeds_for_80pct_power: float = np.nan
    p_holm: float = np.nan
    verdict: statistics.Verdict = "inconclusive"


def summarize_phase(
    design: Design, runs: pd.DataFrame, blocks: Blocks | None, phase: str
) -> pd.DataFrame:
    """The summary of the runs of one phase; dataset, model and training close each row.

    With these columns, tables of several experiments can be compared. Where selection and
    confirmation differ, only protocol `full` reads other text for the one than for the other, so
    only its rows of confirmation carry verdicts.
    """
    summary = summarize(runs, design.baseline, design.contrasts, design.equivalence_margin, blocks)
    summary["phase"] = phase
    if phase != ALL:
        exploratory = (summary["protocol"] != "full") | (phase == SELECTION)
        summary.loc[exploratory, "p_holm"] = np.nan
        summary.loc[exploratory & (summary["verdict"] != "baseline"), "verdict"] = "exploratory"
    return summary.assign(dataset=design.dataset, model=design.model, training=design.training)


def summarize(
    runs: pd.DataFrame,
    baseline: str,
    contrasts: Iterable[str],
    margin: float,
    blocks: Blocks | None = None,
) -> pd.DataFrame:
    """The summary table of one experiment.

    runs: one row per spectrum x seed x remap x protocol x length, with the columns experiment,
    spectrum, seed, remap, protocol, length, ppl, tokens. baseline and contrasts are the
    experiment's (config/design.py): each row is compared with one other at the same protocol and
    length, on the seeds that both have; seeds of one side only are named in `unpaired_seeds`.
    The contrasts are the family of Holm's correction, at each protocol and length over all remaps;
    another row gets no p_holm, and so never `better` or `worse`. margin: the equivalence margin, a
    fraction of PPL.

    Rows are sorted by protocol, remap and length; within, baselines come first, then the contrasts
    as declared, then the rest by name. The order of `runs` does not matter.
    """
    declared = Contrasts.of(baseline, contrasts)
    family = declared.family(sorted(runs["remap"].unique()))
    rows: list[dict[str, object]] = []
    for (protocol, _), cell in runs.groupby(["protocol", "length"]):
        # Only protocol `full` scores the same text at every length, block by block.
        of_cell = blocks if protocol == "full" else None
        rows += _cell_rows(cell, declared, family, margin, of_cell)
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return table.sort_values(["protocol", "remap", "length"], kind="stable", ignore_index=True)


def _cell_rows(
    cell: pd.DataFrame,
    declared: Contrasts,
    family: list[Arm],
    margin: float,
    blocks: Blocks | None,
) -> list[dict[str, object]]:
    """The rows of one (protocol, length)."""
    arms: dict[Arm, pd.DataFrame] = dict(
        list(cell.sort_values("seed").groupby(["spectrum", "remap"]))
    )
    # An arm whose runs are all missing still has columns.
    nothing = cell.iloc[:0]
    comparisons = {}
    for arm, runs in arms.items():
        other = declared.reference(arm)
        if other != arm:
            reference = arms.get(other, nothing)
            comparisons[arm] = _compare(runs, reference, label(arm), label(other), blocks)
    comparisons = _judged(comparisons, family, margin)
    rows = []
    for arm in _display_order(arms, comparisons, family):
        row = _spread(arms[arm], blocks)
        row["baseline"] = label(declared.reference(arm))
        if arm in comparisons:
            rows.append(row | asdict(comparisons[arm]))
        else:
            rows.append(row | {"verdict": "baseline"})
    return rows


def _judged(
    comparisons: Mapping[Arm, Comparison], family: list[Arm], margin: float
) -> dict[Arm, Comparison]:
    """The comparisons with their corrected p, where they are of the family, and their verdict."""
    # A declared contrast without runs still counts, or its absence would help the others.
    p_values = [comparisons[arm].p_sign_flip if arm in comparisons else np.nan for arm in family]
    p_holm = dict(zip(family, statistics.holm(p_values), strict=True))
    judged = {}
    for arm, found in comparisons.items():
        p = float(p_holm.get(arm, np.nan))
        verdict = statistics.verdict(
            found.delta_log_ppl_ci95_low, found.delta_log_ppl_ci95_high, p, margin
        )
        judged[arm] = replace(found, p_holm=p, verdict=verdict)
    return judged


def _display_order(
    arms: Collection[Arm], compared: Collection[Arm], family: Iterable[Arm]
) -> list[Arm]:
    """Baselines first, then the contrasts as declared, then the rest by name."""
    baselines = [arm for arm in arms if arm not in compared]
    order = dict.fromkeys([*baselines, *family, *sorted(arms)])
    return [arm for arm in order if arm in arms]


def _spread(runs: pd.DataFrame, blocks: Blocks | None) -> dict[str, object]:
    """The columns of one arm that need no baseline."""
    first = runs.iloc[0]
    ppl = statistics.seed_summary(runs["ppl"])
    row = {
        **first[["experiment", "spectrum", "remap", "protocol", "length"]],
        "n_seeds": ppl.n,
        "seeds": _seed_list(runs["seed"]),
        "ppl_mean": ppl.mean,
        "ppl_std": ppl.std,
        "ppl_sem": ppl.sem,
        "ppl_ci95_low": ppl.ci95_low,
        "ppl_ci95_high": ppl.ci95_high,
        "ppl_min": ppl.min,
        "ppl_max": ppl.max,
        "ppl_geomean": ppl.geomean,
        "eval_tokens": first["tokens"],
    }
    if blocks:
        inside, beyond = blocks.parts_of(runs).mean(axis=0)
        row |= {
            "bits_per_byte": _bits_per_byte(runs, blocks),
            "ppl_in_length": inside,
            "ppl_beyond_length": beyond,
        }
    return row


def _bits_per_byte(runs: pd.DataFrame, blocks: Blocks) -> float:
    """NLL / (ln 2 * bytes), mean over the seeds; NaN where the bytes are unknown."""
    nats = blocks.nll_of(runs).sum(axis=1).mean()
    text_bytes = blocks.bytes.get(runs["length"].iloc[0], np.nan)
    return float(nats / (np.log(2) * text_bytes))


def _compare(
    runs: pd.DataFrame,
    reference: pd.DataFrame,
    name: str,
    baseline: str,
    blocks: Blocks | None,
) -> Comparison:
    """One arm against its baseline, on the seeds that both have."""
    # Both are sorted by seed, so rows of the same index are of the same seed.
    ours = runs[runs["seed"].isin(reference["seed"])]
    theirs = reference[reference["seed"].isin(runs["seed"])]
    unpaired = _unpaired(runs, reference, name, baseline)
    if ours.empty:
        return Comparison(n_pairs=0, unpaired_seeds=unpaired)
    deltas = np.log(ours["ppl"].to_numpy()) - np.log(theirs["ppl"].to_numpy())
    low, high = statistics.mean_ci95(deltas)
    bootstrap_low, bootstrap_high = _bootstrap(ours, theirs, blocks)
    return Comparison(
        n_pairs=len(ours),
        unpaired_seeds=unpaired,
        delta_log_ppl=deltas.mean(),
        delta_log_ppl_ci95_low=low,
        delta_log_ppl_ci95_high=high,
        ppl_ratio=np.exp(deltas.mean()),
        ppl_ratio_ci95_low=np.exp(low),
        ppl_ratio_ci95_high=np.exp(high),
        p_sign_flip=statistics.sign_flip_p(deltas),
        wins=f"{np.count_nonzero(deltas < 0)}/{len(deltas)}",
        bootstrap_ci95_low=bootstrap_low,
        bootstrap_ci95_high=bootstrap_high,
        study_claim=statistics.study_claim(ours["ppl"], theirs["ppl"]),
        seeds_for_80pct_power=statistics.seeds_for_80pct_power(deltas),
    )


def _bootstrap(
    ours: pd.DataFrame, theirs: pd.DataFrame, blocks: Blocks | None
) -> tuple[float, float]:
    """Interval of the mean delta in nats per token over seeds and blocks; NaN without blocks."""
    if blocks is None:
        return np.nan, np.nan
    tokens = blocks.tokens[ours["length"].iloc[0]]
    return statistics.two_level_bootstrap((blocks.nll_of(ours) - blocks.nll_of(theirs)) / tokens)


def _unpaired(runs: pd.DataFrame, reference: pd.DataFrame, name: str, baseline: str) -> str | None:
    """The seeds that one side alone has, and which side: 'geo_500k only: 17 97'."""
    ours, theirs = set(runs["seed"]), set(reference["seed"])
    sides = {name: ours - theirs, baseline: theirs - ours}
    named = [f"{side} only: {_seed_list(seeds)}" for side, seeds in sides.items() if seeds]
    return "; ".join(named) or None


def _seed_list(seeds: Iterable[int]) -> str:
    return " ".join(str(seed) for seed in sorted(seeds))
