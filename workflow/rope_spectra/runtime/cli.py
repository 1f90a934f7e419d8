"""The command line that all commands share: --log, a heartbeat, and errors of one line.

A command ends with `if __name__ == "__main__": cli.run(main)`; it builds its arguments with
`cli.parser(__doc__)` and reads them with `cli.parse(parser)`.
"""

import argparse
import atexit
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from rope_spectra.runtime import heartbeat
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.foreign import printable
from rope_spectra.runtime.rank import is_main_process

log = logging.getLogger("rope_spectra")

# Set in the environment of jobs whose workflow shows one screen for all of them. Their messages
# then go to their logs alone, except warnings: the workflow itself reports their errors.
QUIET = "ROPE_SPECTRA_QUIET"


class _Printable(logging.Formatter):
    """Escapes control characters, which messages may quote from a file."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def parser(doc: str | None) -> argparse.ArgumentParser:
    """An argument parser that shows the module's docstring and knows --log."""
    result = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument(
        "--log", type=Path, metavar="FILE", help="write the messages to this file as well"
    )
    return result


def add_paths(parser: argparse.ArgumentParser, required: bool = True, **helps: str) -> None:
    """Adds options that take a path: `token_bytes="..."` is --token-bytes with that help."""
    for name, text in helps.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=Path, required=required, help=text)


def parse(
    parser: argparse.ArgumentParser, arguments: list[str] | None = None
) -> argparse.Namespace:
    """Parses the command line and starts logging to the terminal.

    With --log the messages also go to that file, and the heartbeat begins next to it.
    """
    result = parser.parse_args(arguments)
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if result.log:
        result.log.parent.mkdir(parents=True, exist_ok=True)
        if os.environ.get(QUIET):
            handlers[0].addFilter(lambda record: record.levelno == logging.WARNING)
        handlers.append(logging.FileHandler(result.log, encoding="utf-8"))
        heartbeat.begin(result.log)
    formatter = _Printable("%(asctime)s %(message)s", "%H:%M:%S")
    for handler in handlers:
        handler.setFormatter(formatter)
    # The ranks of one run do the same at the same time: one speaks for all, unless it fails.
    logging.basicConfig(
        level=logging.INFO if is_main_process() else logging.ERROR,
        handlers=handlers,
        force=True,
    )
    return result


def run(main: Callable[[], None]) -> None:
    """Runs a command; a user's mistake or a failing disk ends it with one line and status 1."""
    # At its end Python looks for garbage once more. Among all that torch has loaded there is none,
    # and the search took 0.5 s of CPU.
    atexit.register(gc.freeze)
    try:
        with heartbeat.ending_with_block():
            _with_short_errors(main)
    except KeyboardInterrupt:
        # What a shell reports of a program that Ctrl-C has ended; no traceback.
        sys.exit(128 + signal.SIGINT)


def _with_short_errors(main: Callable[[], None]) -> None:
    try:
        main()
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        # Without a file and a reason from the system it is no failing disk but a defect: a
        # traceback says more.
        if error.errno is None or (error.filename is None and not error.strerror):
            raise
        _fail(f"{error.filename or 'output'}: {error.strerror}")


def _fail(message: str) -> None:
    log.error("error: %s", message)
    heartbeat.end("failed", message)
    sys.exit(1)
