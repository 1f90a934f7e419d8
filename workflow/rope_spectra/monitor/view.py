"""The screen of `python -m rope_spectra.status`: for 80 columns and more, messages wrap."""

import io
import re
import time
from collections import Counter
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.terminal_theme import MONOKAI
from rich.text import Text

from rope_spectra.monitor.facts import Experiment, Status
from rope_spectra.monitor.gpu_use import Gpu
from rope_spectra.monitor.state import Facts, Part, State
from rope_spectra.runtime.heartbeat import Heartbeat, Position
from rope_spectra.runtime.progress import describe, short_duration, short_number

STYLES: dict[State, str] = {
    "waiting": "dim",
    "running": "bold cyan",
    "done": "green",
    "failed": "bold red",
    "dead": "bold red",
    "stopped": "yellow",
    "stale": "yellow",
}
_DOING = {
    "tokenizer": "making the tokenizer",
    "tokenize_train": "tokenizing",
    "tokenize_val": "tokenizing",
    "memmap_cache": "writing the token cache",
    "propose": "choosing the candidates",
    "train": "training",
    "evaluate": "evaluating",
    "aggregate": "making the tables",
    "page": "writing the page",
    "figures": "drawing the figures",
    "best": "writing the best spectrum",
    "course": "writing the page",
}
_STATE_WIDTH = 9
_OLD_S = 60.0  # a running job with an older heartbeat deserves a look
_BAR_WIDTH = 40
_MUCH = 10**9  # bytes without a use that are worth a line


def screen(status: Status, live: bool = False, fold: bool = False) -> RenderableType:
    """All experiments and the GPUs.

    `live` says how to leave; `fold` puts the finished runs of each experiment into one line, for a
    low terminal.
    """
    clock = time.strftime("%H:%M:%S", time.localtime(status.time))
    title = f"{status.results} on {status.host} at {clock}"
    blocks: list[RenderableType] = [Text(f"{title}; q leaves\n" if live else f"{title}\n", "dim")]
    if status.note:
        blocks.append(Text(f"{status.note}\n", "yellow"))
    for experiment in status.experiments:
        blocks += [*_experiment(experiment, fold), Text()]
    if not status.experiments:
        nothing = f"nothing in {status.results} yet, and no configuration that says what should be"
        blocks.append(Text(f"{nothing}\n"))
    if status.leftover_bytes >= _MUCH:
        size = decimal(status.leftover_bytes)
        blocks.append(
            Text(f"{size} are of kept results that no experiment has: rope-spectra kept\n")
        )
    return Group(*blocks, *_gpus(status.gpus, status.gpu_meaning), _next_step(status))


def picture(status: Status) -> str:
    """The screen of a terminal with 80 columns as SVG."""
    console = Console(
        width=80, record=True, file=io.StringIO(), force_terminal=True, highlight=False
    )
    console.print(screen(status))
    svg = console.export_svg(
        title="python -m rope_spectra.status", theme=MONOKAI, unique_id="status"
    )
    # rich names a font on the web; a picture in a repository should need nothing but itself.
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def _experiment(experiment: Experiment, fold: bool) -> Iterator[RenderableType]:
    runs = [part for part in experiment.parts if part.kind == "run"]
    counts = Counter(part.state for part in runs)
    tally = ", ".join(f"{counts[state]} {state}" for state in STYLES if counts[state])
    summary = f"{experiment.description}: {_runs(len(runs))}, {tally}"
    yield Text.assemble((f"{experiment.name}  ", "bold"), summary)
    width = max((len(part.name) for part in experiment.parts), default=0)
    # Runs that have not begun share one line; so do finished ones where the screen is small.
    hidden: dict[State, list[str]] = {"done": [], "waiting": []}
    for kind in ("data", "run", "report"):
        for part in [part for part in experiment.parts if part.kind == kind]:
            has_not_begun = part.state == "waiting" and part.rule == "train"
            if has_not_begun or (fold and kind == "run" and part.state == "done"):
                hidden[part.state].append(part.name)
            else:
                yield from _part(part, width)
        if kind == "run":
            yield from _hidden(hidden)


def _hidden(names_by_state: dict[State, list[str]]) -> Iterator[RenderableType]:
    """A line for the hidden runs of each state, with the first names."""
    for state, names in names_by_state.items():
        if names:
            more = " ..." if len(names) > 2 else ""
            first = (f": {', '.join(names[:2])}{more}", "dim")
            yield Text.assemble(_state(state), _runs(len(names)), first)


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"


