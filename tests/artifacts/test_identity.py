"""Changes that make work again and changes that do not; files that do not belong together."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel

from rope_spectra.artifacts import seal
from rope_spectra.config import frozen
from rope_spectra.config.design import Design
from rope_spectra.config.load import load
from rope_spectra.training.record import DataFacts, identity
from support import small_experiment as small
from support.checkout import snakemake

RUN = small.folder_of("geo", 1)
OTHER = small.folder_of("geo", 2)
REMEDY = "delete it and run again"
M = TypeVar("M", bound=BaseModel)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Design]:
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("identity"))
    try:
        yield small.make_experiment()
    finally:
        os.chdir(before)


@pytest.fixture
def copied(experiment: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Design:
    """The finished experiment in a folder that this test may spoil."""
    shutil.copytree("results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return experiment


def refusal(module: str, *arguments: object) -> str:
    status, lines = small.step(module, *arguments)
    assert status == 1, lines
    assert lines[-1].startswith("error: ")
    return lines[-1].removeprefix("error: ")


def refrozen(path: Path, section: str, **changes: Any) -> None:
    """Frozen settings with other values, properly sealed."""
    settings = {key: value for key, value in json.loads(path.read_text()).items() if key != "seal"}
    (settings[section] if section else settings).update(changes)
    small.freeze(path, settings)


# --- names and content ----------------------------------------------------------------------------


def changed(model: M, section: str | None = None, **values: Any) -> M:
    """A copy with other values, of one section or of the model itself."""
    if section is not None:
        values = {section: changed(getattr(model, section), **values)}
    return model.model_copy(update=values)


def test_the_identity_is_that_of_what_matters_and_of_the_data() -> None:
    settings = frozen.run_settings(load(small.EXPERIMENT), "small", "poly", 1)
    data = DataFacts(sha256="a", tokens=9)
    expected = identity(settings, data)
    renamed = changed(changed(settings, experiment="other"), "spectrum", name="another")
    assert identity(renamed, data) == expected
    assert identity(settings, changed(data, sha256="b")) != expected
    for other in (
        changed(settings, "training", learning_rate=2e-3),
        changed(settings, "model", hidden_size=4),
        changed(settings, seed=2),
        changed(settings, recipe=99),
    ):
        assert identity(other, data) != expected
    shape = settings.spectrum.shape.model_copy(update={"p": 3.0})
    assert identity(changed(settings, "spectrum", shape=shape), data) != expected
    sentences = [identity(settings, changed(data, sentence=each)) for each in "ab"]
    assert len({expected, *sentences}) == 3


@pytest.mark.parametrize(
    "option",
    [
        "log_every",
        "checkpoint_minutes",
        "checkpoint_steps",
        "gpus_per_run",
        "rank_timeout_minutes",
    ],
)
def test_how_a_run_goes_is_not_part_of_what_it_is(option: str) -> None:
    raw_changed = json.loads(json.dumps(small.EXPERIMENT))
    raw_changed["training"]["toy"][option] = 1
    both = [
        frozen.run_settings(load(raw), "small", "geo", 1) for raw in (small.EXPERIMENT, raw_changed)
    ]
    assert both[0] == both[1]


# --- refusals -------------------------------------------------------------------------------------


def test_evaluation_refuses_a_run_of_other_settings(copied: Design) -> None:
    refrozen(RUN / "config.json", "training", learning_rate=2e-3)
    for said in (
        refusal("evaluate", *small.evaluate_arguments(RUN)),
        refusal("aggregate", *small.aggregate_arguments(copied)),
    ):
        assert said.startswith(f"{RUN}/run.json: ")
        assert "training.learning_rate (0.001 instead of 0.002)" in said
        assert REMEDY in said


def test_evaluation_refuses_the_weights_of_another_run(copied: Design) -> None:
    shutil.copy(OTHER / "model.safetensors", RUN / "model.safetensors")
    assert f"{RUN}/model.safetensors: not the file that {RUN}/run.json describes" in refusal(
        "evaluate", *small.evaluate_arguments(RUN)
    )


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"lengths": [16, 64]}, "lengths ([16, 32] instead of [16, 64])"),
        ({"chunks": 3}, "chunks (2 instead of 3)"),
    ],
    ids=["lengths", "chunks"],
)
def test_tables_refuse_an_evaluation_of_other_settings(
    copied: Design, changes: dict[str, Any], difference: str
) -> None:
    refrozen(Path("results/small/evaluation.json"), "", **changes)
    said = refusal("aggregate", *small.aggregate_arguments(copied))
    assert said.startswith(f"{RUN}/eval.json: ")
    assert f"another {difference}" in said
    assert REMEDY in said


def test_an_evaluation_with_the_yarn_of_an_older_version_is_made_again(copied: Design) -> None:
    frozen_file, record = Path("results/small/evaluation.json"), RUN / "eval.json"
    refrozen(frozen_file, "", remaps=["none", "yarn"])
    said = refusal("evaluate", *small.evaluate_arguments(RUN))
    assert said.startswith("yarn: these settings are from a version that had another definition")
    content = seal.read(record)
    content["settings"]["remaps"] = ["none", "yarn"]
    seal.write(record, content)
    refrozen(frozen_file, "", yarn="transformers")
    said = refusal("aggregate", *small.aggregate_arguments(copied))
    assert said.startswith(f"{record}: was evaluated with another yarn (None instead of transf")
    assert REMEDY in said


def test_tables_refuse_an_evaluation_of_other_text(copied: Design) -> None:
    record = OTHER / "eval.json"
    content = seal.read(record)
    content["data"]["sha256"] = "0" * 64
    seal.write(record, content)
    said = refusal("aggregate", *small.aggregate_arguments(copied))
    assert said.startswith(f"{OTHER}: was evaluated on other text than geo/seed1: ")
    assert re.search(r"sha256 \(0000.* instead of \w+\)", said)


def test_tables_refuse_a_run_trained_on_other_text(copied: Design) -> None:
    for name, parts in (("run.json", ()), ("eval.json", ("run",))):
        content = section = seal.read(OTHER / name)
        for part in parts:
            section = section[part]
        section["data"]["sha256"] = "0" * 64
        seal.write(OTHER / name, content)
    said = refusal("aggregate", *small.aggregate_arguments(copied))
    assert said.startswith(f"{OTHER}: was trained on other text than geo/seed1: ")
    assert "sha256 (0000" in said


def test_tables_refuse_the_evaluation_of_another_run(copied: Design) -> None:
    for name in ("eval.json", "eval.csv", "eval.npz"):
        shutil.copy(OTHER / name, RUN / name)
    said = refusal("aggregate", *small.aggregate_arguments(copied))
    assert said.startswith(f"{RUN}/eval.json: ")
    assert "settings.seed (2 instead of 1)" in said
    assert f"{RUN}/run.json" in said
    assert REMEDY in said


def test_tables_refuse_an_evaluation_of_earlier_weights(copied: Design) -> None:
    """A run was trained again to other bits: its old evaluation does not fit the new weights."""
    run = seal.read(RUN / "run.json")
    run["files"]["model.safetensors"] = "0" * 64
    seal.write(RUN / "run.json", run)
    said = refusal("aggregate", *small.aggregate_arguments(copied))
    assert said.startswith(f"{RUN}/eval.json: ")
    assert re.search(rf"another model \(\w+ instead of 0+\) than {RUN}/run.json", said)


def test_tables_refuse_a_run_of_another_spectrum_than_is_asked_for(copied: Design) -> None:
    content = copied.content()
    content["spectra"][0]["theta"] = 20_000.0
    asked = Design.model_validate(content)
    said = refusal("aggregate", *small.aggregate_arguments(asked))
    assert said.startswith(f"{RUN}: ")
    assert "spectrum.theta (10000.0 instead of 20000.0)" in said
    assert REMEDY in said


def test_figures_refuse_tables_of_another_design(copied: Design) -> None:
    design = small.design_file(copied.model_copy(update={"equivalence_margin": 0.05}))
    said = refusal("figures", "--definition", design, "--output", "new/figures")
    assert said.startswith("results/small/tables.json: ")
    assert "equivalence_margin (0.01 instead of 0.05)" in said
    assert "delete it" in said
    assert not Path("new").exists()


def test_a_page_refuses_tables_of_another_design(copied: Design) -> None:
    design = copied.model_copy(update={"equivalence_margin": 0.05})
    said = refusal("page", *small.page_arguments(design))
    assert said.startswith("results/small/tables.json: ")
    assert "another equivalence_margin" in said
    assert "delete it" in said
    assert not Path("results/small/summary.md").exists()


def test_figures_refuse_tables_made_from_other_evaluations(copied: Design) -> None:
    small.freeze(
        RUN / "config.json", frozen.run_settings(load(small.EXPERIMENT), "small", "geo", 3)
    )
    small.done("train", *small.train_arguments(RUN))
    small.done("evaluate", *small.evaluate_arguments(RUN))
    said = refusal("figures", "--definition", small.design_file(copied), "--output", "new/figures")
    assert said.startswith("results/small/tables.json: ")
    assert re.search(r"another geo/seed1\.\S+ \(\w+ instead of \w+\)", said)


def test_the_published_numbers_are_not_compared_with_another_experiment(
    copied: Design,
) -> None:
    files = ("--csv", "new/p.csv", "--figure", "new/p.svg")
    said = refusal(
        "published", "--experiment", "350m_final", "--runs", "results/small/runs.csv", *files
    )
    assert said.startswith("results/small/runs.csv: ")
    assert re.search("experiment small, not .*350m_final; give", said)


# --- Snakemake ------------------------------------------------------------------------------------


def plan(project: Path) -> str:
    return snakemake(project, "-n", "--configfile", "quick.yaml").stdout


def test_edits_of_code_and_of_options_make_nothing_again(finished: Path) -> None:
    """A comment and a docstring in each module, touched rules and profiles, other intervals."""
    quick = finished / "quick.yaml"
    kept = {
        path: path.read_text()
        for path in [*(finished / "workflow/rope_spectra").rglob("*.py"), quick]
    }
    try:
        for path, text in kept.items():
            if path != quick:
                path.write_text(
                    "# a comment\n"
                    + text.replace('"""\n', ' More words."""\n', 1)
                    + "\n# another\n"
                )
        for path in [
            *finished.glob("workflow/rules/*.smk"),
            finished / "Snakefile",
            finished / "profiles/default/profile.yaml",
        ]:
            path.touch()
        quick.write_text(
            kept[quick].replace(
                "log_every: 5", "log_every: 3, checkpoint_minutes: 1, checkpoint_steps: 7"
            )
        )
        assert not re.findall(
            r"^rule (?:train|evaluate|tokenize\w*|memmap_cache|tokenizer):",
            plan(finished),
            re.MULTILINE,
        )
        quick.write_text(kept[quick])
        assert "Nothing to be done" in plan(finished)
        quick.write_text(kept[quick].replace("3.0e-3", "2.0e-3"))
        assert plan(finished).count("rule train:") == 4
    finally:
        for path, text in kept.items():
            path.write_text(text)
