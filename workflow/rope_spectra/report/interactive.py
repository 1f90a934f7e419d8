"""The interactive page of an experiment: one HTML file that works offline.

Vega-Lite draws its charts, with the JavaScript of Snakemake's own reports, which comes with
Snakemake. The page does no statistics: every number on it is one of the tables, or its exponential.
"""

import base64
import gzip
import json
import re
from collections.abc import Iterator
from functools import cache

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from numpy.typing import ArrayLike
from snakemake.assets import AssetDownloadError, Assets

from rope_spectra.analysis.endpoints import METRICS
from rope_spectra.analysis.frontier import non_dominated
from rope_spectra.analysis.statistics import exponential
from rope_spectra.artifacts import columns, tables
from rope_spectra.config.design import Design
from rope_spectra.config.experiment import Metric
from rope_spectra.report.figures import by_arm, line_styles, paired_deltas, with_intervals
from rope_spectra.report.style import LineStyle
from rope_spectra.runtime.errors import UserError

_PACKAGES = ("vega", "vega-lite", "vega-embed")

# Matplotlib's markers as paths of SVG within about -1 and 1, for Vega and the list of spectra.
SHAPES = {
    "o": "M1,0A1,1,0,1,1,-1,0A1,1,0,1,1,1,0Z",
    "s": "M-.9,-.9H.9V.9H-.9Z",
    "^": "M0,-1L1,.8H-1Z",
    "v": "M0,1L1,-.8H-1Z",
    "<": "M-1,0L.8,-1V1Z",
    "D": "M0,-1.1L1.1,0L0,1.1L-1.1,0Z",
    "P": "M-.4,-1H.4V-.4H1V.4H.4V1H-.4V.4H-1V-.4H-.4Z",
    "X": "M-1,-.5L-.5,-1L0,-.5L.5,-1L1,-.5L.5,0L1,.5L.5,1L0,.5L-.5,1L-1,.5L-.5,0Z",
}

# What the charts can show, by the metric behind it: as it is, and compared with the baseline.
_LABELS: dict[Metric, tuple[str, str]] = {
    "ppl": ("Perplexity", "Perplexity relative to the baseline"),
    "degradation": (
        "Growth of perplexity beyond the training length",
        "Growth of perplexity relative to the baseline",
    ),
}
_POINT_COLUMNS = ["measure", "protocol", "phase", "length", "arm", "value", "low", "high"]
_POINT_COLUMNS += ["seeds", "baseline", "wins", "verdict"]
_SEED_COLUMNS = ["measure", "protocol", "phase", "length", "arm", "seed", "value"]
_FRONTIER_COLUMNS = ["axis", "arm", "value", "low", "high", "accuracy", "accuracy_low"]
_FRONTIER_COLUMNS += ["accuracy_high", "is_free", "verdict"]


def page(
    design: Design, runs: pd.DataFrame, summary: pd.DataFrame, frontier: pd.DataFrame | None
) -> str:
    """The page, from runs.csv, summary.csv and, where the experiment has one, frontier.csv."""
    arms = by_arm(summary)
    points = _packed(pd.concat(_points(arms), ignore_index=True), _POINT_COLUMNS)
    seeds = _packed(pd.concat(_seeds(design, runs), ignore_index=True), _SEED_COLUMNS)
    shown = {"summary.csv": summary} | ({} if frontier is None else {"frontier.csv": frontier})
    data = {
        "experiment": design.experiment,
        "train_length": design.train_length,
        "protocol": design.verdict_protocol,
        "length": design.primary.length if design.primary else design.longest,
        "arms": [
            {"name": name, **_appearance(style)}
            for name, style in line_styles(design, arms).items()
            if name in set(arms["spectrum"])
        ],
        "labels": {
            name: label
            for metric, pair in _LABELS.items()
            for name, label in zip((metric, f"{metric}_ratio"), pair, strict=True)
        },
        "points": points,
        "seeds": seeds,
        "frontier": None if frontier is None else _frontier(design, frontier),
        # As in the files, where inf and names such as 007 stay as they are.
        "tables": {name: tables.as_csv(table) for name, table in shown.items()},
        "meanings": {name: columns.meanings(name) for name in shown},
    }
    template = _environment().get_template("interactive.html.j2")
    return template.render(
        design=design,
        data=data,
        scripts=[_compressed(f"{package}/{package}.js") for package in _PACKAGES],
        licenses={package: _asset(f"{package}/LICENSE") for package in _PACKAGES},
        explained={name: columns.of_table(name) for name in shown},
    )


