"""The page of `snakemake --report`, opened in a real headless Chromium.

It is complete, captioned, offline and without errors. Slow, and skipped where chromium or its
chromedriver (Debian: chromium, chromium-driver) is not installed.
"""

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rope_spectra.artifacts import layout
from support.checkout import snakemake

pytestmark = pytest.mark.slow

FIGURES = layout.figure_files("quick")
RESULTS = [*layout.experiment_files("quick"), layout.SUMMARY, layout.SUMMARY_MD]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1440,900",
]


class Browser:
    """As much of the WebDriver protocol as the tests need; `url` is where chromedriver listens."""

    def __init__(self, url: str, chromium: str, profile: Path) -> None:
        self.url = f"{url}/session"
        options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        logs = {"browser": "ALL", "performance": "ALL"}
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": logs,
            "timeouts": {"script": 20_000},
        }
        self.url += "/" + self.call("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def call(self, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{body}: {json.load(error)['value']['message']}") from None

    def open(self, page: Path) -> None:
        """Load the page afresh, until menu and rule graph are drawn."""
        self.call("/url", {"url": page.as_uri()})
        self.wait("document.querySelector('nav h1') && document.querySelector('#app canvas')")

    def value(self, expression: str) -> Any:
        return self.call("/execute/sync", {"script": f"return {expression}", "args": []})

    def wait(self, condition: str) -> None:
        """Until the condition holds; the driver fails it after the script timeout."""
        script = (
            "const done = arguments[0];"
            f"(function look() {{ ({condition}) ? done() : setTimeout(look, 20) }})()"
        )
        self.call("/execute/async", {"script": script, "args": []})

    def click(self, element: str) -> None:
        """Click the element of a JavaScript expression as soon as it is there."""
        self.wait(element)
        self.value(f"{element}.click()")

    def menu(self, *texts: str) -> None:
        """Click through the menu on the left."""
        for text in texts:
            named = f"a => a.innerText.trim() === {json.dumps(text)}"
            self.click(f"[...document.querySelectorAll('nav a')].find({named})")

    def row_button(self, path: str, icon: int) -> None:
        """Click the eye (0) or the circled i (1) of a result in the list on the left."""
        labels = f"Object.values(results[{json.dumps(path)}].labels)"
        row = (
            "[...document.querySelectorAll('nav tbody tr')]"
            f".find(tr => {labels}.includes(tr.cells[0].innerText))"
        )
        self.click(f"{row}?.querySelectorAll('a')[{icon}]")

    def log(self, kind: str) -> list[dict[str, Any]]:
        return self.call("/se/log", {"type": kind})


@pytest.fixture(scope="module")
def page(finished: Path) -> Path:
    snakemake(finished, "--report", "report.html", "--configfile", "quick.yaml")
    return finished / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip(
            "chromium and chromedriver (Debian: chromium, chromium-driver) are not installed"
        )
    with subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            ports = (re.search(r"successfully on port (\d+)", line) for line in process.stdout)
            port = next(port[1] for port in ports if port)
            browser = Browser(
                f"http://127.0.0.1:{port}", chromium, tmp_path_factory.mktemp("profile")
            )
            yield browser
            browser.call("", method="DELETE")
        finally:
            process.terminate()


@pytest.fixture
def opened(browser: Browser, page: Path) -> Browser:
    browser.open(page)
    return browser


