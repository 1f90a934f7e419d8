"""What the retrieval probe has shown, as a section of summary.md."""

from typing import Any

import pandas as pd

from rope_spectra.config.contrasts import label
from rope_spectra.config.definition import Definition
from rope_spectra.report.markdown import as_table, spaced


def section(definition: Definition, summary: pd.DataFrame) -> str:
    """Accuracy by spectrum and length, and how the spectra differ at the longest one; summary: of retrieval_table.summarize."""
    lengths, chance = sorted(summary["length"].unique()), summary["chance"].iloc[0]
    seeds, trials = summary["n_seeds"].max(), summary["trials"].iloc[0]
    cells = []
    for arm, rows in summary.groupby(["spectrum", "remap"], sort=False):
        at = rows.set_index("length").loc
        cells.append(
            [
                spaced(label(arm)),
                *(_accuracy(at[length]) for length in lengths),
                _gap(at[lengths[-1]]),
            ]
        )
    header = [
        "spectrum",
        *map(str, lengths),
        f"NLL gap at {lengths[-1]} against {spaced(definition['baseline'])}",
    ]
    parts = [
        "## Retrieval",
        "A sentence names a word, then a passage of the text follows, then the same sentence asks for it: is the true one of "
        f"{round(1 / chance)} words the likeliest? Percent right, mean ± std; {seeds} seeds, {trials} trials each. In brackets "
        f"the Wilson 95 % interval over the trials of all seeds; a star where it lies above chance, {100 * chance:.0f} %.",
        as_table(header, cells),
        "The NLL gap is by how much the other words are less likely than the true one, in nats; given is its difference from the "
        "baseline on the same seeds with the 95 % t interval. It is no declared contrast and carries no verdict.",
    ]
    return "\n\n".join(parts)


def _accuracy(row: Any) -> str:
    spread = "" if pd.isna(row.accuracy_std) else f" ± {100 * row.accuracy_std:.0f}"
    low, high = row.accuracy_wilson95_low, row.accuracy_wilson95_high
    star = "*" if low > row.chance else ""
    return f"{100 * row.accuracy_mean:.0f}{spread} ({100 * low:.0f} to {100 * high:.0f}){star}"


def _gap(row: Any) -> str:
    if pd.isna(
        row.get("delta_nll_gap")
    ):  # a baseline, or no seed in common; without any comparison there is no such column
        return ""
    low, high = row.delta_nll_gap_ci95_low, row.delta_nll_gap_ci95_high
    return f"{row.delta_nll_gap:+.2f}" + ("" if pd.isna(low) else f" ({low:.2f} to {high:.2f})")
