"""The declared hypotheses of an experiment with what its runs say of each; docs/statistics.md.

A hypothesis about two spectra is judged by the rule of verdicts (analysis/verdicts.py); those of
perplexity are a family, and so are those of retrieval. A hypothesis about a diagnostic is judged by
the interval of its rank correlation over the seeds (analysis/theory.py), each by itself. Pure.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rope_spectra.analysis import verdicts
from rope_spectra.analysis.crossed import crossed
from rope_spectra.analysis.endpoints import Row, in_order
from rope_spectra.analysis.measured import (
    Correct,
    Endpoint,
    arm_values,
    by_seed,
    endpoint,
)
from rope_spectra.analysis.summary_table import Blocks, interval_columns
from rope_spectra.analysis.theory import correlation, diagnostics_of
from rope_spectra.analysis.verdicts import Verdict
from rope_spectra.config.design import NATIVE, Arm, Design, parse_arm
from rope_spectra.config.hypotheses import (
    FEWEST_SPECTRA,
    ContrastHypothesis,
    DiagnosticHypothesis,
    Outcome,
    Sign,
)

Judgement: TypeAlias = Literal["supported", "contradicted", "open"]
EXPLORATORY = "exploratory"
# Two seeds often have the very same coefficient by chance, and an interval without width.
FEWEST_SEEDS = 3

COLUMNS = [
    "experiment",
    "hypothesis",
    "prediction",
    "measure",
    "length",
    "estimate",
    "ci95_low",
    "ci95_high",
    "p_holm",
    "n_seeds",
    "n_spectra",
    "verdict",
    "source",
]

# By expectation: the verdicts that support it, and those that contradict it.
_READ: dict[Outcome, tuple[set[Verdict], set[Verdict]]] = {
    "better": (
        {"better", "better, within the margin"},
        {"worse", "worse, within the margin", "equivalent"},
    ),
    "worse": (
        {"worse", "worse, within the margin"},
        {"better", "better, within the margin", "equivalent"},
    ),
    "equivalent": (
        {"equivalent", "better, within the margin", "worse, within the margin"},
        {"better", "worse"},
    ),
}


class Results(NamedTuple):
    """The results of an experiment: what hypotheses are judged by.

    spectra: the table of spectra_table. runs: the rows of runs.csv. blocks: protocol `full` block
    by block, of the seeds that serve verdicts. trials: the trials of retrieval (read_correct).
    """

    spectra: pd.DataFrame
    runs: pd.DataFrame
    blocks: Blocks
    trials: Correct


def hypotheses_table(design: Design, results: Results) -> pd.DataFrame:
    """A row per hypothesis, as if all were declared; columns in docs/statistics.md, section 9."""
    rows = _contrast_rows(design, results)
    for name, hypothesis in design.hypotheses.items():
        if isinstance(hypothesis, DiagnosticHypothesis):
            rows[name] = _diagnostic_row(design, hypothesis, results)
    table = []
    for name, hypothesis in design.hypotheses.items():
        about = {"experiment": design.experiment, "hypothesis": name, "source": hypothesis.source}
        table.append(about | rows[name])
    return pd.DataFrame(table, columns=COLUMNS)


def judge_outcome(expected: Outcome, verdict: Verdict) -> Judgement:
    """The judgement on an expected outcome of a comparison, by its verdict."""
    supporting, contradicting = _READ[expected]
    if verdict in supporting:
        return "supported"
    return "contradicted" if verdict in contradicting else "open"


def judge_sign(sign: Sign, low: float, high: float) -> Judgement:
    """The judgement on an expected sign, by the interval; open where it holds 0 or is NaN."""
    positive, negative = low > 0, high < 0
    if not (positive or negative):
        return "open"
    return "supported" if positive == (sign == "positive") else "contradicted"


def _diagnostic_row(design: Design, hypothesis: DiagnosticHypothesis, results: Results) -> Row:
    at = endpoint(design, hypothesis.measure, hypothesis.length)
    values = by_seed(design, at, results.runs, results.trials)
    numbers = diagnostics_of(results.spectra).loc[list(values.columns), hypothesis.diagnostic]
    found = correlation(numbers, values)
    judgement = judge_sign(hypothesis.sign, found.low, found.high)
    # A correlation has no levels for the looks before the last one.
    is_early = bool(design.looks) and found.n_seeds < design.looks[-1]
    is_small = len(numbers) < FEWEST_SPECTRA or found.n_seeds < FEWEST_SEEDS
    if is_early or is_small:
        judgement = "open"
    return {
        "prediction": f"{hypothesis.diagnostic}: {hypothesis.sign}",
        "measure": at.measure,
        "length": at.length,
        "estimate": found.spearman,
        **interval_columns("ci95", (found.low, found.high)),
        "n_seeds": found.n_seeds,
        "n_spectra": len(numbers),
        "verdict": judgement,
    }


def _contrast_rows(design: Design, results: Results) -> dict[str, Row]:
    """The rows of the hypotheses about two spectra, by name."""
    found: dict[str, tuple[ContrastHypothesis, Endpoint]] = {}
    for name, hypothesis in design.hypotheses.items():
        if isinstance(hypothesis, ContrastHypothesis):
            at = endpoint(design, hypothesis.measure, hypothesis.length)
            found[name] = hypothesis, at
    rows: dict[str, Row] = {}
    # Retrieval has no margin: no difference of accuracies is too small to matter.
    for is_retrieval, margin in ((False, design.equivalence_margin), (True, 0.0)):
        family = {
            name: (hypothesis, at)
            for name, (hypothesis, at) in found.items()
            if (at.measure == "retrieval") == is_retrieval
        }
        rows |= _family_rows(design, family, margin, results)
    return rows


def _family_rows(
    design: Design,
    family: Mapping[str, tuple[ContrastHypothesis, Endpoint]],
    margin: float,
    results: Results,
) -> dict[str, Row]:
    """The rows of hypotheses that are corrected together."""
    tables = [_differences(design, *each, results) for each in family.values()]
    findings = verdicts.judge(tables, margin, design.looks or None)
    rows: dict[str, Row] = {}
    for (name, (hypothesis, at)), table, finding in zip(
        family.items(), tables, findings, strict=True
    ):
        pairs = table[~np.isnan(table).any(axis=1)]
        rows[name] = {
            "prediction": hypothesis.claim,
            "measure": at.measure,
            "length": at.length,
            **_estimate(pairs, at),
            "p_holm": finding.p_difference,
            "n_seeds": len(pairs),
            "n_spectra": 2,
            "verdict": judge_outcome(hypothesis.parts.expected, finding.verdict),
        }
    return rows


def _estimate(pairs: NDArray[np.float64], at: Endpoint) -> Row:
    """The mean difference and its interval, in the direction of the measure."""
    if not len(pairs):
        return {}
    found = crossed(pairs)
    low, high = map(float, found.interval())
    mean = float(found.mean)
    if at.measure == "retrieval":
        mean, low, high = -mean, -high, -low
    return {"estimate": mean, **interval_columns("ci95", (low, high))}


def _differences(
    design: Design, hypothesis: ContrastHypothesis, at: Endpoint, results: Results
) -> NDArray[np.float64]:
    """The first arm minus the second, [seeds, blocks], below 0 where the first is better.

    As verdicts.judge wants them: the seeds in their declared order up to the last pair, NaN where
    one of the two arms lacks a seed.
    """
    arm, _, other = hypothesis.parts
    arms = [_native(each) for each in (arm, other)]
    ours, theirs = (arm_values(design, at, each, results.runs, results.trials) for each in arms)
    seeds = design.serving_verdicts
    pairs = [seed for seed in seeds if seed in ours.index and seed in theirs.index]
    if not pairs:
        return np.full((0, 1), np.nan)
    if at.measure == "retrieval":  # of which more is better
        first, second = (_by_trial(at, each, pairs, results.trials) for each in arms)
        deltas = second - first
    elif design.verdict_protocol == "full":
        first, second = (_by_block(at, each, pairs, results.blocks) for each in arms)
        deltas = first - second
    else:
        deltas = (ours.loc[pairs] - theirs.loc[pairs]).to_numpy()[:, None]
    return in_order(deltas, pairs, seeds)


def _by_trial(at: Endpoint, arm: Arm, seeds: list[int], trials: Correct) -> NDArray[np.float64]:
    """The share of the tasks that an arm has right, [seeds, trials]."""
    spectrum, remap = arm
    return np.stack([trials[spectrum, seed, remap, at.length] for seed in seeds])


def _by_block(at: Endpoint, arm: Arm, seeds: list[int], blocks: Blocks) -> NDArray[np.float64]:
    """The measure of an arm in nats per token, [seeds, blocks]."""
    spectrum, remap = arm
    runs = pd.DataFrame({"seed": seeds}).assign(spectrum=spectrum, remap=remap, length=at.length)
    return blocks.degradation(runs) if at.measure == "degradation" else blocks.per_token(runs)


def _native(name: str) -> Arm:
    """The arm of a name in the config; without a remap, the spectrum as it was trained."""
    spectrum, remap = parse_arm(name)
    return spectrum, remap or NATIVE
