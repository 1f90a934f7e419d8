"""The table on the page of an experiment of what its models use."""

import numpy as np
import pandas as pd

from rope_spectra.analysis import statistics
from rope_spectra.analysis.usage_table import PARTS, USED
from rope_spectra.report import markdown
from rope_spectra.report.markdown import interval

_WORDS = {"in_length": "in length", "beyond": "beyond"}


def table(usage: pd.DataFrame) -> str:
    """A row per spectrum from the rows of usage_runs.csv, mean over seeds with t interval.

    What no length beyond that of training was measured for is left out.
    """
    parts = [part for part in PARTS if usage[f"cost_never_turning_{part}"].notna().all()]
    header = ["spectrum", "pairs"]
    for part in parts:
        header += [f"above {100 * limit:g} %, {_WORDS[part]}" for limit in USED.values()]
    header += ["never turning", *(f"these stilled, {_WORDS[part]}" for part in parts)]
    lines = []
    for spectrum, runs in usage.groupby("spectrum", sort=False):
        line = [str(spectrum), str(runs["pairs"].iloc[0])]
        for part in parts:
            line += [_count(runs[f"{name}_{part}"]) for name in USED]
        line.append(str(runs["never_turning"].iloc[0]))
        line += [_rise(runs[f"cost_never_turning_{part}"]) for part in parts]
        lines.append(line)
    return markdown.as_table(header, lines)


def _count(numbers: pd.Series) -> str:
    """The mean number of pairs, such as `5.3 (3.9 to 6.8)`."""
    between = interval(*statistics.mean_ci95(numbers), digits=1)
    return f"{numbers.mean():.1f}" + (f" ({between})" if between else "")


def _rise(costs: pd.Series) -> str:
    """The rise of perplexity in percent, such as `+0.3 (0.1 to 0.5)`, of costs in nats."""
    with np.errstate(over="ignore"):
        mean, low, high = 100 * np.expm1([costs.mean(), *statistics.mean_ci95(costs)])
    between = interval(low, high, digits=1)
    return f"{mean:+.1f}" + (f" ({between})" if between else "")
