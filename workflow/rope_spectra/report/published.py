"""Published runs next to ours: the points of the figure and its caption."""

import pandas as pd

from rope_spectra.analysis.published import comparable
from rope_spectra.report import style

RERUNS = (
    "Bar: ± 1 standard deviation of six published runs of geo_500k, seed 42; others may vary more."
)
TWICE = "Two published values in a row: the study ran it on two machines."
NO_RERUNS = "The study repeated no 350m run, so there is no rerun spread."


def points(published: pd.DataFrame, ours: pd.DataFrame, comparison: pd.DataFrame) -> pd.DataFrame:
    """The single runs behind `comparison`, as panels.published_v_ours takes them.

    A row of the figure is a spectrum and a seed that either side has, with a gap between spectra if
    there are several seeds.
    """
    shown = comparison[["spectrum", "length", "rerun_std"]].drop_duplicates()
    runs = pd.concat([published.assign(side="published"), comparable(ours).assign(side="ours")])
    runs = runs.merge(shown, on=["spectrum", "length"])
    rows = _ranked(runs[runs["side"] == "published"]).merge(
        runs[["spectrum", "seed"]].drop_duplicates(), on="spectrum"
    )
    rows["row"] = rows.index.astype(float)
    names = rows["spectrum"].map(style.shown)
    rows["label"] = names
    if runs["seed"].nunique() > 1:
        is_first = ~rows["spectrum"].duplicated()
        rows["row"] += 0.5 * (is_first.cumsum() - 1)
        rows["label"] = names.where(is_first, "") + "  seed " + rows["seed"].astype(str)
    return runs.merge(rows, on=["spectrum", "seed"])


def caption(points: pd.DataFrame) -> str:
    """The meaning of the rows, of the bars and of two marks in one row."""
    seeds = points["seed"].unique()
    rows = "spectrum and seed" if len(seeds) > 1 else f"spectrum (seed {seeds[0]})"
    sentences = [
        f"One row per {rows}, best published mean at the longest length first;"
        " scales differ between panels.",
        NO_RERUNS if points["rerun_std"].isna().all() else RERUNS,
    ]
    if points.duplicated(["side", "row", "length"]).any():
        sentences.append(TWICE)
    return " ".join(sentences)


def _ranked(published: pd.DataFrame) -> pd.DataFrame:
    """The spectra by their mean at the longest length, lowest first: column spectrum."""
    by_length = published.pivot_table(index="spectrum", columns="length", values="ppl")
    return by_length.sort_values(max(by_length)).reset_index()[["spectrum"]]
