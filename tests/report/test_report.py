"""The page of `snakemake --report`, opened in a real headless Chromium.

It is complete, captioned, offline and without errors. Slow, and skipped where chromium or its
chromedriver (Debian: chromium, chromium-driver) is not installed.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from rope_spectra.artifacts import layout
from support.browser import Browser, started
from support.checkout import snakemake

pytestmark = pytest.mark.slow

FIGURES = layout.figure_files("quick")
PAGE = layout.INTERACTIVE.format(experiment="quick")
RESULTS = [*layout.experiment_files("quick"), layout.SUMMARY, layout.SUMMARY_MD]
# Menu and rule graph are drawn.
READY = "document.querySelector('nav h1') && document.querySelector('#app canvas')"


class Report(Browser):
    """A browser that finds its way in the page of a report."""

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


@pytest.fixture(scope="module")
def page(finished: Path) -> Path:
    snakemake(finished, "--report", "report.html", "--configfile", "quick.yaml")
    return finished / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Report]:
    with started(tmp_path_factory.mktemp("profile"), Report) as browser:
        yield browser


@pytest.fixture
def opened(browser: Report, page: Path) -> Report:
    browser.open(page, READY)
    return browser


def test_the_page_is_made_without_a_browser(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "Which rotary spectrum degrades least" in text
    assert "learning_rate: 0.003" in text


def test_every_result_is_listed_with_its_experiment(opened: Report) -> None:
    listed = opened.value(
        "Object.fromEntries("
        "Object.entries(categories).map(([k, v]) => [k, Object.values(v).flat()]))"
    )
    assert {name: sorted(paths) for name, paths in listed.items()} == {
        "All experiments": sorted([layout.SUMMARY, layout.SUMMARY_MD]),
        "quick": sorted(layout.experiment_files("quick")),
    }


def test_every_figure_opens(opened: Report) -> None:
    opened.menu("quick", "Figures")
    for path in FIGURES:
        opened.row_button(path, icon=0)
        source = f"results[{json.dumps(path)}].data_uri"
        shown = f"document.querySelector('#app img[src=\"' + {source} + '\"]')"
        opened.wait(f"{shown}?.naturalWidth > 300")


def test_the_interactive_page_opens_in_the_report(opened: Report) -> None:
    opened.menu("quick", "Figures")
    opened.row_button(PAGE, icon=0)
    opened.wait("document.querySelector('#app iframe')")
    opened.call("/frame", {"id": 0})
    opened.wait("document.querySelectorAll('#by-length .mark-line path').length === 2")


def test_a_table_opens_in_the_report(opened: Report) -> None:
    opened.menu("quick", "Tables")
    opened.row_button(layout.RUNS.format(experiment="quick"), icon=0)
    opened.wait("document.querySelector('#app iframe')")
    opened.call("/frame", {"id": 0})
    opened.wait("document.querySelectorAll('tbody tr').length === 16")
    assert opened.value("document.querySelector('th').title")


@pytest.mark.parametrize("path", RESULTS)
def test_every_result_has_a_caption(opened: Report, path: str) -> None:
    opened.menu(*(("quick",) if "quick" in path else ("All experiments",)))
    if "quick" in path:
        opened.menu("Figures" if path in [*FIGURES, PAGE] else "Tables")
    opened.row_button(path, icon=1)
    opened.wait("document.querySelector('nav .prose')")
    caption = opened.value("document.querySelector('nav .prose').innerText")
    assert len(caption) > 80
    assert "{" not in caption
    assert not opened.value("document.querySelector('nav .system-message')")


def test_the_start_page_asks_and_answers(opened: Report, page: Path) -> None:
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


def test_no_script_of_a_description_page_or_figure_runs(browser: Report, evil_page: Path) -> None:
    browser.open(evil_page, READY)
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


def test_the_start_page_holds_the_configuration(opened: Report) -> None:
    text = opened.value("document.querySelector('#app .prose details').textContent")
    settings = yaml.safe_load(text.partition("\n")[2])
    assert settings["training"]["quick"]["learning_rate"] == 0.003
    assert settings["training"]["quick"]["weight_decay"] == 0.1, "defaults are included"
    assert settings["spectra"]["geo_500k"] == {"family": "geometric", "theta": 500000.0}


def test_runtimes_are_drawn(opened: Report) -> None:
    opened.menu("Statistics")
    opened.wait("document.querySelectorAll('#runtimes canvas, #timeline canvas').length === 2")
    assert opened.value("runtimes_spec.data.values.filter(job => job.rule === 'train').length") == 4


def test_the_page_needs_no_network_and_logs_no_error(opened: Report, page: Path) -> None:
    """Over the whole session: the tests before this one have left requests and messages, too."""
    opened.menu("Statistics", "quick", "Figures")
    opened.row_button(FIGURES[0], icon=0)
    urls = opened.requested()
    assert page.as_uri() in urls
    assert {urlsplit(url).scheme for url in urls} <= {"file", "data", "blob", "chrome"}
    assert opened.errors() == []
