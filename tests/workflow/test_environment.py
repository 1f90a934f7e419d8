"""The environment is pinned once, and every other list of it agrees."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
import yaml
from packaging.requirements import Requirement

from support.checkout import PACKAGE, ROOT

ENVS = ROOT / "envs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def pins(name: str) -> dict[str, str]:
    lines = (ENVS / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_conda_installs_the_same_pins() -> None:
    conda = yaml.safe_load((ENVS / "environment.yaml").read_text())
    (pip,) = (entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))
    wanted = pins("requirements.txt") | pins("requirements-search.txt")
    assert dict(pin.split("==") for pin in pip) == wanted


def test_constraints_hold_every_pin_at_its_version() -> None:
    constraints = {name.lower(): version for name, version in pins("constraints.txt").items()}
    for name, version in {
        **pins("requirements.txt"),
        **pins("requirements-dev.txt"),
        **pins("requirements-search.txt"),
        **pins("requirements-slurm.txt"),
        **pins("requirements-crate.txt"),
    }.items():
        assert constraints[name.lower()] == version
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in constraints.values())


@pytest.mark.parametrize(
    ("ranges", "name"),
    [
        (PROJECT["dependencies"] + EXTRAS["dev"], "requirements.txt"),
        (EXTRAS["dev"], "requirements-dev.txt"),
        (EXTRAS["search"], "requirements-search.txt"),
        (EXTRAS["slurm"], "requirements-slurm.txt"),
        (EXTRAS["crate"], "requirements-crate.txt"),
    ],
)
def test_the_ranges_of_the_package_hold_the_pins(ranges: list[str], name: str) -> None:
    tested = pins("constraints.txt")
    required = {requirement.name: requirement for requirement in map(Requirement, ranges)}
    assert required.keys() >= pins(name).keys()
    for package, requirement in required.items():
        assert tested[package] in requirement.specifier, package


def test_the_package_requires_what_it_imports() -> None:
    asked = PROJECT["dependencies"] + EXTRAS["search"] + EXTRAS["crate"]
    required = {Requirement(text).name.lower() for text in asked}
    distributions = packages_distributions()
    for path in (PACKAGE / "rope_spectra").rglob("*.py"):
        for name in imported(ast.parse(path.read_text())) - sys.stdlib_module_names:
            names = {found.lower() for found in distributions.get(name, [name])}
            assert name == "rope_spectra" or names & required, f"{path} imports {name}"


def imported(tree: ast.Module) -> set[str]:
    """The first parts of the names of all modules that a file imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def test_an_installed_package_has_all_files_that_its_modules_read() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    home = PACKAGE / "rope_spectra"
    installed = {
        path
        for pattern in setuptools["package-data"]["rope_spectra"]
        for path in home.glob(pattern)
    }
    others = {path for path in home.rglob("*.*") if path.suffix not in (".py", ".pyc")}
    assert others - installed == set()


def test_every_rule_with_a_command_names_the_conda_environment() -> None:
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            # A target, such as paper, has no command.
            is_target = "shell:" not in rule and "script:" not in rule
            assert is_target or '"../../envs/environment.yaml"' in rule


def test_both_recipes_of_an_image_install_the_same_on_the_same_base() -> None:
    docker = (ENVS / "Dockerfile").read_text()
    apptainer = (ENVS / "apptainer.def").read_text()
    base = re.search(r"^ARG BASE=(\S+)$", docker, re.MULTILINE)[1]
    conda = yaml.safe_load((ENVS / "environment.yaml").read_text())
    (python,) = (entry for entry in conda["dependencies"] if str(entry).startswith("python="))
    assert f"/python:{python.removeprefix('python=')}-" in base
    assert re.search(r"^From: (\S+)$", apptainer, re.MULTILINE)[1] == base
    steps = re.findall(r"^RUN ((?:.*\\\n)*.*)$", docker, re.MULTILINE)
    (post,) = re.findall(r"^%post\n((?:    .*\n)+)", apptainer, re.MULTILINE)
    lines = [line for line in post.splitlines() if not line.strip().startswith("#")]
    assert " ".join(lines).split() == " ".join(steps).split()
    copied = re.search(r"^COPY (.*) (\S+/)$", docker, re.MULTILINE)
    assert re.findall(r"^    envs/(\S+) (\S+)$", apptainer, re.MULTILINE) == [
        (name, copied[2] + name) for name in copied[1].split()
    ]
