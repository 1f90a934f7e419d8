"""The workflow as a module: what snakedeploy writes, and what another workflow may make of it."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from support.checkout import QUICK, ROOT, fresh_checkout, planned, snakemake

# As snakedeploy writes it, but for the place of the module and the prefix of its rules.
DEPLOYED = """
configfile: "config/config.yaml"

onstart:
    print("the handler of the other workflow")

module rope_spectra:
    snakefile: "{root}/workflow/Snakefile"
    config: config

use rule * from rope_spectra as rope_*
"""


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deployed")
    for name in ("config", "workflow"):
        (folder / name).mkdir()
    (folder / "workflow/Snakefile").write_text(DEPLOYED.format(root=ROOT))
    (folder / "config/config.yaml").write_text((ROOT / "config/config.yaml").read_text())
    (folder / "quick.yaml").write_text(QUICK)
    return folder


def test_the_folder_config_holds_what_snakedeploy_and_the_catalog_look_for() -> None:
    assert (ROOT / "config/config.yaml").samefile(ROOT / "config.yaml")
    page = (ROOT / "config/README.md").read_text()
    targets = re.findall(r"\]\(([^)#:]+)\)", page)
    assert targets
    assert [target for target in targets if not (ROOT / "config" / target).exists()] == []


def test_the_catalog_finds_each_key_at_its_level() -> None:
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert set(usage["software-stack-deployment"]) == {"conda", "apptainer", "apptainer+conda"}


@pytest.mark.slow
def test_another_workflow_runs_it_as_a_module_and_seals_its_claims(deployed: Path) -> None:
    options = ("--cores", "2", "--configfile", "quick.yaml")
    assert planned(deployed, *options)["rope_train"] == 4
    done = snakemake(deployed, *options)
    assert "the handler of the other workflow" in done.stdout + done.stderr
    sealed = json.loads((deployed / "results/quick/declaration.json").read_text())
    assert sealed["declared"]["baseline"] == "geo_500k"
    page = (deployed / "results/quick/summary.md").read_text()
    assert "Declared before the first run was finished" in page
    assert planned(deployed, *options) == {}


# Runs what it is given outside of any container, and says of which image.
APPTAINER = """#!/bin/bash
if [ "$1" = --version ]; then echo apptainer version 1.3.0; exit; fi
while [ "${1##*.}" != sif ]; do shift; done
echo "$1" >> "$IMAGES"
shift
exec "$@"
"""


@pytest.mark.slow
def test_with_sdm_apptainer_jobs_run_in_the_image_of_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = fresh_checkout(tmp_path / "project")
    binary = tmp_path / "bin/apptainer"
    binary.parent.mkdir()
    binary.write_text(APPTAINER)
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(binary.parent), prepend=os.pathsep)
    monkeypatch.setenv("IMAGES", str(tmp_path / "images"))
    target = "results/data/quick/tokenizer/tokenizer.json"
    options = ("--cores", "1", "--configfile", "quick.yaml")
    snakemake(project, target, *options, "--sdm", "apptainer")
    assert set((tmp_path / "images").read_text().split()) == {"envs/rope-spectra.sif"}
    recipe = (ROOT / "envs/apptainer.def").read_text()
    assert "apptainer build envs/rope-spectra.sif" in recipe
    assert planned(project, target, *options) == {}