def _points(arms: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The means over the seeds with their intervals, [rows of the summary] for each measure."""
    own = {
        "ppl": arms[["ppl_mean", "ppl_ci95_low", "ppl_ci95_high"]].to_numpy(),
        "degradation": exponential(
            arms[["degradation_mean", "degradation_ci95_low", "degradation_ci95_high"]].to_numpy()
        ),
    }
    for metric, names in METRICS.items():
        yield _measure(arms, metric, own[metric], arms["n_seeds"])
        deltas = with_intervals(arms, metric)[["delta", "low", "high"]].to_numpy()
        compared = _measure(arms, f"{metric}_ratio", exponential(deltas), arms["n_pairs"])
        is_judged = arms["metric"] == metric
        yield compared.assign(wins=arms[names.wins], verdict=arms["verdict"].where(is_judged))


def _measure(arms: pd.DataFrame, measure: str, values: ArrayLike, seeds: pd.Series) -> pd.DataFrame:
    """The rows of one measure; values: mean and interval, [rows, 3]."""
    rows = arms.rename(columns={"spectrum": "arm"})
    rows = rows[["protocol", "phase", "length", "arm", "baseline"]]
    rows[["value", "low", "high"]] = values
    return rows.assign(measure=measure, seeds=seeds, wins=None, verdict=None)


def _seeds(design: Design, runs: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The values of the single seeds for each measure."""
    arms = by_arm(runs).rename(columns={"spectrum": "arm"})
    yield arms.assign(measure="ppl", value=runs["ppl"])
    yield arms.assign(measure="degradation", value=exponential(runs["degradation"]))
    for metric in METRICS:
        for (protocol, phase), rows in runs.groupby(["protocol", "phase"]):
            deltas = paired_deltas(rows, design.comparisons, metric)
            deltas = deltas.rename(columns={"spectrum": "arm"})
            place = {"measure": f"{metric}_ratio", "protocol": protocol, "phase": phase}
            yield deltas.assign(**place, value=exponential(deltas["delta"]))


def _frontier(design: Design, table: pd.DataFrame) -> dict[str, object]:
    """The points of the frontier by each of its x axes, as in its figure."""
    first = table.iloc[0]
    labels = {"log_ppl": f"Perplexity at {first['length']} tokens"}
    if first["metric"] == "degradation":
        growth = f"Perplexity at {first['length']} as a multiple of that at {design.train_length}"
        labels = {"degradation": growth, **labels}
    panels = []
    for axis in labels:
        rows = by_arm(table).rename(columns={"spectrum": "arm"})
        rows["value"] = exponential(rows[axis])
        for side in ("low", "high"):
            rows[side] = exponential(rows[f"{axis}_crossed95_{side}"])
            rows[f"accuracy_{side}"] = rows[f"accuracy_crossed95_{side}"].clip(0, 1)
        rows = rows[np.isfinite(rows["value"]) & np.isfinite(rows["accuracy"])]
        is_free = non_dominated(rows[axis], rows["accuracy"])
        panels.append(rows.assign(axis=axis, is_free=is_free))
    return {
        "labels": labels,
        "length": int(first["retrieval_length"]),
        "chance": float(first["chance"]),
        "points": _packed(pd.concat(panels), _FRONTIER_COLUMNS),
    }


def _packed(table: pd.DataFrame, names: list[str]) -> dict[str, object]:
    """The rows with a value, as JSON has them: six digits, null for what does not exist."""
    rows = table.loc[np.isfinite(table["value"].astype(float)), names]
    text = rows.replace([np.inf, -np.inf], np.nan).to_json(orient="values")
    values = [[_short(value) for value in row] for row in json.loads(text)]
    return {"columns": names, "rows": values}


def _short(value: object) -> object:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _appearance(style: LineStyle) -> dict[str, object]:
    dashes = [] if style.dashes == "solid" else [2 * length for length in style.dashes[1]]
    shape = SHAPES[style.marker]
    return {"label": style.label, "color": style.color, "dashes": dashes, "shape": shape}


def _compressed(path: str) -> str:
    """A script, compressed: the three are 2.2 MB, and 0.7 MB so."""
    # Without the time, which would change the bytes.
    packed = gzip.compress(_asset(path).encode(), mtime=0)
    return base64.b64encode(packed).decode()


def _asset(path: str) -> str:
    """A file that comes with Snakemake; UserError if this Snakemake lacks it."""
    try:
        return Assets.get_content(path)
    except AssetDownloadError:
        raise UserError(
            f"snakemake: lacks {path}, which its reports need too; install the version of"
            " envs/requirements.txt"
        ) from None


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rope_spectra.report"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    environment.filters["code"] = _code
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}  # the order is kept
    return environment


def _code(markdown: str) -> Markup:
    """One line of Markdown as HTML: what is in backquotes is code."""
    text = re.sub(r"\*(\w+)\*", r"\1", str(escape(markdown)))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", text))
