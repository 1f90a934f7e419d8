"""The section of summary.md on the tasks of the retrieval probe, from retrieval.csv."""

import pandas as pd

from rope_spectra.analysis.retrieval_tasks import ALL
from rope_spectra.config.design import Design
from rope_spectra.report import markdown
from rope_spectra.report.markdown import named, spaced


def values(design: Design, table: pd.DataFrame) -> dict[str, object]:
    """The values of retrieval_tasks.md.j2: what a trial is, and three tables of the spectra."""
    lengths = sorted(table["length"].unique())
    tasks = [task for task in table["task"].unique() if task != ALL]
    single = table[table["task"] != ALL]
    trained = single.groupby("task", sort=False)["trained_share"].max()
    return {
        "chance": table["chance"].iloc[0],
        "seeds": table["n_seeds"].max(),
        "trials": single["trials"].iloc[0],
        "lengths": lengths,
        "tasks": tasks,
        "untrained": [task for task in tasks if trained[task] == 0],
        "by_length": _by_length(table[table["task"] == ALL], lengths, design.train_length),
        "differences": _differences(table[table["task"] == ALL], lengths),
        "by_task": _by_task(single, tasks, lengths, design.train_length),
    }


def _by_length(rows: pd.DataFrame, lengths: list[int], train_length: int) -> str:
    """A row for each arm, one for it truncated, and the control; a column for each length."""
    lines = []
    for _, arm in rows.groupby(["spectrum", "remap"], sort=False):
        at = {row.length: row for row in arm.itertuples()}
        name = named(arm.iloc[0])
        lines.append([name, *(_percent(at[length], "accuracy") for length in lengths)])
        if arm["truncated_accuracy"].notna().any():
            cells = [_percent(at[length], "truncated_accuracy") for length in lengths]
            lines.append([f"{name}, last {train_length} tokens alone", *cells])
    control = rows.groupby("length")["control_accuracy"].mean()
    lines.append(["without statements", *(f"{100 * control[length]:.0f}" for length in lengths)])
    return markdown.as_table(["spectrum", *map(str, lengths)], lines)


def _percent(row: object, column: str) -> str:
    """Percent right with its interval, such as `90 (77 to 96)`; nothing where not measured."""
    mean = getattr(row, f"{column}_mean" if column == "accuracy" else column)
    if pd.isna(mean):
        return ""
    low, high = (getattr(row, f"{column}_crossed95_{side}") for side in ("low", "high"))
    within = markdown.interval(max(100 * low, 0), min(100 * high, 100), digits=0)
    return f"{100 * mean:.0f} ({within})" if within else f"{100 * mean:.0f}"


def _differences(rows: pd.DataFrame, lengths: list[int]) -> str:
    """A row for each arm that is compared; empty where nothing is."""
    if "delta_accuracy" not in rows:
        return ""
    lines = []
    for _, arm in rows.dropna(subset="delta_accuracy").groupby(["spectrum", "remap"], sort=False):
        at = {row.length: row for row in arm.itertuples()}
        cells = [_points(at[length]) if length in at else "" for length in lengths]
        lines.append([named(arm.iloc[0]), spaced(arm["baseline"].iloc[0]), *cells])
    return markdown.as_table(["spectrum", "against", *map(str, lengths)], lines) if lines else ""


def _points(row: object) -> str:
    """A difference in points with its interval, such as `-39 (-57 to -21)`."""
    delta, low, high = (
        100 * getattr(row, f"delta_accuracy{suffix}")
        for suffix in ("", "_crossed95_low", "_crossed95_high")
    )
    # As whole numbers, which have no -0.
    within = "" if pd.isna(low) else f" ({round(low):+d} to {round(high):+d})"
    return f"{round(delta):+d}{within}"


def _by_task(rows: pd.DataFrame, tasks: list[str], lengths: list[int], train_length: int) -> str:
    """A row for each arm, one for it truncated, and the control; in a cell all lengths."""
    lines = []
    for _, arm in rows.groupby(["spectrum", "remap"], sort=False):
        name = named(arm.iloc[0])
        lines.append([name, *_series(arm, tasks, lengths, "accuracy_mean")])
        if arm["truncated_accuracy"].notna().any():
            cells = _series(arm, tasks, lengths, "truncated_accuracy")
            lines.append([f"{name}, last {train_length} tokens alone", *cells])
    control = rows.groupby(["task", "length"], as_index=False)["control_accuracy"].mean()
    lines.append(["without statements", *_series(control, tasks, lengths, "control_accuracy")])
    return markdown.as_table(["spectrum", *tasks], lines)


def _series(rows: pd.DataFrame, tasks: list[str], lengths: list[int], column: str) -> list[str]:
    """For each task percent right at all lengths, such as `98, 60, 20, 12`."""
    at = rows.set_index(["task", "length"])[column]
    cells = []
    for task in tasks:
        shares = [at[task, length] for length in lengths]
        cells.append(", ".join("–" if pd.isna(each) else f"{100 * each:.0f}" for each in shares))
    return cells
