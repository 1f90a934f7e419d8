"""Steps by hand, mostly with something wrong: one line with file and remedy, no half a file."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.by_hand import SETTINGS, refusal, step
from support.checkout import PACKAGE

COMMANDS = sorted(path.stem for path in (PACKAGE / "rope_spectra").glob("[!_]*.py"))
# These answer at once, for people call them between other work; others may load torch or pandas.
LIGHT = ["config_reference", "cost", "kept", "spectra", "status"]
EVALUATION = {
    "lengths": [16, 32],
    "protocols": ["first_chunks", "full"],
    "chunks": 3,
    "remaps": ["none"],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with token caches from a raw file, and a run made by hand in run/."""
    folder = tmp_path_factory.mktemp("hand")
    (folder / "raw.bin").write_bytes(
        bytes(value for index in range(2000) for value in (index * index % 64, 0))
    )
    source = {"source": "tokens", "file": "raw.bin", "vocab_size": 64}
    (folder / "split.json").write_text(
        json.dumps({"split": "train", "tokens": None, "source": source})
    )
    (folder / "evaluation.json").write_text(json.dumps(EVALUATION))
    (folder / "run").mkdir()
    (folder / "run/config.json").write_text(json.dumps(SETTINGS))
    cache = ("--output", folder / "tokens.npy", "--manifest", folder / "tokens.json")
    for done in (
        step(
            "memmap_cache",
            "--settings",
            folder / "split.json",
            "--shards",
            folder / "raw.bin",
            *cache,
        ),
        train(folder, folder / "run"),
        evaluate(folder, folder / "run"),
    ):
        assert done.returncode == 0, done.stderr
    return folder


def train(folder: Path, run: Path, *more: object) -> subprocess.CompletedProcess[str]:
    tokens = ("--tokens", folder / "tokens.npy", "--manifest", folder / "tokens.json")
    return step("train", "--settings", run / "config.json", *tokens, "--output", run, *more)


def evaluate(folder: Path, run: Path, *more: object) -> subprocess.CompletedProcess[str]:
    tokens = ("--tokens", folder / "tokens.npy", "--manifest", folder / "tokens.json")
    return step("evaluate", "--run", run, "--settings", folder / "evaluation.json", *tokens, *more)


def changed_run(folder: Path, path: Path, **changes: object) -> Path:
    """A copy of the trained run whose config.json differs by `changes` in its training settings."""
    shutil.copytree(folder / "run", path)
    settings = {**SETTINGS, "training": {**SETTINGS["training"], **changes}}
    (path / "config.json").write_text(json.dumps(settings))
    return path


@pytest.mark.parametrize("module", COMMANDS)
def test_help_says_what_a_command_is_for(module: str) -> None:
    done = step(module, "--help")
    assert done.returncode == 0
    assert f"python -m rope_spectra.{module}" in done.stdout


@pytest.mark.parametrize("module", LIGHT)
def test_a_light_command_imports_nothing_heavy(module: str) -> None:
    code = (
        f"import sys, rope_spectra.{module}\n"
        "heavy = {'torch', 'transformers', 'datasets', 'pandas', 'matplotlib', 'scipy'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_run_by_hand_leaves_its_results_and_nothing_else(trained: Path) -> None:
    names = {path.name for path in (trained / "run").iterdir()}
    assert names == {
        "config.json",
        "model.safetensors",
        "run.json",
        "train.csv",
        "eval.csv",
        "eval.npz",
        "eval.json",
    }
    assert json.loads((trained / "run/run.json").read_text())["steps"] == 2000 // 16 // 4


@pytest.mark.parametrize("rate", [1e30, 50.0])
def test_divergence_is_named_with_its_step_and_publishes_nothing(
    trained: Path, tmp_path: Path, rate: float
) -> None:
    run = changed_run(trained, tmp_path / "run", learning_rate=rate, grad_clip=1e30)
    (run / "model.safetensors").unlink()
    assert re.match(
        r"training diverged: the loss is (nan|inf|[\d.e+]+) at step \d+; lower learning_rate",
        refusal(train(trained, run)),
    )
    assert not (run / "model.safetensors").exists()


def test_a_vocabulary_that_does_not_fit_is_refused(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(
        json.dumps({**SETTINGS, "model": {**SETTINGS["model"], "vocab_size": 32}})
    )
    said = refusal(train(trained, run))
    assert said.startswith("models: vocab_size 32 ")
    assert said.endswith("raise it to at least 64")


def test_too_little_text_for_a_batch_is_refused(trained: Path, tmp_path: Path) -> None:
    run = changed_run(trained, tmp_path / "run", batch_size=1000)
    assert re.match("training: .*16000 tokens.* 2000", refusal(train(trained, run)))


def test_too_little_text_for_the_longest_length_is_refused(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "long.json").write_text(json.dumps({**EVALUATION, "lengths": [16, 2000]}))
    done = evaluate(
        trained, trained / "run", "--settings", tmp_path / "long.json", "--output", tmp_path
    )
    assert re.match("evaluation: length 2000 .*the validation split has 2000", refusal(done))
    assert not (tmp_path / "eval.csv").exists()


def test_a_run_of_other_settings_is_refused_with_the_difference(
    trained: Path, tmp_path: Path
) -> None:
    run = changed_run(trained, tmp_path / "run", learning_rate=2e-3)
    said = refusal(evaluate(trained, run))
    assert "training.learning_rate (0.001 instead of 0.002)" in said


def test_a_model_of_another_run_is_refused(trained: Path, tmp_path: Path) -> None:
    other = changed_run(trained, tmp_path / "other", learning_rate=2e-3)
    assert train(trained, other).returncode == 0
    run = changed_run(trained, tmp_path / "run")
    shutil.copy(other / "model.safetensors", run / "model.safetensors")
    assert f"{run}/model.safetensors: not the file that {run}/run.json describes" in refusal(
        evaluate(trained, run)
    )


@pytest.mark.parametrize(
    "damage", [lambda data: data[:100], lambda _: b"", lambda data: b"\xff" * 64 + data[64:]]
)
def test_a_damaged_model_is_refused(trained: Path, tmp_path: Path, damage) -> None:
    run = changed_run(trained, tmp_path / "run")
    (run / "model.safetensors").write_bytes(damage((run / "model.safetensors").read_bytes()))
    assert "model.safetensors: not the file that" in refusal(evaluate(trained, run))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"model": 1}'])
def test_a_file_that_is_no_frozen_config_is_refused(
    trained: Path, tmp_path: Path, content: str
) -> None:
    (tmp_path / "config.json").write_text(content)
    assert refusal(train(trained, tmp_path)).startswith(f"{tmp_path}/config.json: ")


def test_a_missing_file_is_named(trained: Path, tmp_path: Path) -> None:
    assert refusal(train(trained, tmp_path)) == f"{tmp_path}/config.json: no such file"


def test_the_log_file_holds_what_the_terminal_shows(trained: Path, tmp_path: Path) -> None:
    done = train(trained, tmp_path, "--log", tmp_path / "logs/train.log")
    assert (tmp_path / "logs/train.log").read_text() == done.stderr
    assert "no such file" in done.stderr
