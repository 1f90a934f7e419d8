"""How names, numbers and tables are written on the pages, in Markdown."""

from typing import Any

import pandas as pd

from rope_spectra.config.contrasts import NATIVE, label


def number(value: float) -> str:
    """Three digits; nothing for NaN."""
    return "" if pd.isna(value) else f"{value:.3g}"


def text(value: Any) -> str:
    """The value; nothing for NaN."""
    return "" if pd.isna(value) else str(value)


def as_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table whose columns line up as plain text too."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def named(row: Any) -> str:
    """The name of the arm of a row with the columns spectrum and remap."""
    return spaced(label((row.spectrum, row.remap)))


def spaced(name: str) -> str:
    """The name of an arm for reading: geo_500k + yarn, and geo_500k as it was trained."""
    return name.removesuffix(f"+{NATIVE}").replace("+", " + ")


def mean_std(mean: float, std: float) -> str:
    """4.321 ± 0.123; of one value without the spread."""
    return f"{mean:.3f}" if pd.isna(std) else f"{mean:.3f} ± {std:.3f}"


def interval(row: Any) -> str:
    """The 95 % interval of a row's PPL ratio; nothing without one."""
    return (
        ""
        if pd.isna(row.ppl_ratio_ci95_low)
        else f"{row.ppl_ratio_ci95_low:.3f} to {row.ppl_ratio_ci95_high:.3f}"
    )
