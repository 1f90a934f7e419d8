"""The section of an experiment's page on learning rates, from rates.csv."""

from typing import Any

import pandas as pd

from rope_spectra.analysis.rates import FAILED
from rope_spectra.analysis.statistics import exponential
from rope_spectra.config.design import Design
from rope_spectra.report import markdown
from rope_spectra.report.markdown import interval


def rates_section(design: Design, table: pd.DataFrame) -> dict[str, Any]:
    """The values of rates.md.j2: the order at every rate, who changes place, the failed runs."""
    first = table.iloc[0]
    header = f"PPL at {first['length']}"
    if first["metric"] == "degradation":
        header += f" / PPL at {design.train_length}"
    lines = []
    for row in table.itertuples():
        low, high = exponential([row.value_crossed95_low, row.value_crossed95_high])
        between = interval(low, high, digits=3)
        line = {
            "learning rate": f"{row.learning_rate:g}",
            "spectrum": row.spectrum,
            "seeds": str(row.n_seeds),
            "failed": str(row.n_failed),
            f"PPL at {design.train_length}": f"{row.ppl_in_length:.3f}",
            header: f"{exponential(row.value):.3f}" + (f" ({between})" if between else ""),
            "rank": "" if pd.isna(row.rank) else str(int(row.rank)),
            "rank, 95 %": interval(row.rank_ci95_low, row.rank_ci95_high, digits=0),
        }
        lines.append(line)
    moved = _moved(table)
    return {
        "metric": first["metric"],
        "length": first["length"],
        "spectra": table["spectrum"].nunique(),
        "rates": [f"{rate:g}" for rate in table["learning_rate"].unique()],
        "moved": {name: ", ".join(map(str, ranks)) for name, ranks in moved.items()},
        "beyond": [name for name in moved if _is_apart(table[table["spectrum"] == name])],
        "failed": [row for row in table.itertuples() if row.n_failed],
        "n_failed": int(table["n_failed"].sum()),
        "n_runs": int(table["n_seeds"].sum()),
        "limit": FAILED,
        "table": markdown.as_table(list(lines[0]), [list(line.values()) for line in lines]),
    }


def _moved(table: pd.DataFrame) -> dict[str, list[int]]:
    """The spectra that have not the same rank at every rate, and their ranks by rate."""
    ranks = {
        str(name): rows.dropna(subset="rank")["rank"].astype(int).to_list()
        for name, rows in table.groupby("spectrum", sort=False)
    }
    return {name: found for name, found in ranks.items() if len(set(found)) > 1}


def _is_apart(rows: pd.DataFrame) -> bool:
    """True where two of the intervals of a spectrum's ranks have no rank in common."""
    return bool(rows["rank_ci95_low"].max() > rows["rank_ci95_high"].min())
