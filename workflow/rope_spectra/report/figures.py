"""The figures of an experiment: the rows of its tables that each figure shows.

A model under a remap is drawn as one more spectrum, such as `geo_500k+yarn`.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rope_spectra.analysis.endpoints import METRICS
from rope_spectra.analysis.runs import read_losses, read_positions
from rope_spectra.config.design import Contrasts, Design, label
from rope_spectra.config.experiment import Metric
from rope_spectra.report import panels, plots, style
from rope_spectra.report.style import LineStyle


def draw(design: Design, runs: pd.DataFrame, summary: pd.DataFrame) -> dict[str, Figure]:
    """The figures by name, from the rows of runs.csv and summary.csv.

    Reads train.csv and eval.npz of each run.
    """
    losses = read_losses(design.experiment, runs)
    if "degradation" not in runs:  # a table of an older version
        runs = runs.assign(degradation=np.nan)
    protocol = "full" if "full" in set(runs["protocol"]) else "first_chunks"
    runs = runs[runs["protocol"] == protocol]
    summary = by_arm(summary[summary["protocol"] == protocol])
    # Only protocol full keeps the loss of each bin of positions.
    positions = read_positions(design, runs, design.longest) if protocol == "full" else None
    metric: Metric = design.primary.metric if design.primary else "ppl"
    deltas = paired_deltas(runs, design.comparisons, metric)
    arms = by_arm(runs)
    styles = line_styles(design, arms)
    lengths = (design.train_length, design.longest)
    omegas = {spectrum.name: spectrum.inv_freq(design.head_dim) for spectrum in design.spectra}
    return {
        "ppl_by_length": plots.ppl_by_length(arms, protocol, design.train_length, styles),
        "degradation_by_length": plots.degradation_by_length(arms, design.train_length, styles),
        "nll_by_position": plots.nll_by_position(positions, *lengths, styles),
        "paired_deltas": panels.paired_deltas(
            deltas,
            with_intervals(summary, metric),
            design.baseline,
            design.equivalence_margin,
            styles,
            metric,
        ),
        "spectra": plots.spectra(omegas, *lengths, styles),
        "training_loss": plots.training_loss(losses, styles),
    }


def draw_retrieval(design: Design, runs: pd.DataFrame) -> Figure:
    """The figure of the retrieval probe, from the rows of retrieval_runs.csv."""
    arms = by_arm(runs)
    # All trials have the same number of candidates.
    chance = runs["chance"].iloc[0]
    return plots.retrieval(arms, chance, design.train_length, line_styles(design, arms))


def line_styles(design: Design, arms: pd.DataFrame) -> dict[str, LineStyle]:
    """A line style for each spectrum and arm, the same in every figure of the experiment.

    arms: a table from `by_arm`. The spectra come first, in the order of the experiment.
    """
    names = dict.fromkeys([*(spectrum.name for spectrum in design.spectra), *arms["spectrum"]])
    return style.line_styles(list(names))


def by_arm(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the remap in the name of the spectrum: geo_500k+yarn."""
    arms = zip(table["spectrum"], table["remap"], strict=True)
    return table.assign(spectrum=[label(arm) for arm in arms])


def with_intervals(summary: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """The summary with the columns delta, low and high: a difference by the metric, its interval.

    The interval is over seeds and text; in tables of older versions over the seeds alone.
    """
    name = METRICS[metric].delta
    interval = f"{name}_crossed95" if f"{name}_crossed95_low" in summary else f"{name}_ci95"
    columns = {"delta": name, "low": f"{interval}_low", "high": f"{interval}_high"}
    return summary.assign(**{new: summary.get(old, np.nan) for new, old in columns.items()})


def paired_deltas(runs: pd.DataFrame, contrasts: Contrasts, metric: Metric = "ppl") -> pd.DataFrame:
    """Log PPL, or the degradation, minus that of the row's baseline at the same seed and length.

    runs: of one protocol, and not from `by_arm`. Columns: spectrum and baseline (the remap in both
    names), seed, length, delta. Rows without their baseline, and of runs that
    have diverged, are left out.
    """
    values = np.log(runs["ppl"]) if metric == "ppl" else runs["degradation"]
    runs = runs.assign(value=values)[np.isfinite(values)]
    arms = zip(runs["spectrum"], runs["remap"], strict=True)
    ours = by_arm(runs).assign(baseline=[label(contrasts.reference(arm)) for arm in arms])
    theirs = ours[["spectrum", "seed", "length", "value"]].rename(columns={"spectrum": "baseline"})
    compared = ours[ours["spectrum"] != ours["baseline"]]
    paired = compared.merge(theirs, on=["baseline", "seed", "length"], suffixes=("", "_baseline"))
    columns = ["spectrum", "baseline", "seed", "length", "delta"]
    return paired.assign(delta=paired["value"] - paired["value_baseline"])[columns]