def _part(part: Part, width: int) -> Iterator[RenderableType]:
    yield Text.assemble(_state(part.state), f"{part.name:{width}}  {_summary(part)}".rstrip())
    for detail in _details(part):
        yield Padding(detail, (0, 0, 0, _STATE_WIDTH), expand=False)


def _state(state: State) -> tuple[str, str]:
    return state.ljust(_STATE_WIDTH), STYLES[state]


def _summary(part: Part) -> str:
    """A few words next to the name."""
    doing = _DOING[part.rule]
    facts = part.facts
    size = _size(facts)
    match part.state:
        case "done":
            if "ppl" in facts:
                return f"PPL {facts['ppl']:,.2f} at {facts['length']}"
            return facts.get("page", size)
        case "waiting":
            return "trained, waits for its evaluation" if part.rule == "evaluate" else size
        case "running":
            return f"{doing}, {size}" if size else doing
        case "stale":
            return f"maybe dead, was {doing}"
    return f"while {doing}"


def _size(facts: Facts) -> str:
    parts = []
    if facts.get("tokens"):
        parts.append(f"{short_number(facts['tokens'])} tokens")
    if facts.get("bytes_on_disk"):
        parts.append(f"{decimal(facts['bytes_on_disk'])} on disk")
    return ", ".join(parts)


def _details(part: Part) -> Iterator[RenderableType]:
    """The lines about a job: its own words, and the age of its heartbeat."""
    beat = part.heartbeat
    if beat is None or part.state in ("done", "waiting"):
        return
    if beat.position:
        yield from _position(part, beat.position)
    elif part.state == "running":
        yield Text("starting: no step is done yet")
    if part.error and beat.error:
        yield Text(part.error, STYLES[part.state])
    elif part.error:
        yield Text(f"last line of its log: {part.error}")
    yield _process(part, beat)
    if part.state != "running":
        yield Text(f"log: {part.log}", "dim")


def _position(part: Part, position: Position) -> Iterator[RenderableType]:
    """The position of a job: as a bar if it runs and its end is known, and in words."""
    is_running = part.state == "running"
    if is_running and position.total:
        yield ProgressBar(
            position.total,
            position.done,
            width=_BAR_WIDTH,
            complete_style="cyan",
            finished_style="cyan",
        )
    left_s = None
    if is_running and position.left_s is not None:
        # Some of it has passed since the heartbeat.
        left_s = max(position.left_s - (part.age_s or 0.0), 0.0)
    yield Text(describe(position.model_copy(update={"left_s": left_s})))


def _process(part: Part, beat: Heartbeat) -> RenderableType:
    """The process that does the job, and the age of its heartbeat."""
    age = part.age_s or 0.0
    process = f"process {beat.pid} on {beat.host}"
    if beat.device:
        process += f", {beat.device}"
    if beat.cuda_visible_devices:
        process += f", CUDA_VISIBLE_DEVICES={beat.cuda_visible_devices}"
    if part.state in ("failed", "stopped"):
        return Text(f"{short_duration(age)} ago, {process}", "dim")
    gone = " is gone;" if part.state == "dead" else ","
    is_old = part.state != "running" or age > _OLD_S
    words_of_age = f"last heartbeat {short_duration(age)} ago"
    return Text(f"{process}{gone} {words_of_age}", "yellow" if is_old else "dim")


def _gpus(gpus: list[Gpu], meaning: str) -> Iterator[RenderableType]:
    for gpu in gpus:
        memory = f"{gpu.memory_used_mib / 1024:.1f} of {gpu.memory_total_mib / 1024:.1f} GiB"
        yield Text(f"GPU {gpu.index}  {gpu.use_percent:3d} %  {memory}  {gpu.name}")
    yield Text(meaning, "yellow" if "although" in meaning else "dim")


def _next_step(status: Status) -> RenderableType:
    """The next step, if somebody has to do something."""
    states = {part.state for experiment in status.experiments for part in experiment.parts}
    if not states or "running" in states:
        return Text()
    if states == {"done"}:
        return Text("everything is done", "bold")
    if status.snakemake:
        return Text("no job runs at this moment, but Snakemake does")
    return Text("nothing runs here: `snakemake` makes what is missing", "bold")
