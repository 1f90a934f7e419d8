"""The page of a search, its summary.md, from its tables and those of its confirmation."""

import pandas as pd

from rope_spectra.analysis.statistics import exponential
from rope_spectra.config.candidates import SearchStep
from rope_spectra.config.design import SELECTION, Design
from rope_spectra.report import markdown
from rope_spectra.report.pages import comparisons


def search_page(
    step: SearchStep,
    design: Design,
    course: pd.DataFrame,
    found: pd.DataFrame,
    summary: pd.DataFrame,
) -> str:
    """summary.md of a search.

    step and design are of its confirmation, course and found its tables course.csv and found.csv,
    summary is summary.csv of the confirmation.
    """
    first = found.iloc[0]
    contrasts = comparisons(design, summary[summary["phase"] != SELECTION])
    last = course[course["round"] == course["round"].max()]
    return markdown.render(
        "search.md.j2",
        step=step,
        design=design,
        baseline=step.earlier[0].design.baseline,
        bounds=step.space.bounds(step.train_length),
        rounds=_rounds(course, step.objective.metrics[0]),
        candidates=course["proposal"].nunique(),
        runs=int(course["n_seeds"].sum()),
        finalists=len(last),
        is_allowed=last["is_allowed"].any(),
        found=_found(found),
        first=first,
        cost=_value(first["metric"], first["confirmation"] - first["selection"]),
        claims=contrasts.declared_table if contrasts else "",
    )


def _rounds(course: pd.DataFrame, metric: str) -> str:
    """A line for each round: what it trained, and the best of it."""
    lines = []
    for index, rows in course.groupby("round"):
        best = rows[rows["rank"] == 1].iloc[0]
        lines.append(
            {
                "round": str(index),
                "training tokens": f"{rows['tokens'].iloc[0]:,}",
                "seeds": str(rows["n_seeds"].iloc[0]),
                "candidates": str(len(rows)),
                "of them new": str(rows["is_new"].sum()),
                "beyond the limit": str((~rows["is_allowed"]).sum()),
                "best": f"proposal {best['proposal']}",
                f"its {metric}": _score(metric, best["value"], best["noise"]),
            }
        )
    return markdown.as_table(list(lines[0]), [list(line.values()) for line in lines])


def _found(found: pd.DataFrame) -> str:
    """The best of the search on what chose them, and on other seeds and text."""
    lines = []
    for row in found.to_dict("records"):
        line = {
            "spectrum": row["spectrum"],
            "proposal": str(row["proposal"]),
            "metric": row["metric"],
        }
        for phase in ("selection", "confirmation"):
            count = row[f"{phase}_n_seeds"]
            header = f"{phase}, {count} seed{'' if count == 1 else 's'}"
            line[header] = _score(row["metric"], row[phase], row[f"{phase}_se"])
        lines.append(line)
    return markdown.as_table(list(lines[0]), [list(line.values()) for line in lines])


def _score(metric: str, value: float, error: float) -> str:
    """A difference to the baseline with its standard error, such as `0.741 (-0.300 ± 0.021)`."""
    if metric != "degradation":
        return f"{100 * value:+.1f}" + ("" if pd.isna(error) else f" ± {100 * error:.1f}")
    spread = "" if pd.isna(error) else f" ± {error:.3f}"
    return f"{_value(metric, value)} ({value:+.3f}{spread})"


def _value(metric: str, value: float) -> str:
    """A difference as the page has it: a ratio of degradations, or points of accuracy."""
    return f"{exponential(value):.3f}" if metric == "degradation" else f"{100 * value:+.1f}"
