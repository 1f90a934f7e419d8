"""The package works where pip has put it: all its files come along, and rope-spectra finds them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.checkout import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed package alone."""
    source = tmp_path_factory.mktemp("source")  # pip leaves a build folder there
    shutil.copytree(
        ROOT / "workflow",
        source / "workflow",
        ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    target = tmp_path_factory.mktemp("installed")
    # Nothing is fetched: the requirements are those of this environment, setuptools included.
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", target]
    pip = [sys.executable, "-m", "pip", "install", *options, source]
    subprocess.run(list(map(str, pip)), check=True)
    return target


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a configuration and nothing else, as a user may have it anywhere."""
    shutil.copy(ROOT / "config.yaml", tmp_path)
    return tmp_path


def rope_spectra(
    installed: Path, project: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(installed / "bin/rope-spectra"), *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(installed)},
    )


def test_the_help_lists_the_commands_with_what_they_do(installed: Path, project: Path) -> None:
    done = rope_spectra(installed, project, "--help")
    assert done.returncode == 0
    commands = [path.stem for path in (installed / "rope_spectra").glob("[!_]*.py")]
    assert len(commands) > 10
    for name in commands:
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"  {name} ")]
        assert line.endswith("."), "the first line of its docstring is a sentence"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("status", "--once"), "demo"),
        (("cost",), "demo"),
        (("spectra", "--show", "geo_500k"), "geo_500k"),
        (("published", "--help"), "published"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_command_works_in_any_folder(
    installed: Path, project: Path, arguments: tuple[str, ...], expected: str
) -> None:
    done = rope_spectra(installed, project, *arguments)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_an_unknown_command_is_one_line_with_the_nearest_one(
    installed: Path, project: Path
) -> None:
    done = rope_spectra(installed, project, "evaluat")
    assert done.returncode == 1
    assert "evaluat" in done.stderr
    assert "did you mean evaluate?" in done.stderr
    assert done.stderr.count("\n") == 1


def test_all_files_of_the_package_are_installed(installed: Path) -> None:
    here = ROOT / "workflow/rope_spectra"
    files = {
        path.relative_to(here)
        for path in here.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    missing = [path for path in files if not (installed / "rope_spectra" / path).is_file()]
    assert missing == []
