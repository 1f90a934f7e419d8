"""The documentation is true: commands work, links lead somewhere, tables match the code."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from argparse import Namespace
from collections import Counter
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import yaml

from rope_spectra import config_reference
from rope_spectra.analysis import (
    frontier,
    hypotheses,
    published,
    rates,
    retrieval_table,
    retrieval_tasks,
    summary_table,
    theory,
    usage_table,
)
from rope_spectra.analysis.retrieval_tasks import Asked, TaskKey
from rope_spectra.analysis.runs import RUN_COLUMNS
from rope_spectra.config.schema import json_schema
from rope_spectra.config.sections import Config
from rope_spectra.rope import remaps
from rope_spectra.rope.diagnostics import diagnose
from rope_spectra.rope.families import families
from rope_spectra.search.course import Round, course_table, found_table
from rope_spectra.search.objective import Score
from rope_spectra.search.space import Space
from support.checkout import ROOT, SNAKEMAKE
from support.used import made_up_usage

PAGES = [*sorted(ROOT.glob("README*.md")), ROOT / "CONTRIBUTING.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"))
CHINESE = [page for page in PAGES if page.name.endswith(".zh-CN.md")]
# Steps that read little and write nothing are run; of the others only the options are checked.
HARMLESS = ("spectra", "cost", "config_reference")
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"(^|\s+)#.*", re.MULTILINE)
_COMMAND = re.compile(
    r"(\w+=\S+ )?(snakemake|make|python|pip|rope-spectra|tensorboard|srun|scripts/\S+) "
)
# Longer lines of code scroll sideways on GitHub.
_LONGEST_CODE_LINE = 90


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in _FENCED.findall(page.read_text()) if kind == language]


def shell_commands(page: Path) -> list[str]:
    """The lines of the shell blocks of a page, without comments; a continued line is one."""
    text = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    lines = [" ".join(line.split()) for line in without_comments(text).splitlines()]
    return [line for line in lines if line]


def without_comments(code: str) -> str:
    return _COMMENT.sub("", code)


def prose(page: Path) -> str:
    return _FENCED.sub("", page.read_text())


def spans(text: str) -> list[str]:
    """The words in single backticks, each on one line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def commands(page: Path) -> list[str]:
    """All commands of a page, those inside its sentences too."""
    return shell_commands(page) + [span for span in spans(prose(page)) if _COMMAND.match(span)]


COMMANDS = sorted({command for page in PAGES for command in commands(page)})


def run(command: list[str], folder: Path, package: Path = ROOT / "workflow") -> str:
    environment = os.environ | {"PYTHONPATH": str(package)}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    return done.stdout


def options(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("-")}


@cache
def known_options(*command: str) -> set[str]:
    return set(re.findall(r"(?<!\w)--?[a-z][\w-]*", run([*command, "--help"], ROOT)))


def parsed_by_snakemake(words: list[str]) -> Namespace:
    """A command as Snakemake itself reads it.

    The plugins that another profile asks for need not be installed here.
    """
    from snakemake.cli import parse_args

    words = words[: words.index("|")] if "|" in words else words
    if "--workflow-profile" in words:
        place = words.index("--workflow-profile")
        assert (ROOT / words[place + 1] / "profile.yaml").is_file()
        words = words[:place] + words[place + 2 :]
    return parse_args(words)[1]


def check_python(words: list[str], fresh: Path) -> None:
    """A step is run where that is harmless; otherwise its options must be those it has."""
    if words[0] != "-m":
        text = (ROOT / words[0]).read_text()
        assert f"python {words[0]}" in text
        text += (ROOT / "benchmarks/common.py").read_text()  # the options that several share
        assert all(f'"{option}"' in text for option in options(words))
    elif words[1].removeprefix("rope_spectra.") in HARMLESS:
        if "mine.yaml" in words:
            put_example(fresh)
        run([sys.executable, *(words[: words.index(">")] if ">" in words else words)], fresh)
    else:
        assert options(words[2:]) <= known_options(sys.executable, *words[:2])


def put_example(fresh: Path) -> None:
    """The example of a configuration of one's own as mine.yaml, with the books that it names."""
    (example,) = blocks(ROOT / "README.md", "yaml")
    (fresh / "mine.yaml").write_text(example)
    for split in ("train", "validation"):
        (fresh / "books" / split).mkdir(parents=True, exist_ok=True)
        text = f"Once upon a {split} there were books to read.\n"
        (fresh / "books" / split / "one.txt").write_text(text * 30_000)


