"""What is being made, how far it is, whether it is alive: a live view of results/, from its files alone.

    python -m rope_spectra.status                  # follows until q or Ctrl-C; Snakemake may run anywhere, or have ended
    python -m rope_spectra.status --once           # one look; the same where the output is no terminal
    python -m rope_spectra.status --json           # for programs

Shows the experiments of `run` in config.yaml (give --configfile and --config as to Snakemake) and those that results/ holds.
Only reads.
"""

import argparse
import contextlib
import json
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rope_spectra.artifacts import files, layout
from rope_spectra.config import files as config_files
from rope_spectra.config import frozen
from rope_spectra.monitor import facts, gpu_use, view
from rope_spectra.monitor.facts import Part
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_EVERY_S = 2.0


@dataclass(frozen=True)
class Experiment:
    """An experiment and the state of its parts: data, runs, tables and figures."""

    name: str
    description: str
    parts: list[Part]


@dataclass(frozen=True)
class Status:
    """One look at a results folder."""

    time: float
    host: str
    results: str
    note: str | None
    experiments: list[Experiment]
    snakemake: bool
    gpus: list[gpu_use.Gpu]
    gpu_meaning: str


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
    settings, note = _configuration(args)
    if args.json:
        print(json.dumps(asdict(look(args.results, settings, note)), indent=2))
    elif args.svg:
        files.write_text(args.svg, view.picture(look(args.results, settings, note)))
    elif args.once or not sys.stdout.isatty():
        _console().print(view.screen(look(args.results, settings, note)))
    else:
        _follow(lambda: look(args.results, settings, note))


def _configuration(args: argparse.Namespace) -> tuple[frozen.Settings | None, str | None]:
    """The configuration; or why there is none, which should not hide what runs: data may be missing here, an edit half done."""
    if not (config_files.MAIN.is_file() or args.configfile or args.config):
        return None, None
    try:
        return config_files.load(args), None
    except UserError as error:
        return (
            None,
            f"{str(error).splitlines()[0]} (so this is what {args.results} holds, not what should be there)",
        )


def look(results: Path, settings: frozen.Settings | None, note: str | None = None) -> Status:
    """The state of everything that the configuration asks for and of what else is there."""
    now, host, found = time.time(), socket.gethostname(), layout.found_runs(results)
    names = [*(settings["run"] if settings else []), *(experiment for experiment, _, _ in found)]
    experiments = [
        _experiment(results, name, settings, found, now) for name in dict.fromkeys(names)
    ]
    gpus = gpu_use.query()
    meaning = gpu_use.meaning(
        gpus, [part for experiment in experiments for part in experiment.parts], host
    )
    return Status(
        now, host, str(results), note, experiments, facts.snakemake_runs(results), gpus, meaning
    )


def _experiment(
    results: Path,
    name: str,
    settings: frozen.Settings | None,
    found: list[tuple[str, str, int]],
    now: float,
) -> Experiment:
    """All parts of an experiment that is configured; of another one the runs that have a folder."""
    if not settings or name not in settings["experiments"]:
        runs = [facts.run_part(results, *run, now) for run in found if run[0] == name]
        return Experiment(
            name, "not in the configuration", [*runs, facts.report_part(results, name, now)]
        )
    definition = settings["experiments"][name]
    dataset = definition["dataset"]
    is_tokenized = settings["datasets"][dataset]["source"] == "tokens"
    parts = [
        *facts.dataset_parts(results, dataset, is_tokenized, now),
        *(facts.run_part(results, name, *run, now) for run in frozen.runs(settings, name)),
        facts.report_part(results, name, now),
    ]
    return Experiment(name, f"{definition['model']} on {dataset}", parts)


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False)


def _fitting(status: Status, console: "Console") -> "RenderableType":
    """The view, folded where the terminal is too low for all of it."""
    whole = view.screen(status, live=True)
    fits = len(console.render_lines(whole)) < console.height
    return whole if fits else view.screen(status, live=True, fold=True)


def _follow(look_again: Callable[[], Status]) -> None:
    """Show the view until somebody leaves; the last look stays on the terminal."""
    from rich.live import Live

    console = _console()
    status = look_again()
    with (
        contextlib.suppress(KeyboardInterrupt),
        _keys() as pressed,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            live.update(_fitting(status, console), refresh=True)
            if pressed(_EVERY_S) == "q":
                break
            status = look_again()
    console.print(view.screen(status))


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """A function that waits so many seconds for a key and returns it, or nothing; the terminal is as before afterwards."""
    if not sys.stdin.isatty():
        yield lambda seconds: time.sleep(seconds) or ""
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield (
            lambda seconds: (
                sys.stdin.read(1) if select.select([sys.stdin], [], [], seconds)[0] else ""
            )
        )
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


if __name__ == "__main__":
    cli.run(main)
