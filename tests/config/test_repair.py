"""Frozen files that a power cut has emptied or torn are written again; all others stay."""

import os
from pathlib import Path

import pytest

from rope_spectra.artifacts import layout, seal
from rope_spectra.config import frozen
from rope_spectra.config.load import load
from rope_spectra.config.repair import repair
from support.configs import GOOD


def frozen_files() -> dict[str, str]:
    """One file of each kind with its content."""
    config = load(GOOD)
    run = {"experiment": "demo", "spectrum": "hybrid", "seed": 42}
    settings = {
        layout.DATA_CONFIG.format(dataset="toy", part="train"): frozen.data_settings(
            config, "toy", "train"
        ),
        layout.DATA_CONFIG.format(dataset="raw", part="validation"): frozen.data_settings(
            config, "raw", "validation"
        ),
        layout.OPTIONS.format(**run): frozen.run_options(config, "demo"),
        layout.EVALUATION_CONFIG.format(**run): frozen.evaluation_settings(config, "demo"),
        layout.EXPERIMENT.format(**run): frozen.design(config, "demo"),
        layout.RUN_CONFIG.format(**run): frozen.run_settings(config, **run),
    }
    return {path: f"{seal.dumps(content.content())}\n" for path, content in settings.items()}


@pytest.mark.parametrize(
    "damage",
    [lambda text: text[:0], lambda text: text[:-3], lambda text: bytes(len(text))],
    ids=["empty", "without its end", "zeros"],
)
def test_a_torn_file_is_as_it_was_with_its_time(files: Path, damage) -> None:
    expected = frozen_files()
    for path, text in expected.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(damage(text.encode()))
        os.utime(path, ns=(1_000_000_000, 1_000_000_000))
    assert sorted(map(str, repair(load(GOOD)))) == sorted(expected)
    assert {path: Path(path).read_text() for path in expected} == expected
    assert {Path(path).stat().st_mtime_ns for path in expected} == {1_000_000_000}
    assert repair(load(GOOD)) == []


def test_whole_files_and_those_of_other_experiments_stay(files: Path) -> None:
    options = Path("results/demo/options.json")
    gone = Path("results/gone/options.json")
    for path, text in ((options, '{"log_every": 7}\n'), (gone, "")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert repair(load(GOOD)) == []
    assert options.read_text() == '{"log_every": 7}\n'
    assert gone.read_text() == ""
    assert not Path("results/demo/evaluation.json").exists()
