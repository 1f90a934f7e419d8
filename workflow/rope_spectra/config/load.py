"""config.yaml, checked and completed.

`load` reports every mistake as one line that names its key and the remedy.
Imports nothing heavy, because the Snakefile is read anew for every job.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from rope_spectra.config import checks, search_checks
from rope_spectra.config.parts import with_parts
from rope_spectra.config.sections import Config
from rope_spectra.config.text import read_value
from rope_spectra.runtime import messages
from rope_spectra.runtime.errors import UserError


def load(
    raw: Mapping[str, Any], typed: Mapping[str, Any] | None = None, reads_text: bool = True
) -> Config:
    """The configuration with its defaults filled in.

    `raw` is what Snakemake has merged of config.yaml, --configfile and --config; `typed` is the
    part from --config, in which all nested values are text. Without `reads_text` the files of
    text need not be there.

    Raises UserError with one line per mistake.
    """
    content = plain(raw)
    if "run" in content:
        content["run"] = _names(content["run"])
    try:
        config = _validated(content, plain(typed or {}))
    except ValidationError as error:
        raise UserError("\n".join(messages.in_words(Config, error))) from None
    for check in (checks.references, search_checks.references, search_checks.consistency):
        _stop_at(check(config))
    config = with_parts(config)
    _stop_at(checks.consistency(config))
    if reads_text:
        _stop_at(checks.files(config))
    return config


def _validated(content: dict[str, Any], typed: Mapping[str, Any]) -> Config:
    """The configuration, where typed text is a number or truth value if the models want no text."""
    texts = set(_texts(typed, ()))
    for path in texts:
        # That a name may be meant by it is less likely.
        if _at(content, path) in ("null", "~"):
            _at(content, path[:-1])[path[-1]] = None
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        wrong = messages.places(Config, error)
    for path in texts & wrong:
        text = _at(content, path)
        if isinstance(text, str):
            _at(content, path[:-1])[path[-1]] = plain(read_value(text))
    return Config.model_validate(content)


def _at(content: Any, path: Iterable[str | int]) -> Any:
    for key in path:
        content = content[key]
    return content


def _texts(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """The places of all texts."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))


def _stop_at(mistakes: Iterable[str]) -> None:
    lines = list(dict.fromkeys(mistakes))
    if lines:
        raise UserError("\n".join(lines))


def plain(value: Any) -> Any:
    """A copy with text keys and canonical numbers.

    YAML reads a name such as 350 as a number, and 10000.0 is the same number as 10000.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _names(run: Any) -> Any:
    """`run` as a list, also from `--config run=a,b`, which arrives as text."""
    if isinstance(run, str):
        return [name.strip() for name in run.split(",") if name.strip()]
    return [] if run is None else run
