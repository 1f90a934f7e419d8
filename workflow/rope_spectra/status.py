"""A live view of results/, from its files alone: what is being made, how far it is, if it is alive.

    python -m rope_spectra.status           # follows until q or Ctrl-C
    python -m rope_spectra.status --once    # one look; also where the output is no terminal
    python -m rope_spectra.status --json    # for programs

Shows the experiments of `run` in config.yaml (give --configfile and --config as to Snakemake) and
those that results/ holds. Only reads: Snakemake may run anywhere, or have ended.
"""

import argparse
import contextlib
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live

from rope_spectra.artifacts import files
from rope_spectra.config import files as config_files
from rope_spectra.config.sections import Config
from rope_spectra.monitor import facts, view
from rope_spectra.monitor.facts import Status
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError

_EVERY_S = 2.0


def main() -> None:
    parser = cli.parser(__doc__)
    config_files.add_arguments(parser)
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        help="folder to look at (default: %(default)s)",
    )
    parser.add_argument("--once", action="store_true", help="look once and end")
    parser.add_argument("--json", action="store_true", help="look once and write JSON")
    parser.add_argument(
        "--svg",
        type=Path,
        metavar="FILE",
        help="look once and draw the screen, as in docs/status.svg",
    )
    args = cli.parse(parser)
    # The default may be still to come; a folder that somebody names is there.
    if args.results != parser.get_default("results") and not args.results.is_dir():
        raise UserError(f"--results: {args.results}: no such folder; give one with results")
    config, note = _configuration(args)

    def look() -> Status:
        return facts.look(args.results, config, note)

    if args.json:
        print(look().model_dump_json(by_alias=True, indent=2))
    elif args.svg:
        files.write_text(args.svg, view.picture(look()))
    elif args.once or not sys.stdout.isatty():
        Console(highlight=False).print(view.screen(look()))
    else:
        _follow(look)


def _configuration(args: argparse.Namespace) -> tuple[Config | None, str | None]:
    """The configuration, or why there is none.

    A mistake in it should not hide what runs: data may be missing here, an edit be half done.
    """
    if not (config_files.MAIN.is_file() or args.configfile or args.config):
        return None, None
    try:
        return config_files.load(args), None
    except UserError as error:
        mistake = str(error).splitlines()[0]
        return None, f"{mistake} (so this is what {args.results} holds, not what should be there)"


def _fitting(status: Status, console: Console) -> RenderableType:
    """The view, folded if the terminal is too low for all of it."""
    whole = view.screen(status, live=True)
    fits = len(console.render_lines(whole)) < console.height
    return whole if fits else view.screen(status, live=True, fold=True)


def _follow(look: Callable[[], Status]) -> None:
    """Shows the view until somebody leaves; the last look stays on the terminal."""
    console = Console(highlight=False)
    status = look()
    with (
        contextlib.suppress(KeyboardInterrupt),
        _keys() as pressed,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            live.update(_fitting(status, console), refresh=True)
            if pressed(_EVERY_S) == "q":
                break
            status = look()
    console.print(view.screen(status))


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """A function that waits so many seconds for a key and returns it, or nothing.

    The terminal is as before afterwards.
    """

    # Without a terminal there are no keys: select then only waits.
    keyboard = [sys.stdin] if sys.stdin.isatty() else []

    def pressed(seconds: float) -> str:
        readable, _, _ = select.select(keyboard, [], [], seconds)
        return sys.stdin.read(1) if readable else ""

    if not keyboard:
        yield pressed
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)  # a key counts at once, without Enter
    try:
        yield pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


if __name__ == "__main__":
    cli.run(main)
