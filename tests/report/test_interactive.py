"""The interactive page: its content, that it needs nothing else, and that it works in a browser."""

import base64
import gzip
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest

from rope_spectra.analysis.frontier import Measured, frontier_table
from rope_spectra.analysis.summary_table import COLUMNS as SUMMARY_COLUMNS
from rope_spectra.analysis.summary_table import summarize_phase
from rope_spectra.config.appearance import Appearance
from rope_spectra.config.design import ALL, Design
from rope_spectra.report import interactive, style
from support.browser import Browser, started
from support.designs import make_design

SPECTRA = ["geo", "mix", "poly"]
SEEDS = list(range(1, 9))
EVIL = "</script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'> {{ 7 }}"
pytestmark = pytest.mark.filterwarnings("ignore:invalid value")  # of the run that diverged

READY = "document.body.dataset.ready"


def make_runs(design: Design) -> pd.DataFrame:
    """Runs by both protocols; one of poly at 128 has diverged."""
    random = np.random.default_rng(1)
    rows = []
    for place, spectrum in enumerate(SPECTRA):
        for seed in design.seeds:
            for protocol in design.protocols:
                for length in design.lengths:
                    nll = 1 + length / 64 * (1 - place / 9) + random.normal(0, 0.05)
                    is_degraded = protocol == "full" and length > design.train_length
                    row = {"spectrum": spectrum, "seed": seed, "protocol": protocol, "nll": nll}
                    row |= {"length": length, "degradation": nll - 2 if is_degraded else np.nan}
                    rows.append(row)
    runs = pd.DataFrame(rows).assign(experiment="demo", remap="none", tokens=100, chunks=2)
    runs = runs.assign(ppl=np.exp(runs["nll"]), degradation_beyond=np.nan, phase=ALL)
    is_poly = (runs["spectrum"] == "poly") & (runs["seed"] == 1) & (runs["length"] == 128)
    runs.loc[is_poly, ["ppl", "nll", "degradation"]] = np.inf
    return runs


DESIGN = make_design(
    *SPECTRA,
    seeds=SEEDS,
    primary={"length": 128, "metric": "ppl"},
    retrieval={"trials": 20, "distractors": 9},
    retrieval_endpoint={"length": 64},
)


@cache
def make_tables() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """runs.csv, summary.csv and frontier.csv."""
    runs = make_runs(DESIGN)
    random = np.random.default_rng(2)
    measured = {}
    for place, name in enumerate(SPECTRA):
        log_ppl = 3 + place + random.normal(0, 0.02, (len(SEEDS), 12))
        right = 0.4 + 0.02 * place + random.normal(0, 0.03, (len(SEEDS), 12))
        measured[name, "none"] = Measured(DESIGN.seeds, log_ppl, None, right, 0.1)
    return runs, summarize_phase(DESIGN, runs, None, ALL), frontier_table(DESIGN, measured)


def make_page(description: str = "Which is better?") -> str:
    design = DESIGN.model_copy(update={"description": description})
    shown = Appearance(labels={"geo": "Geometric"}, places={"geo": 0, "mix": 5})
    with style.applied(shown):
        return interactive.page(design, *make_tables())


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("interactive") / "interactive.html"
    path.write_text(make_page())
    return path


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    return json.loads(found[1])


