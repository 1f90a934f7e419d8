"""Repairs of the page of `snakemake --report`.

Of a table it offers a download alone; here it opens. It draws run times on a log axis, where a job
of 0 s, such as one whose result was found again, leaves the chart empty; here that is 0.01 s. And
it prints parameters in full; here they are cut short. Imports nothing heavy: the Snakefile does.
"""

import base64
import csv
import json
from collections.abc import Callable, Sequence
from functools import wraps
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any

from rope_spectra.artifacts import columns, files
from rope_spectra.config.appearance import Appearance

SHORTEST = 0.01  # seconds
LONGEST_PARAMS = 100  # characters
MOST_ROWS = 2000
_ARMS = ("spectrum", "baseline")

_PAGE = """<!doctype html>
<meta charset="utf-8">
<title>{name}</title>
<style>
  body {{ font: 13px sans-serif; margin: 1em; }}
  table {{ border-collapse: collapse; }}
  th, td {{ border-bottom: 1px solid #ddd; padding: 3px 8px; white-space: nowrap; }}
  th {{ text-align: left; }}
  th {{ background: #f3f3f3; position: sticky; top: 0; }}
  .number {{ text-align: right; font-variant-numeric: tabular-nums; }}
</style>
<p>{name}: {rows}. <a download="{name}" href="data:text/csv;base64,{content}">Download as CSV</a>,
with all digits. The pointer on a column shows its meaning.</p>
<table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table>
"""


def see(data: ModuleType) -> None:
    """Changes snakemake.report.html_reporter.data, which renders the parts of the page."""
    if hasattr(data.render_results, "__wrapped__"):
        return
    data.render_results = _with_tables(data.render_results)  # type: ignore[attr-defined]
    data.render_runtimes = _with_all(data.render_runtimes)  # type: ignore[attr-defined]


def _with_tables(render: Callable[..., str]) -> Callable[..., str]:
    @wraps(render)
    def render_results(results: Any, mode_embedded: bool) -> str:
        content = json.loads(render(results, mode_embedded))
        for path, entry in content.items():
            job = entry["job_properties"]
            if len(job["params"]) > LONGEST_PARAMS:
                job["params"] = job["params"][:LONGEST_PARAMS] + " …"
            # In a zip, files lie beside the page as they are.
            if mode_embedded and path.endswith(".csv"):
                page = base64.b64encode(as_page(Path(path)).encode()).decode()
                entry["mime_type"] = "text/html"
                entry["data_uri"] = f"data:text/html;charset=utf8;base64,{page}"
        return json.dumps(content)

    return render_results


def _with_all(render: Callable[..., str]) -> Callable[..., str]:
    @wraps(render)
    def render_runtimes(runtimes: Sequence[dict[str, Any]]) -> str:
        return render([each | {"runtime": max(each["runtime"], SHORTEST)} for each in runtimes])

    return render_runtimes


def as_page(path: Path) -> str:
    """A CSV file of ours as a page of its own: labels for names, numbers of four digits."""
    text = path.read_text(encoding="utf-8")
    header, *rows = csv.reader(text.splitlines())
    meanings = columns.meanings(path.name)
    shown = _appearance(path.with_name("appearance.json"))
    head = [f'<th title="{escape(meanings.get(name, ""))}">{escape(name)}</th>' for name in header]
    body = []
    for row in rows[:MOST_ROWS]:
        cells = [_cell(name, value, shown) for name, value in zip(header, row, strict=False)]
        body.append(f"<tr>{''.join(cells)}</tr>")
    first = f", the first {MOST_ROWS} of them here" if len(rows) > MOST_ROWS else ""
    return _PAGE.format(
        name=escape(path.name),
        rows=f"{len(rows)} rows{first}",
        content=base64.b64encode(text.encode()).decode(),
        head="".join(head),
        body="\n".join(body),
    )


def _cell(column: str, value: str, shown: Appearance) -> str:
    if column in _ARMS:
        return f"<td>{escape(shown.shown(value))}</td>"
    try:
        number = f"{float(value):.4g}" if "." in value or "e" in value else f"{int(value)}"
    except ValueError:
        return f"<td>{escape(value)}</td>"
    return f'<td class="number" title="{escape(value)}">{number}</td>'


def _appearance(path: Path) -> Appearance:
    """The labels of the spectra; none for the table of all experiments, and in older results."""
    if not path.is_file():
        return Appearance()
    content = files.read_json(path)
    return Appearance(labels=content.get("labels", {}))
