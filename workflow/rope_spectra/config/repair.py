"""Frozen settings that a crash has emptied or torn, written again as they were.

Snakemake takes a file that exists for a file that is done. Those of older versions were written by
the shell, and a power cut could leave them empty.
"""

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import get_args

from rope_spectra.artifacts import layout, seal
from rope_spectra.config import frozen, parts
from rope_spectra.config.sections import Config
from rope_spectra.runtime.settings import Settings


def repair(config: Config) -> list[Path]:
    """Writes the empty and torn frozen files of this configuration again; returns their paths.

    They keep their time stamps, so that nothing else is made again because of them.
    """
    repaired = []
    for name, settings in _frozen_files(config):
        path = Path(name)
        if not _is_torn(path):
            continue
        modified_ns = path.stat().st_mtime_ns
        seal.freeze(path, settings().content())
        os.utime(path, ns=(modified_ns, modified_ns))
        repaired.append(path)
    return repaired


def _is_torn(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return False


def _frozen_files(config: Config) -> Iterator[tuple[str, Callable[[], Settings]]]:
    """Every frozen file that this configuration may have, with what makes its settings."""
    for dataset in config.datasets:
        for part in get_args(frozen.DataPart):
            path = layout.DATA_CONFIG.format(dataset=dataset, part=part)
            yield path, partial(frozen.data_settings, config, dataset, part)
    for name in config.experiments:
        yield layout.OPTIONS.format(experiment=name), partial(frozen.run_options, config, name)
        yield (
            layout.EVALUATION_CONFIG.format(experiment=name),
            partial(frozen.evaluation_settings, config, name),
        )
        proposed = frozen.proposed(config, name)
        # What has a place for a candidate follows from candidates.json: the plan makes it again.
        if proposed:
            yield layout.SEARCH_STEP.format(experiment=name), partial(parts.step, config, name)
        else:
            yield layout.EXPERIMENT.format(experiment=name), partial(frozen.design, config, name)
        for spectrum, seed in frozen.runs(config, name) + frozen.repeats(config, name):
            if spectrum in proposed:
                continue
            yield (
                layout.RUN_CONFIG.format(experiment=name, spectrum=spectrum, seed=seed),
                partial(frozen.run_settings, config, name, spectrum, layout.seed_of(str(seed))),
            )
