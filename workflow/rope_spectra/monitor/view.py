"""The screen of `python -m rope_spectra.status`, from what status_facts has found: for 80 columns and more, messages wrap."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rope_spectra.monitor.facts import Part
from rope_spectra.runtime.progress import describe, short_duration, short_number

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rope_spectra.monitor.gpu_use import Gpu
    from rope_spectra.status import Experiment, Status

STYLES = {
    "waiting": "dim",
    "running": "bold cyan",
    "done": "green",
    "failed": "bold red",
    "dead": "bold red",
    "stopped": "yellow",
    "silent": "yellow",
}
_DOING = {
    "tokenizer": "making the tokenizer",
    "tokenize_train": "tokenizing",
    "tokenize_val": "tokenizing",
    "memmap_cache": "writing the token cache",
    "sentence": "preparing the retrieval probe",
    "train": "training",
    "evaluate": "evaluating",
    "aggregate": "making the tables",
    "figures": "drawing the figures",
}
_STATE_WIDTH = 9
_OLD_S = 60.0  # a running job whose last sign is older deserves a look
_BAR_WIDTH = 40
_COLUMNS = 80
# rich's own frame names a font on the web; a picture in a repository should need nothing but itself.
_SVG = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>.{unique_id}-matrix {{font-family: monospace; font-size: {char_height}px; line-height: {line_height}px}}
.{unique_id}-title {{font-family: sans-serif; font-size: 18px}}
{styles}</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def screen(status: "Status", live: bool = False, fold: bool = False) -> "RenderableType":
    """All experiments and the GPUs; `fold` puts the finished runs of each into one line, for a low terminal."""
    from rich.console import Group
    from rich.text import Text

    title = f"{status.results} on {status.host} at {time.strftime('%H:%M:%S', time.localtime(status.time))}"
    blocks: list[RenderableType] = [Text(f"{title}; q leaves\n" if live else f"{title}\n", "dim")]
    if status.note:
        blocks.append(Text(f"{status.note}\n", "yellow"))
    for experiment in status.experiments:
        blocks += [*_experiment(experiment, fold), Text()]
    if not status.experiments:
        blocks.append(
            Text(
                f"nothing in {status.results} yet, and no configuration that says what should be\n"
            )
        )
    return Group(*blocks, *_gpus(status.gpus, status.gpu_meaning), _end(status))


def picture(status: "Status") -> str:
    """The screen of a terminal with 80 columns as SVG."""
    import io

    from rich.console import Console
    from rich.terminal_theme import MONOKAI

    console = Console(
        width=_COLUMNS, record=True, file=io.StringIO(), force_terminal=True, highlight=False
    )
    console.print(screen(status))
    return console.export_svg(
        title="python -m rope_spectra.status", theme=MONOKAI, code_format=_SVG, unique_id="status"
    )


def _experiment(experiment: "Experiment", fold: bool) -> "Iterator[RenderableType]":
    from rich.text import Text

    runs = [part for part in experiment.parts if part.kind == "run"]
    counts = Counter(part.state for part in runs)
    tally = ", ".join(f"{counts[state]} {state}" for state in STYLES if counts[state])
    yield Text.assemble(
        (f"{experiment.name}  ", "bold"), f"{experiment.description}: {_runs(len(runs))}, {tally}"
    )
    width = max((len(part.name) for part in experiment.parts), default=0)
    for kind in ("data", "run", "report"):
        parts = [part for part in experiment.parts if part.kind == kind]
        hidden = [part for part in parts if _is_hidden(part, fold)]
        for part in parts:
            if part not in hidden:
                yield from _part(part, width)
        for state in ("done", "waiting"):
            if names := [part.name for part in hidden if part.state == state]:
                yield Text.assemble(_state(state), _runs(len(names)), (_first(names), "dim"))


def _is_hidden(part: Part, fold: bool) -> bool:
    """Runs that have not begun share one line; so do finished ones where the screen is small."""
    return part.kind == "run" and (
        (part.state == "waiting" and part.rule == "train") or (fold and part.state == "done")
    )


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"


def _first(names: list[str]) -> str:
    return f": {', '.join(names[:2])}{' ...' if len(names) > 2 else ''}"


def _part(part: Part, width: int) -> "Iterator[RenderableType]":
    from rich.padding import Padding
    from rich.text import Text

    yield Text.assemble(_state(part.state), f"{part.name:{width}}  {_summary(part)}".rstrip())
    for detail in _details(part):
        yield Padding(detail, (0, 0, 0, _STATE_WIDTH), expand=False)


def _state(state: str) -> tuple[str, str]:
    return state.ljust(_STATE_WIDTH), STYLES[state]


def _summary(part: Part) -> str:
    """A few words beside the name."""
    doing, facts = _DOING[part.rule], part.facts
    if part.state == "done":
        return (
            f"PPL {facts['ppl']:,.2f} at {facts['length']}"
            if "ppl" in facts
            else facts.get("page", _size(facts))
        )
    if part.state == "waiting":
        return "trained, waits for its evaluation" if part.rule == "evaluate" else _size(facts)
    if part.state == "running":
        return ", ".join(filter(None, (doing, _size(facts))))
    return {"silent": "maybe dead, was"}.get(part.state, "while") + f" {doing}"


def _size(facts: dict[str, Any]) -> str:
    from rich.filesize import decimal

    tokens, size = facts.get("tokens"), facts.get("bytes_on_disk")
    parts = [f"{short_number(tokens)} tokens"] if tokens else []
    return ", ".join([*parts, f"{decimal(size)} on disk"] if size else parts)


def _details(part: Part) -> "Iterator[RenderableType]":
    """What a job says about itself, and who says it when."""
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    if part.state in ("done", "waiting") or not (sign := part.sign):
        return
    if "done" in sign:
        if part.state == "running" and sign["total"]:
            yield ProgressBar(
                sign["total"],
                sign["done"],
                width=_BAR_WIDTH,
                complete_style="cyan",
                finished_style="cyan",
            )
        left = sign["left_s"] and max(sign["left_s"] - (part.age_s or 0.0), 0.0)
        yield Text(describe(sign | {"left_s": left if part.state == "running" else None}))
    elif part.state == "running":
        yield Text("starting: no step is done yet")
    if part.error:
        yield (
            Text(part.error, STYLES[part.state])
            if sign["error"]
            else Text(f"last line of its log: {part.error}")
        )
    yield _who(part)
    if part.state != "running":
        yield Text(f"log: {part.log}", "dim")


def _who(part: Part) -> "RenderableType":
    from rich.text import Text

    sign, age = part.sign or {}, part.age_s or 0.0
    who = f"process {sign['pid']} on {sign['host']}"
    if sign.get("device"):
        who += f", {sign['device']}"
    if sign.get("cuda_visible_devices"):
        who += f", CUDA_VISIBLE_DEVICES={sign['cuda_visible_devices']}"
    if part.state in ("failed", "stopped"):
        return Text(f"{short_duration(age)} ago, {who}", "dim")
    gone = " is gone;" if part.state == "dead" else ","
    old = part.state != "running" or age > _OLD_S
    return Text(
        f"{who}{gone} last sign of life {short_duration(age)} ago", "yellow" if old else "dim"
    )


def _gpus(gpus: "list[Gpu]", meaning: str) -> "Iterator[RenderableType]":
    from rich.text import Text

    for gpu in gpus:
        memory = f"{gpu.memory_used_mib / 1024:.1f} of {gpu.memory_total_mib / 1024:.1f} GiB"
        yield Text(f"GPU {gpu.index}  {gpu.use_percent:3d} %  {memory}  {gpu.name}")
    yield Text(meaning, "yellow" if "although" in meaning else "dim")


def _end(status: "Status") -> "RenderableType":
    """What to do now, where somebody has to do something."""
    from rich.text import Text

    states = {part.state for experiment in status.experiments for part in experiment.parts}
    if not states or "running" in states:
        return Text()
    if states == {"done"}:
        return Text("everything is done", "bold")
    if status.snakemake:
        return Text("no job runs at this moment, but Snakemake does")
    return Text("nothing runs here: `snakemake` makes what is missing", "bold")
