"""Pages in Markdown: templates, and the writing of names, numbers and tables.

A page is a Jinja template (templates/*.md.j2) that reads like the page. It says the sentences;
Python gives it values and tables. The functions below are its filters too.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import jinja2
import pandas as pd

from rope_spectra.config.appearance import Appearance
from rope_spectra.config.design import NATIVE, label
from rope_spectra.runtime.foreign import printable


def render(template: str, **values: Any) -> str:
    """The page that a template gives, with one blank line between blocks.

    A template may hence have blank lines wherever they help to read it.
    """
    page = _environment().get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", page).strip() + "\n"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rope_spectra.report"),
        undefined=jinja2.StrictUndefined,  # a misspelled name is an error, not a gap in the page
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # the pages are Markdown, not HTML
        finalize=_without_html,
    )
    environment.filters |= {"named": named, "number": number, "spaced": spaced}
    environment.filters |= {"g": "{:g}".format, "thousands": "{:,}".format}
    environment.globals |= {"mean_std": mean_std, "interval": interval}
    environment.tests["missing"] = pd.isna
    return environment


def _without_html(value: Any) -> Any:
    """A value of a page in which no HTML can begin: a description or file name is text."""
    if not isinstance(value, str):
        return value
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", printable(value))


def number(value: float) -> str:
    """Three digits; nothing for NaN."""
    return "" if pd.isna(value) else f"{value:.3g}"


def text(value: Any) -> str:
    """The value; nothing for NaN."""
    return "" if pd.isna(value) else str(value)


def as_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up as plain text too."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(_as_line(line, widths) for line in lines)


def _as_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    return f"| {' | '.join(padded)} |"


def relabeled(page: str, appearance: Appearance) -> str:
    """The page with the labels of spectra in place of their names, but in code, such as paths."""
    if not appearance.labels:
        return page
    names = "|".join(re.escape(name) for name in sorted(appearance.labels, key=len, reverse=True))
    word = re.compile(rf"(?<![\w./+-])(?:{names})(?![\w/-]|\.\w)")
    parts = page.split("`")
    for index in range(0, len(parts), 2):
        parts[index] = word.sub(lambda found: _cell(appearance.labels[found[0]]), parts[index])
    # Columns of tables that lined up do so again.
    return re.sub(r"(?:^\|.*\n)+", _lined_up, "`".join(parts), flags=re.MULTILINE)


def _cell(label: str) -> str:
    """A label as text of a page, in a table too."""
    return str(_without_html(label)).replace("|", "\\|").replace("`", "'")


def _lined_up(found: re.Match[str]) -> str:
    lines = [re.split(r" *(?<!\\)\| *", line)[1:-1] for line in found[0].splitlines()]
    return as_table(lines[0], lines[2:]) + "\n"


def named(row: Any) -> str:
    """The name of the arm of a row with the columns spectrum and remap."""
    return spaced(label((row.spectrum, row.remap)))


def spaced(name: str) -> str:
    """The name of an arm for reading: geo_500k + yarn, and geo_500k as it was trained."""
    return name.removesuffix(f"+{NATIVE}").replace("+", " + ")


def mean_std(mean: float, std: float) -> str:
    """4.321 ± 0.123; of one value without the spread."""
    return f"{mean:.3f}" if pd.isna(std) else f"{mean:.3f} ± {std:.3f}"


def interval(low: float, high: float, digits: int) -> str:
    """0.426 to 0.667; nothing for NaN."""
    return "" if pd.isna(low) else f"{low:.{digits}f} to {high:.{digits}f}"