def rows_of(packed: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(packed["rows"], columns=packed["columns"])


def test_the_charts_show_the_numbers_of_the_tables(page: Path) -> None:
    data = data_of(page.read_text())
    runs, _, _ = make_tables()
    points, seeds = rows_of(data["points"]), rows_of(data["seeds"])
    at = {"measure": "ppl", "protocol": "full", "length": 128, "arm": "mix"}
    point = points.set_index(list(at)).loc[tuple(at.values())]
    ours = runs[
        (runs["spectrum"] == "mix") & (runs["protocol"] == "full") & (runs["length"] == 128)
    ]
    assert point["value"] == pytest.approx(ours["ppl"].mean(), rel=1e-5)
    assert point["low"] < point["value"] < point["high"]
    at |= {"measure": "ppl_ratio"}
    ratio = points.set_index(list(at)).loc[tuple(at.values())]
    of_seeds = seeds.set_index(list(at)).sort_index().loc[tuple(at.values())]
    assert np.exp(np.log(of_seeds["value"]).mean()) == pytest.approx(ratio["value"], rel=1e-5)
    assert (ratio["verdict"], ratio["wins"], ratio["seeds"]) == ("better", "8/8", 8)


def test_what_has_diverged_is_in_the_table_and_in_no_chart(page: Path) -> None:
    data = data_of(page.read_text())
    points = rows_of(data["points"])
    poly = points[(points["arm"] == "poly") & (points["measure"] == "ppl")]
    assert set(poly["length"]) == {64}
    summary = data["tables"]["summary.csv"]
    assert re.search(r"^demo,poly,none,full,128,8,inf,", summary, re.MULTILINE)


def test_every_column_of_the_summary_is_there_with_its_meaning(page: Path) -> None:
    text = page.read_text()
    data = data_of(text)
    for name, table in data["tables"].items():
        columns = table.partition("\n")[0].split(",")
        assert set(columns) <= data["meanings"][name].keys()
        assert all(f"<code>{column}</code>" in text for column in columns)


def test_arms_look_as_in_the_figures(page: Path) -> None:
    arms = {arm["name"]: arm for arm in data_of(page.read_text())["arms"]}
    assert list(arms) == SPECTRA
    assert arms["geo"]["label"] == "Geometric"
    assert arms["mix"]["color"] == style.COLORS[5]
    assert len({(arm["color"], arm["shape"]) for arm in arms.values()}) == 3
    assert set(style.MARKERS) <= set(interactive.SHAPES)


def test_the_page_is_one_file_that_loads_nothing(page: Path) -> None:
    text = page.read_text()
    assert not re.search(r"<link|\bsrc=|@import|url\(|\bfetch\(|XMLHttpRequest|<iframe", text)
    assert "default-src 'none'" in text
    packed = re.findall(r'<script type="application/gzip">(.*?)</script>', text)
    scripts = [gzip.decompress(base64.b64decode(each)).decode() for each in packed]
    assert text.count("Redistributions in binary form must reproduce") == 3  # of Vega's licenses
    assert ["global.vega = {}" in scripts[0], "vegaEmbed" in scripts[2]] == [True, True]
    assert len(text) < 1_000_000
    assert make_page() == text, "equal tables give equal bytes"


def test_nothing_of_a_description_becomes_html() -> None:
    text = make_page(EVIL)
    assert "<img" not in text
    assert "&lt;/script&gt;" in text


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def opened(browser: Browser, page: Path) -> Browser:
    browser.open(page, READY)
    return browser


def choose(browser: Browser, name: str, value: str) -> None:
    """Choose in a list, or tick or clear a box, and wait for the charts."""
    control = f"document.querySelector('[name={name}]')"
    field = "checked" if value in ("true", "false") else "value"
    wanted = value if field == "checked" else json.dumps(value)
    redraw(browser, f"{control}.{field} = {wanted}; {control}.dispatchEvent(new Event('change'))")


def redraw(browser: Browser, action: str) -> None:
    """Do something, and wait until all charts are drawn anew."""
    browser.value("delete document.body.dataset.ready")
    browser.value(f"(() => {{ {action} }})()")
    browser.wait(READY)


def marks(browser: Browser, chart: str, kind: str) -> int:
    """Number of marks of one kind in a chart."""
    return browser.value(f"document.querySelectorAll('#{chart} .mark-{kind} path').length")


@pytest.mark.slow
def test_arms_seeds_and_scales_can_be_chosen(opened: Browser) -> None:
    assert marks(opened, "by-length", "line") == 3
    assert marks(opened, "by-length", "symbol") == 5
    choose(opened, "seeds", "true")
    assert marks(opened, "by-length", "symbol") == 5 + 47
    assert marks(opened, "at-length", "symbol") == 2 + 23
    redraw(opened, "document.querySelector('.choices input[value=mix]').click()")
    assert marks(opened, "by-length", "line") == 2
    assert marks(opened, "frontier", "symbol") == 2
    assert "mix" not in opened.value("document.querySelector('#table').innerText")
    ticks = "document.querySelectorAll('#by-length .role-axis-label')[1].textContent"
    logarithmic = opened.value(ticks)
    choose(opened, "scale", "linear")
    assert opened.value(ticks) != logarithmic
    choose(opened, "length", "64")
    assert opened.value("document.querySelector('#at-length').innerText").count("poly") == 1


@pytest.mark.slow
def test_a_pointer_over_a_point_names_it(opened: Browser) -> None:
    box = opened.value(
        "(() => { const b = document.querySelectorAll('#by-length .mark-symbol path')[1]"
        ".getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2] })()"
    )
    move = {"type": "pointerMove", "duration": 50, "x": round(box[0]), "y": round(box[1])}
    pointer = {"type": "pointer", "id": "mouse", "actions": [move]}
    opened.call("/actions", {"actions": [pointer]})
    opened.wait("document.querySelector('#vg-tooltip-element.visible')")
    tip = opened.value("document.querySelector('#vg-tooltip-element').innerText")
    assert re.search(r"spectrum:?\s+(geo|mix|poly)", tip)
    assert re.search(r"95 % interval:?\s+[\d.]+ to [\d.]+", tip)


@pytest.mark.slow
def test_the_table_sorts_and_says_what_a_column_means(opened: Browser) -> None:
    header = "[...document.querySelectorAll('thead button')].find(b => /^rank/.test(b.innerText))"
    spectra = "[...document.querySelectorAll('tbody th')].map(cell => cell.innerText)"
    opened.value(f"{header}.click()")
    assert opened.value(spectra)[0] == "mix"
    opened.value(f"{header}.click()")
    assert opened.value(spectra)[-1] == "mix"
    assert opened.value("document.querySelector('#meaning').innerText").startswith("rank: rank by")
    choose(opened, "columns", "all")
    choose(opened, "rows", "all")
    columns = len(SUMMARY_COLUMNS) + len(["dataset", "model", "training"])
    assert opened.value("document.querySelectorAll('thead th').length") == columns
    assert opened.value("document.querySelectorAll('tbody tr').length") == 12
    choose(opened, "table", "frontier.csv")
    assert opened.value(spectra) == SPECTRA


@pytest.mark.slow
def test_a_phone_needs_no_sideways_scrolling(opened: Browser) -> None:
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    opened.call("/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": phone})
    try:
        redraw(opened, "draw()")
        width = "Math.max(...[...document.querySelectorAll('body *:not(#table *)')]"
        width += ".map(each => each.getBoundingClientRect().right))"
        assert opened.value("[innerWidth, document.documentElement.scrollWidth]") == [390, 390]
        assert opened.value(width) <= 390
    finally:
        clear = {"cmd": "Emulation.clearDeviceMetricsOverride", "params": {}}
        opened.call("/goog/cdp/execute", clear)


@pytest.mark.slow
def test_no_request_no_error_and_no_script_of_others(browser: Browser, tmp_path: Path) -> None:
    browser.requested()
    evil = tmp_path / "evil.html"
    evil.write_text(make_page(EVIL))
    browser.open(evil, READY)
    assert browser.value("typeof window.pwned") == "undefined"
    assert "{{ 7 }}" in browser.value("document.body.innerText")
    assert {urlsplit(url).scheme for url in browser.requested()} <= {"file", "data", "blob"}
    assert browser.errors() == []
