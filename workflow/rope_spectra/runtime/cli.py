"""What the command line of every step has in common: a log file beside the terminal, signs of life, one-line errors.

A step module ends with `if __name__ == "__main__": cli.run(main)`; its `main` builds its arguments with
`cli.parser(__doc__)` and reads them with `cli.parse(parser)`.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from rope_spectra.runtime import heartbeat
from rope_spectra.runtime.errors import UserError

log = logging.getLogger("rope_spectra")


def parser(doc: str | None) -> argparse.ArgumentParser:
    """An argument parser that shows the module's docstring and knows --log."""
    result = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument(
        "--log", type=Path, metavar="FILE", help="write the messages to this file as well"
    )
    return result


def parse(
    parser: argparse.ArgumentParser, arguments: list[str] | None = None
) -> argparse.Namespace:
    """Parse the command line and start logging to the terminal and, if asked, to a file with signs of life beside it."""
    result = parser.parse_args(arguments)
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if result.log:
        result.log.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(result.log, encoding="utf-8"))
        heartbeat.begin(result.log)
    level = (
        logging.INFO if os.environ.get("RANK", "0") == "0" else logging.ERROR
    )  # of several ranks one speaks for all
    logging.basicConfig(
        level=level,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=handlers,
        force=True,
    )
    return result


def run(main: Callable[[], None]) -> None:
    """Run a step; a user's mistake or a failing disk ends it with one line and status 1, not a traceback."""
    try:
        with heartbeat.until_the_end():
            _guarded(main)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _guarded(main: Callable[[], None]) -> None:
    try:
        main()
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno is None or (error.filename is None and not error.strerror):
            raise
        _fail(f"{error.filename or 'output'}: {error.strerror}")


def _fail(message: str) -> None:
    log.error("error: %s", message)
    heartbeat.end("failed", message)
    sys.exit(1)