def test_the_page_is_made_without_a_browser(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "Which rotary spectrum degrades least" in text
    assert "learning_rate: 0.003" in text


def test_every_result_is_listed_with_its_experiment(opened: Browser) -> None:
    listed = opened.value(
        "Object.fromEntries("
        "Object.entries(categories).map(([k, v]) => [k, Object.values(v).flat()]))"
    )
    assert {name: sorted(paths) for name, paths in listed.items()} == {
        "All experiments": sorted([layout.SUMMARY, layout.SUMMARY_MD]),
        "quick": sorted(layout.experiment_files("quick")),
    }


def test_every_figure_opens(opened: Browser) -> None:
    opened.menu("quick", "Figures")
    for path in FIGURES:
        opened.row_button(path, icon=0)
        source = f"results[{json.dumps(path)}].data_uri"
        shown = f"document.querySelector('#app img[src=\"' + {source} + '\"]')"
        opened.wait(f"{shown}?.naturalWidth > 300")


@pytest.mark.parametrize("path", RESULTS)
def test_every_result_has_a_caption(opened: Browser, path: str) -> None:
    opened.menu(*(("quick",) if "quick" in path else ("All experiments",)))
    if "quick" in path:
        opened.menu("Figures" if path in FIGURES else "Tables")
    opened.row_button(path, icon=1)
    opened.wait("document.querySelector('nav .prose')")
    caption = opened.value("document.querySelector('nav .prose').innerText")
    assert len(caption) > 80
    assert "{" not in caption
    assert not opened.value("document.querySelector('nav .system-message')")


def test_the_start_page_asks_and_answers(opened: Browser, page: Path) -> None:
    text = opened.value("document.querySelector('#app .prose').innerText")
    summary = (page.parent / layout.EXPERIMENT_SUMMARY_MD.format(experiment="quick")).read_text(
        encoding="utf-8"
    )
    cells = [
        cell.strip()
        for line in summary.splitlines()
        if line.startswith("|")
        for cell in line.split("|")[1:-1]
    ]
    shown = opened.value(
        "[...document.querySelectorAll('#app .prose td, #app .prose th')]"
        ".map(cell => cell.textContent)"
    )
    assert "Which rotary spectrum degrades least" in text
    assert shown == [cell for cell in cells if set(cell) != {"-"}]
    assert "What this cannot show" in text
    assert (
        opened.value("document.querySelector('#app .prose img').getBoundingClientRect().width")
        > 300
    )
    assert not opened.value("document.querySelector('#app .system-message')")


EVIL = (
    "</script><script>window.pwned = 1</script> <img src=x onerror='window.pwned = 1'> {{ 7 * 7 }}"
    " `</code><svg onload='window.pwned = 1'>` <!-- ]]>"
)


@pytest.fixture(scope="module")
def evil_page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report page over a summary and a figure that somebody else has written."""
    project = tmp_path_factory.mktemp("evil") / "project"
    shutil.copytree(finished, project, symlinks=True)
    summary = project / layout.EXPERIMENT_SUMMARY_MD.format(experiment="quick")
    blocks = [EVIL, f"# {EVIL}", f"| a |\n| - |\n| {EVIL} |", f"- {EVIL}"]
    blocks += [f".. raw:: html\n\n   {EVIL}"]
    summary.write_text(summary.read_text() + "\n\n" + "\n\n".join(blocks) + "\n")
    for figure in FIGURES:
        text = (project / figure).read_text()
        script = "<script>window.pwned = 1; parent.pwned = 1</script></svg>"
        (project / figure).write_text(text.replace("</svg>", script))
    description = json.dumps({"experiments": {"quick": {"description": EVIL}}})
    (project / "evil.yaml").write_text(description)
    snakemake(project, "--report", "report.html", "--configfile", "quick.yaml", "evil.yaml")
    return project / "report.html"


def test_no_script_of_a_description_page_or_figure_runs(browser: Browser, evil_page: Path) -> None:
    browser.open(evil_page)
    browser.wait("document.querySelector('#app .prose img')?.naturalWidth > 300")
    assert (
        browser.value("document.querySelector('#app .prose').innerText").count("{{ 7 * 7 }}") >= 5
    )
    browser.menu("quick", "Figures")
    browser.row_button(FIGURES[0], icon=0)
    source = f"results[{json.dumps(FIGURES[0])}].data_uri"
    browser.wait(
        f"document.querySelector('#app img[src=\"' + {source} + '\"]')?.naturalWidth > 300"
    )
    assert browser.value("typeof window.pwned") == "undefined"


def test_the_start_page_holds_the_configuration(opened: Browser) -> None:
    settings = opened.value("document.querySelector('#app .prose details').textContent")
    assert "learning_rate: 0.003" in settings
    assert "weight_decay: 0.1" in settings, "defaults are included"
    assert 'geo_500k: {"family": "geometric", "theta": 500000.0}' in settings


def test_runtimes_are_drawn(opened: Browser) -> None:
    opened.menu("Statistics")
    opened.wait("document.querySelectorAll('#runtimes canvas, #timeline canvas').length === 2")
    assert opened.value("runtimes_spec.data.values.filter(job => job.rule === 'train').length") == 4


def test_the_page_needs_no_network_and_logs_no_error(opened: Browser, page: Path) -> None:
    """Over the whole session: the tests before this one have left requests and messages, too."""
    opened.menu("Statistics", "quick", "Figures")
    opened.row_button(FIGURES[0], icon=0)
    events = [json.loads(entry["message"])["message"] for entry in opened.log("performance")]
    urls = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert page.as_uri() in urls
    assert {urlsplit(url).scheme for url in urls} <= {"file", "data", "blob", "chrome"}
    assert not [entry["message"] for entry in opened.log("browser") if entry["level"] == "SEVERE"]
