"""A whole experiment made in this process in seconds, without Snakemake."""

import logging
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rope_spectra.artifacts import layout, seal
from rope_spectra.config import frozen
from rope_spectra.config.design import Design
from rope_spectra.config.load import load
from rope_spectra.config.sections import Config
from rope_spectra.runtime.settings import Settings

EXPERIMENT = {
    "run": ["small"],
    "experiments": {
        "small": {
            **{"dataset": "toy", "model": "toy", "training": "toy", "evaluation": "toy"},
            **{"spectra": ["geo", "poly"], "seeds": [1, 2], "baseline": "geo"},
        }
    },
    "datasets": {
        "toy": {
            **{"source": "synthetic", "train_tokens": 1500, "validation_tokens": 200},
            "tokenizer": {"train": 2000, "vocab_size": 260},
        }
    },
    "models": {
        "toy": {
            **{"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "head_dim": 8},
            **{"intermediate_size": 8, "vocab_size": 260},
        }
    },
    "training": {
        "toy": {
            **{
                "seq_len": 16,
                "batch_size": 16,
                "learning_rate": 1e-3,
                "precision": "fp32",
                "compile": False,
                "device": "cpu",
            },
        }
    },
    "evaluation": {"toy": {"lengths": [16, 32], "chunks": 2}},
    "spectra": {
        "geo": {"family": "geometric", "theta": 10_000},
        "poly": {"family": "anchored_poly", "theta": 10_000},
    },
}


def step(module: str, *arguments: object) -> tuple[int, list[str]]:
    """Run a step in this process as its command line does; its exit status and its log."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    cli, keep = import_module("rope_spectra.runtime.cli"), Keep()
    cli.log.addHandler(keep)
    try:
        with patch("sys.argv", [module, *map(str, arguments)]):
            cli.run(import_module(f"rope_spectra.{module}").main)
    except SystemExit as end:
        return int(end.code or 0), lines
    finally:
        cli.log.removeHandler(keep)
    return 0, lines


def done(module: str, *arguments: object) -> None:
    status, lines = step(module, *arguments)
    assert status == 0, lines


def freeze(path: Path, settings: Settings | dict[str, Any]) -> Path:
    """Write frozen settings as the rules do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = settings.content() if isinstance(settings, Settings) else settings
    path.write_text(seal.dumps(content) + "\n")
    return path


def folder_of(spectrum: str, seed: int | str) -> Path:
    return layout.fill(layout.RUN, experiment="small", spectrum=spectrum, seed=seed).parent


def make_data(loaded: Config) -> None:
    """Tokenizer, shards and caches, and keep the shards, which Snakemake would delete."""
    path = {
        name: getattr(layout, name)
        for name in ("DATA_CONFIG", "TOKENIZER", "TOKEN_BYTES", "SHARDS", "TOKENS", "MANIFEST")
    }
    places = {name: pattern.replace("{dataset}", "toy") for name, pattern in path.items()}
    for part in ("tokenizer", *layout.SPLITS):
        freeze(
            Path(places["DATA_CONFIG"].format(part=part)), frozen.data_settings(loaded, "toy", part)
        )
    settings = places["DATA_CONFIG"]
    files = ("--output", places["TOKENIZER"], "--token-bytes", places["TOKEN_BYTES"])
    done("tokenizer", "--settings", settings.format(part="tokenizer"), *files)
    for split in layout.SPLITS:
        shards, chosen = places["SHARDS"].format(split=split), settings.format(part=split)
        done(
            "tokenize",
            "--settings",
            chosen,
            "--tokenizer",
            places["TOKENIZER"],
            "--output",
            shards,
            "--shard-tokens",
            700,
        )
        cache = (
            "--output",
            places["TOKENS"].format(split=split),
            "--manifest",
            places["MANIFEST"].format(split=split),
        )
        done("memmap_cache", "--settings", chosen, "--shards", shards, *cache)


def train_arguments(folder: Path) -> list[object]:
    data = ("--tokens", "results/data/toy/train.npy", "--manifest", "results/data/toy/train.json")
    return [
        "--settings",
        folder / "config.json",
        "--options",
        "results/small/options.json",
        *data,
        "--output",
        folder,
        "--threads",
        1,
    ]


def evaluate_arguments(folder: Path) -> list[object]:
    data = (
        "--tokens",
        "results/data/toy/validation.npy",
        "--manifest",
        "results/data/toy/validation.json",
    )
    sizes = ("--token-bytes", "results/data/toy/tokenizer/token_bytes.npy")
    return [
        "--run",
        folder,
        "--settings",
        "results/small/evaluation.json",
        *data,
        *sizes,
        "--threads",
        1,
    ]


def design_file(design: Design) -> Path:
    """experiment.json with that design."""
    return freeze(Path("results/small/experiment.json"), design)


def aggregate_arguments(design: Design) -> list[object]:
    tables = ("--runs", "results/small/runs.csv", "--csv", "results/small/summary.csv")
    return ["--definition", design_file(design), *tables]


def page_arguments(design: Design) -> list[object]:
    files = ("--summary", "results/small/summary.csv", "--output", "results/small/summary.md")
    return ["--definition", design_file(design), *files]


def make_experiment(**changes: object) -> Design:
    """The experiment, some of its keys changed, in results/ of the working directory.

    It is made up to its tables; returned is its design.
    """
    small = EXPERIMENT["experiments"]["small"] | changes
    loaded = load(EXPERIMENT | {"experiments": {"small": small}})
    make_data(loaded)
    freeze(Path("results/small/options.json"), frozen.run_options(loaded, "small"))
    freeze(Path("results/small/evaluation.json"), frozen.evaluation_settings(loaded, "small"))
    for spectrum, seed in frozen.runs(loaded, "small") + frozen.repeats(loaded, "small"):
        folder = folder_of(spectrum, seed)
        freeze(
            folder / "config.json",
            frozen.run_settings(loaded, "small", spectrum, layout.seed_of(str(seed))),
        )
        done("train", *train_arguments(folder))
        done("evaluate", *evaluate_arguments(folder))
    design = frozen.design(loaded, "small")
    done("aggregate", *aggregate_arguments(design))
    return design
