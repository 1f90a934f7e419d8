"""The configuration for commands that run without Snakemake.

It is merged as Snakemake does: config.yaml, then --configfile, then --config.
"""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from yaml import BaseLoader

from rope_spectra.config import text as config_text
from rope_spectra.config.load import load as load_config
from rope_spectra.config.sections import Config
from rope_spectra.config.text import SafeLoader
from rope_spectra.runtime.errors import UserError

MAIN = Path("config.yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Snakemake's own options: --configfile FILE ... and --config KEY=VALUE ..."""
    parser.add_argument(
        "--configfile",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="files that add to config.yaml or override parts of it",
    )
    parser.add_argument(
        "--config",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="override single keys, such as run=350m_final",
    )


def load(arguments: argparse.Namespace, reads_text: bool = True) -> Config:
    """The configuration that the arguments name, checked and completed.

    Without `reads_text` the files of text need not be there. Raises UserError with one line per
    mistake.
    """
    return read([MAIN, *arguments.configfile], arguments.config, reads_text)


def read(paths: list[Path], overrides: Iterable[str] = (), reads_text: bool = True) -> Config:
    """The configuration of these files, then of entries KEY=VALUE; later ones win.

    Raises UserError as `load`.
    """
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise UserError(
            f"{missing[0]}: no such file; run this in the folder of config.yaml, or"
            " correct --configfile"
        )
    config_text.check(paths)
    merged: dict[str, Any] = {}
    for path in paths:
        merge(merged, _mapping(path))
    typed: dict[str, Any] = {}
    for entry in overrides:
        merge(typed, _override(entry))
    merge(merged, typed)
    return load_config(merged, typed, reads_text)


def merge(config: dict[str, Any], above: Mapping[str, Any]) -> None:
    """Lays settings over `config` as Snakemake's update_config does: mapping into mapping.

    Without Snakemake, which takes longer to import than all else here and is not everywhere.
    """
    for key, value in above.items():
        if isinstance(value, Mapping):
            below = config.get(key)
            config[key] = {**below} if isinstance(below, Mapping) else {}
            merge(config[key], value)
        else:
            config[key] = value


def _mapping(path: Path) -> dict[str, Any]:
    value = yaml.load(path.read_bytes(), Loader=SafeLoader)
    if not isinstance(value, dict):
        raise UserError(f"{path}: should be keys with values, as config.yaml is")
    return value


def _override(entry: str) -> dict[str, Any]:
    """An entry of --config, its values as text, as Snakemake reads it."""
    key, separator, text = entry.partition("=")
    if not separator:
        raise UserError(f"--config {entry}: should be KEY=VALUE, such as run=demo")
    try:
        mistakes = list(config_text.hostile(text))
        value = None if mistakes else yaml.load(text, Loader=BaseLoader)
    except (yaml.YAMLError, ValueError):
        raise UserError(f"--config {entry}: the value is not valid YAML") from None
    if mistakes:
        raise UserError(f"--config {key}: line {mistakes[0]}")
    return {key: value}
