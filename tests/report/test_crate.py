"""An experiment as an RO-Crate: read again by the library that others read it with."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rope_spectra.artifacts import files
from support import small_experiment as small

rocrate = pytest.importorskip("rocrate.rocrate")
FOLDER = Path("results/small")
OUTPUT = FOLDER / "ro-crate-metadata.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished experiment with its crate; the working directory is the one of its results."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("crate"))
        design = small.make_experiment(spectra=["geo"], seeds=[1, 2])
        small.done("page", *small.page_arguments(design))
        (FOLDER / "geo/seed1/hf").mkdir()
        (FOLDER / "geo/seed1/hf/config.json").write_text("{}")
        license_ = "https://creativecommons.org/licenses/by/4.0/"
        small.done("crate", "--experiment", FOLDER, "--output", OUTPUT, "--license", license_)
        yield Path.cwd() / FOLDER


def test_a_reader_finds_what_the_folder_is(folder: Path) -> None:
    root = rocrate.ROCrate(folder).root_dataset
    assert root["license"] == "https://creativecommons.org/licenses/by/4.0/"
    assert "small" in root["name"]
    assert root["mainEntity"].id == "summary.md"
    assert root["datePublished"]


def test_it_tells_of_tables_and_records_and_of_no_weights(folder: Path) -> None:
    graph = json.loads((folder / "ro-crate-metadata.json").read_text())["@graph"]
    told = {entity["@id"]: entity for entity in graph if entity["@type"] == "File"}
    assert {"summary.csv", "runs.csv", "experiment.json", "geo/seed2/eval.npz"} <= set(told)
    assert not any("safetensors" in name or "/hf/" in name for name in told)
    for name, entity in told.items():
        assert entity["sha256"] == files.sha256(folder / name)
        assert entity["contentSize"] == str((folder / name).stat().st_size)


def test_each_run_is_an_action_from_its_settings_to_its_results(folder: Path) -> None:
    actions = [
        entity
        for entity in rocrate.ROCrate(folder).contextual_entities
        if entity.type == "CreateAction"
    ]
    assert {action.id for action in actions} == {"#geo-seed1", "#geo-seed2"}
    for action in actions:
        place = action.id.removeprefix("#").replace("-", "/")
        assert action["object"].id == f"{place}/config.json"
        assert {f"{place}/run.json", f"{place}/eval.csv"} <= {file.id for file in action["result"]}
        assert action["instrument"]["name"] == "rope-spectra"


def test_without_the_page_one_line_says_what_to_run(folder: Path) -> None:
    page = (folder / "summary.md").rename(folder / "moved")
    status, lines = small.step("crate", "--experiment", folder, "--output", folder / "x.json")
    page.rename(folder / "summary.md")
    assert status == 1
    assert "summary.md: is not there; run snakemake" in lines[-1]


def test_without_the_library_one_line_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rocrate.rocrate", None)
    status, lines = small.step("crate", "--experiment", folder, "--output", folder / "x.json")
    assert status == 1
    assert "pip install" in lines[-1]
    assert not (folder / "x.json").exists()