def check(command: str, fresh: Path) -> None:
    """Checks a command; a kind that is not known here fails, so that none goes unchecked."""
    first, *words = [word for word in shlex.split(command) if not re.match(r"[A-Z_]+=", word)]
    if first == "snakemake":
        parsed_by_snakemake(words)
    elif first == "python":
        check_python(words, fresh)
    elif first == "srun":
        check_python(words[words.index("python") + 1 :], fresh)
    elif (first, words) == ("rope-spectra", ["--help"]):
        run([sys.executable, "-m", "rope_spectra", "--help"], fresh)
    elif first == "rope-spectra":
        assert (
            '\nrope-spectra = "rope_spectra.__main__:main"\n'
            in (ROOT / "pyproject.toml").read_text()
        )
        check_python(["-m", f"rope_spectra.{words[0]}", *words[1:]], fresh)
    elif first == "make":
        run(["make", "-n", *words], ROOT)
    elif first.startswith("scripts/"):
        assert options(words) <= known_options(str(ROOT / first))
    elif first == "tensorboard":
        assert words[0] == "--logdir"
        assert f'"{words[1]}/' in (ROOT / "workflow/rope_spectra/artifacts/layout.py").read_text()
    elif (first, words[0]) == ("git", "clone"):
        assert f"cd {words[2]}" in COMMANDS
    elif first == "cd":
        assert words == ["rope-spectra"]
    elif command == "source .venv/bin/activate":
        assert "$(PYTHON) -m venv .venv" in (ROOT / "Makefile").read_text()
    elif (first, words[0]) == ("pip", "install"):
        assert all((ROOT / word).is_file() for word in words[1:] if not word.startswith("-"))
    else:
        raise AssertionError(f"no check for a command of this kind: {command}")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_documentation_is_one_that_works(
    command: str, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # where Snakemake looks for its profile
    check(command, fresh)


def test_snakemake_has_a_plan_for_every_target_of_the_documentation(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    targets, experiments = {"all"}, set()
    for command in COMMANDS:
        if command.split()[0] == "snakemake":
            arguments = parsed_by_snakemake(shlex.split(command)[1:])
            targets |= set(arguments.targets)
            experiments |= {
                name
                for entry in arguments.config or ()
                for name in entry.removeprefix("run=").split(",")
            }
    run(
        [
            SNAKEMAKE,
            "-n",
            "--quiet",
            "--config",
            f"run={','.join(sorted(experiments))}",
            "--",
            *sorted(targets),
        ],
        fresh,
    )


def test_the_example_of_a_configuration_of_ones_own_is_valid(fresh: Path) -> None:
    put_example(fresh)
    assert "results/mine/my_own/seed3/eval.csv" in run(
        [SNAKEMAKE, "-n", "--configfile", "mine.yaml"], fresh
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_of_code_are_short_enough_to_be_read(page: Path) -> None:
    lines = [line for _, text in _FENCED.findall(page.read_text()) for line in text.splitlines()]
    assert [line for line in lines if len(line) > _LONGEST_CODE_LINE] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", prose(page))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize(
    ("page", "option"), [("configuration.md", []), ("configuration.zh-CN.md", ["--chinese"])]
)
def test_the_configuration_reference_is_up_to_date(page: str, option: list[str]) -> None:
    command = [sys.executable, "-m", "rope_spectra.config_reference", *option]
    assert (ROOT / "docs" / page).read_text() == run(command, ROOT)


def test_every_meaning_of_the_configuration_is_there_in_chinese() -> None:
    """In config/reference.zh-CN.yaml; what no key means any more is not."""
    made = json_schema()
    meanings = {str(Config.model_fields["run"].description)}
    for heading_and_table in "\n".join(config_reference.page(made)).split("\n## ")[2:]:
        rows = re.findall(r"^\| `\w+` \| (.*?) \| ", heading_and_table, re.MULTILINE)
        meanings |= {row.replace("\\|", "|") for row in rows}
    assert set(config_reference.chinese().meanings) == meanings


@pytest.mark.parametrize("chinese", CHINESE, ids=lambda page: page.name)
def test_a_chinese_page_has_the_content_of_the_english_one(chinese: Path) -> None:
    english = chinese.with_name(chinese.name.replace(".zh-CN", ""))
    pages = english, chinese
    for language in ("sh", "yaml"):  # comments are in the language of the page
        codes = ["\n".join(blocks(page, language)) for page in pages]
        assert without_comments(codes[0]) == without_comments(codes[1])
    texts = [prose(page).replace(".zh-CN.md", ".md") for page in pages]
    parts = [re.split(r"^(#+) .*$", text, flags=re.MULTILINE) for text in texts]
    assert parts[0][1::2] == parts[1][1::2]  # the levels of the headings
    for here, there in zip(parts[0][::2], parts[1][::2], strict=True):
        assert Counter(spans(here)) == Counter(spans(there))
        for pattern in (r"^\|", r"^\*\*", r"\]\(.*?\)", r"\d+(?:[.,]\d+)*"):
            assert Counter(re.findall(pattern, here, re.MULTILINE)) == Counter(
                re.findall(pattern, there, re.MULTILINE)
            ), here


def test_a_chinese_page_leads_to_chinese_pages() -> None:
    """English pages hold what a user needs later; of the first ones there are both."""
    translated = {page.name.replace(".zh-CN", "") for page in CHINESE}
    for page in CHINESE:
        links = re.findall(r"\]\(([^)#:]+\.md)[^)]*\)", prose(page).partition("\n## ")[2])
        assert {Path(link).name for link in links} & translated == set()


def test_the_findings_of_the_readme_are_those_of_their_page() -> None:
    """A comparison may stand the other way round: a ratio is then the inverse one."""
    page = " ".join((ROOT / "docs/findings.md").read_text().split())
    intervals = re.findall(r"(\d\.\d+) to (\d\.\d+)", page)
    inverse = [tuple(f"{1 / float(value):.3f}" for value in reversed(pair)) for pair in intervals]
    readme = (ROOT / "README.md").read_text()
    shown = re.findall(r"(\d\.\d+) \((\d\.\d+) to (\d\.\d+)\)", readme)
    assert len(shown) >= 5
    for ratio, *interval in shown:
        assert tuple(interval) in [*intervals, *inverse]
        assert ratio in page or f"{1 / float(ratio):.3f}" in page


def table_rows(text: str) -> dict[str, list[str]]:
    """The cells of the rows of Markdown tables that begin with a name in backticks."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| `")
    ]
    return {first.strip("`"): cells for first, *cells in rows}


def test_runs_hours_and_disk_of_each_experiment_are_those_that_cost_prints(fresh: Path) -> None:
    rows = table_rows((ROOT / "docs/reproducing.md").read_text())
    assert set(rows) == set(yaml.safe_load((ROOT / "config.yaml").read_text())["experiments"]) - {
        "demo"
    }
    estimates = json.loads(
        run(
            [
                sys.executable,
                "-m",
                "rope_spectra.cost",
                "--json",
                "--config",
                # The text of frontier_books is the user's own.
                f"run={','.join(name for name in rows if name != 'frontier_books')}",
            ],
            fresh,
        )
    )
    for item in estimates:
        runs, *times, disk = rows[item["experiment"]]
        assert int(runs) == item["runs"]
        kept = sum(item[f"{what}_bytes"] for what in ("cache", "model", "table"))
        number, unit = disk.split()
        assert float(number) * {"MB": 1e6, "GB": 1e9}[unit] == pytest.approx(
            kept, abs=0.1 * {"MB": 1e6, "GB": 1e9}[unit]
        )
        # The toy has no throughputs: its times were measured.
        for time, gpu in zip(times, item["throughputs"], strict=False):
            number, unit = time.split()
            minutes = 60 * sum(gpu["hours"].values())
            assert minutes == pytest.approx(
                float(number) * {"min": 1, "h": 60}[unit], abs={"min": 1, "h": 6}[unit]
            )


def test_the_protocol_defines_every_family_and_every_remap() -> None:
    section = (ROOT / "docs/protocol.md").read_text().split("\n## ")[2]
    tables = section.split("\n### Remaps\n")
    defined = [set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) for table in tables]
    names = {get_args(family.model_fields["family"].annotation)[0] for family in families()}
    assert defined == [names, set(remaps.METHODS)]


def asked_tasks() -> dict[TaskKey, Asked]:
    asked = Asked(np.zeros((2, 10)), np.zeros((2, 10)), np.zeros((2, 10)), np.array([3, 9]))
    return {(name, seed, "none", 16, "key"): asked for name in ("a", "b") for seed in (1, 2)}


def columns_of_tasks(runs: pd.DataFrame, spectra: pd.DataFrame) -> list[str]:
    """The columns that the tables of tasks have besides these."""
    ours = retrieval_tasks.summarize(asked_tasks(), "a", ["b"], {})
    assert set(spectra) <= set(ours)
    assert set(runs) <= set(retrieval_tasks.by_run(asked_tasks()))
    both = {*ours, *retrieval_tasks.by_run(asked_tasks())}
    return sorted(both - set(runs) - set(spectra))


def columns_of_our_tables() -> list[list[str]]:
    """In the order of docs/statistics.md; of noise_floor.csv, which needs trained runs, none."""
    scores = np.zeros((2, 10))
    probed = {(name, seed, "none", 8): scores for name in ("a", "b") for seed in (1, 2)}
    retrieval_runs = retrieval_table.by_run(probed)
    retrieval = retrieval_table.summarize(retrieval_runs, "a", ["b"])
    theirs = published.published_runs("350m_final")
    compared = published.compare(theirs, theirs.assign(protocol="first_chunks", remap="none"))
    diagnosis = diagnose(np.ones(2), train_length=8, longest=16)
    return [
        [*RUN_COLUMNS, "phase"],
        [*summary_table.COLUMNS, "dataset", "model", "training"],
        [],
        [*compared],
        ["spectrum", "family", "train_length", "longest", *diagnosis],
        ["experiment", *retrieval_runs],
        ["experiment", *retrieval],
        [*columns_of_tasks(retrieval_runs, retrieval)],
        ["experiment", *retrieval_tasks.by_distance(asked_tasks(), 8)],
        frontier.COLUMNS,
        rates.COLUMNS,
        [*theory.COLUMNS],
        [*hypotheses.COLUMNS],
        *columns_of_usage(),
        *columns_of_searches(),
    ]


def columns_of_usage() -> list[list[str]]:
    """Of usage.csv, usage_runs.csv and usage_attention.csv."""
    usages = {("a", 1): made_up_usage(8, pairs=2)}
    pairs = usage_table.by_pair(usages, {"a": np.ones(2)})
    runs = usage_table.by_run(pairs, train_length=8)
    tables = (
        usage_table.summarize(pairs, runs),
        runs,
        usage_table.attention_summary(usage_table.attention(usages)),
    )
    return [["experiment", *table] for table in tables]


def columns_of_searches() -> list[list[str]]:
    """Of course.csv, of a search for two metrics through one knot, and of found.csv."""
    score = Score(values=(0.0, 0.0), deltas=((0.0, 0.0),), within=0.0, excess=0.0)
    only = Round(tokens=1, seeds=[1], points={0: (0.5,)}, scores={0: score}, new=[0])
    course = course_table(Space(knots=1, shortest=4, longest=8), [only])
    found = found_table(["degradation", "retrieval"], {"best": 0}, {"best": score}, {"best": score})
    return [[*course], [*found]]


def test_the_page_on_statistics_describes_every_column() -> None:
    page = (ROOT / "docs/statistics.md").read_text()
    tables = re.findall(
        r"^\| column \| meaning \|\n\|---\|---\|\n((?:\|.*\n)+)", page, re.MULTILINE
    )
    first_cells = [" ".join(row.split("|")[1] for row in table.splitlines()) for table in tables]
    described = [set(spans(cells)) for cells in first_cells]
    for known, ours in zip(described, columns_of_our_tables(), strict=True):
        assert not ours or known == set(ours)


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert f'version = "{citation["version"]}"' in (ROOT / "pyproject.toml").read_text()
    assert (
        f"## [{citation['version']}] - {citation['date-released']}\n"
        in (ROOT / "CHANGELOG.md").read_text()
    )


def put(path: Path, added: str, before: str) -> None:
    """Adds lines in front of the last place that reads `before`; at the end if that is empty."""
    text = path.read_text()
    head, place, tail = text.rpartition(before) if before else (text, "", "")
    assert place == before
    path.write_text(head + added + place + tail)


def test_the_page_on_adding_a_spectrum_can_be_followed(tmp_path: Path) -> None:
    page = ROOT / "docs/adding-a-spectrum.md"
    family, member, golden, promise = blocks(page, "python")
    (use,) = blocks(page, "yaml")
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("workflow", "tests/support"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    (tmp_path / "tests/rope").mkdir()
    for name in (
        "config.yaml",
        "pyproject.toml",
        "tests/conftest.py",
        "tests/rope/test_spectra.py",
    ):
        shutil.copy(ROOT / name, tmp_path / name)

    families = tmp_path / "workflow/rope_spectra/rope/families.py"
    put(families, f"{family}\n\n", before="Spectrum = Annotated[\n")
    put(families, member, before="    | Resonance,\n")
    tests = tmp_path / "tests/rope/test_spectra.py"
    put(tests, "    Linear,\n", before="    Midpoint,\n")
    put(tests, golden, before='}\n\n\n@pytest.mark.parametrize("name", GOLDEN)')
    put(tests, f"\n\n{promise}", before="")
    put(tmp_path / "config.yaml", use, before="")

    package = tmp_path / "workflow"
    new = "my_linear or test_linear or every_family"
    pytest_of_the_page = [sys.executable, "-m", "pytest", "-q", str(tests), "-k", new]
    assert "3 passed" in run(pytest_of_the_page, tmp_path, package)
    show = [sys.executable, "-m", "rope_spectra.spectra", "--show", "my_linear"]
    # Of the demo's 16 pairs, 15 have wavelengths beyond 128 tokens and 12 beyond 1024.
    assert re.search(r"my_linear +15 +12 ", run(show, tmp_path, package))
    reference = run([sys.executable, "-m", "rope_spectra.config_reference"], tmp_path, package)
    assert "family: linear" in reference
