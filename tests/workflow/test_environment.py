"""The environment is pinned once, and every other list of it agrees."""

import re

import yaml

from support.checkout import ROOT

ENVS = ROOT / "envs"


def pins(name: str) -> dict[str, str]:
    lines = (ENVS / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_conda_installs_the_same_pins() -> None:
    conda = yaml.safe_load((ENVS / "environment.yaml").read_text())
    (pip,) = (entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))
    assert dict(pin.split("==") for pin in pip) == pins("requirements.txt")


def test_constraints_hold_every_pin_at_its_version() -> None:
    constraints = {name.lower(): version for name, version in pins("constraints.txt").items()}
    for name, version in {
        **pins("requirements.txt"),
        **pins("requirements-dev.txt"),
        **pins("requirements-slurm.txt"),
    }.items():
        assert constraints[name.lower()] == version
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in constraints.values())


def test_every_rule_with_a_command_names_the_conda_environment() -> None:
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            assert '"../../envs/environment.yaml"' in rule or "    run:\n" in rule
