"""Mistakes that only sizes show, found before any training: text against lengths, models and disk.

The text is that of a cache, of files or of published data, as far as it is known by now. Imports
nothing heavy, because the Snakefile asks at each start.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from rich.filesize import decimal

from rope_spectra.artifacts import layout
from rope_spectra.config import frozen
from rope_spectra.config.checks import needs
from rope_spectra.config.sections import Config
from rope_spectra.data.base import DataSplit, SplitName
from rope_spectra.planning.estimates import (
    CHECKPOINT_BYTES,
    COMPRESSED,
    MODEL_BYTES,
    split_tokens,
)
from rope_spectra.runtime.errors import UserError


def check(config: Config, results: Path) -> None:
    """Raises UserError, a line for each split of what is built that is too short."""
    lines = list(dict.fromkeys(_too_short(config, results)))
    if lines:
        raise UserError("\n".join(lines))


def remarks(config: Config, results: Path) -> list[str]:
    """Lines about settings that are no mistake and yet hardly meant."""
    lines = [*_nothing_beyond(config), *_without_effect(config), *_full_disk(config, results)]
    return list(dict.fromkeys(lines))


def _too_short(config: Config, results: Path) -> Iterator[str]:
    for name in config.built:
        dataset = config.experiments[name].dataset
        for split in get_args(SplitName):
            need = needs(config, name)[split]
            found = split_tokens(config, dataset, split, results)
            unit, most = "tokens", found.count if found else None
            if found and found.source == "guess":
                unit, most = "bytes", _most_tokens(config.datasets[dataset].split(split))
            if most is not None and most < need.tokens:
                yield (
                    f"datasets.{dataset}.{split}: the text has {most:,} {unit};"
                    f" {need.reason} needs {need.tokens:,} tokens: give more text or lower that"
                )


def _nothing_beyond(config: Config) -> Iterator[str]:
    for name in config.built:
        trained = config.training_of(name).seq_len
        if config.evaluation_of(name).lengths[-1] <= trained:
            preset = config.experiments[name].evaluation
            yield (
                f"evaluation.{preset}.lengths: none is beyond the training length {trained} of"
                f" {name}; nothing that a spectrum does to longer texts is measured"
            )


def _without_effect(config: Config) -> Iterator[str]:
    """Keys that are given, and change nothing next to the others of their preset or experiment."""
    for name in config.built:
        experiment = config.experiments[name]
        evaluation = config.evaluation_of(name)
        preset = f"evaluation.{experiment.evaluation}"
        if "chunks" in evaluation.model_fields_set and "first_chunks" not in evaluation.protocols:
            yield f"{preset}.chunks: has no effect without first_chunks in protocols"
        if config.training_of(name).retrieval_share and not evaluation.retrieval:
            yield (
                f"training.{experiment.training}.retrieval_share: {name} trains retrieval and does"
                f" not measure it; add retrieval to {preset}"
            )


def _full_disk(config: Config, results: Path) -> Iterator[str]:
    """A line where the disk has no room for what the experiments will leave on it."""
    needed = 0
    for name in config.built:
        to_come = _runs_to_come(config, name, results)
        parameters = config.model_of(name).num_parameters
        # A state is written next to the one before.
        checkpoints = 2 * CHECKPOINT_BYTES * parameters if to_come else 0
        needed += to_come * MODEL_BYTES * parameters + checkpoints
    free = free_bytes(results)
    if needed > free:
        yield (
            f"{results}: models and checkpoints need about {decimal(needed)}, and {decimal(free)}"
            " are free; make room, or run fewer experiments"
        )


def _runs_to_come(config: Config, name: str, results: Path) -> int:
    """Runs that have no model yet."""
    count = 0
    for spectrum, seed in frozen.runs(config, name) + frozen.repeats(config, name):
        place = {"experiment": name, "spectrum": spectrum, "seed": seed}
        count += not layout.within(results, layout.RUN.format(**place)).exists()
    return count


def _most_tokens(source: DataSplit) -> int | None:
    """A bound on the tokens of uncompressed files: each has at least a byte."""
    files = source.raw_files()
    if any(file.suffix.lower() in COMPRESSED for file in files):
        return None
    return sum(file.stat().st_size for file in files)


def free_bytes(folder: Path) -> int:
    """The free space where the folder is or will be."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free
