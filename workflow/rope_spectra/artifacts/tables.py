"""Tables as CSV files: one way to write them, one to read them."""

from pathlib import Path

import pandas as pd

from rope_spectra.artifacts import files

# Without this pandas makes a number of a spectrum that is called 007.
_TEXT_COLUMNS = (
    "experiment",
    "spectrum",
    "baseline",
    "dataset",
    "model",
    "training",
    "seeds",
    "hypothesis",
)


def as_csv(table: pd.DataFrame) -> str:
    """CSV with ten digits, empty where there is no value."""
    return str(table.to_csv(index=False, float_format="%.10g", lineterminator="\n"))


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Publish a table atomically."""
    files.write_text(path, as_csv(table))


def read_csv(path: Path) -> pd.DataFrame:
    """A table that as_csv wrote; names stay text, even 007 and nan."""
    columns = dict.fromkeys(_TEXT_COLUMNS, str)
    return pd.read_csv(path, dtype=columns, keep_default_na=False, na_values=[""])
