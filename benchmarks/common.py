"""The common parts of the benchmarks: sides measured in turn, medians and ratios, JSON, a table.

A side is a function that does the work once and returns what it measured, as
{"tokens_per_s": 1.2e6, "peak_bytes": 3e9}. The first side given to `compare` is the plain one.
Ratios are to it, taken round by round, so that what slows the whole machine down for a while slows
both sides of a ratio. Needs nothing but the standard library and rope_spectra.artifacts.provenance.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rope_spectra.artifacts import provenance

RESULTS = Path(__file__).parent / "results"

Figures = Mapping[str, float]
Side = Callable[[], Figures]


def parser(doc: str | None, name: str, rounds: int | None = None) -> argparse.ArgumentParser:
    """The parser of a benchmark: --output, and where sides take turns --rounds with its default."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--output",
        type=Path,
        help=f"where to write the JSON (default: benchmarks/results/{name}.json)",
    )
    if rounds is not None:
        made.add_argument(
            "--rounds",
            type=int,
            default=rounds,
            help="rounds in which each side runs once (default: %(default)s)",
        )
    return made


def compare(sides: Mapping[str, Side], rounds: int) -> dict[str, Any]:
    """Runs all sides in turn, `rounds` times, each round beginning with another side.

    Returns by side {"median", "least", "most", "ratio": figures} and the figures of every round.
    ratio is the median over rounds of figure / plain figure, absent where the plain side, which is
    the first one, has no such figure, or 0.
    """
    names = list(sides)
    measured: dict[str, list[Figures]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            measured[name].append(sides[name]())
            print(
                f"round {turn + 1} of {rounds}: {name}: {in_words(measured[name][-1])}",
                file=sys.stderr,
                flush=True,
            )
    return {name: _summary(measured[name], measured[names[0]]) for name in names}


def _summary(rounds: Sequence[Figures], plain: Sequence[Figures]) -> dict[str, Any]:
    def over_rounds(function: Callable[[list[float]], float]) -> dict[str, float]:
        return {key: function([figures[key] for figures in rounds]) for key in rounds[0]}

    ratio = {
        key: statistics.median(
            figures[key] / base[key] for figures, base in zip(rounds, plain, strict=True)
        )
        for key in rounds[0]
        if all(base.get(key) for base in plain)
    }
    least, most = over_rounds(min), over_rounds(max)
    return {
        "median": over_rounds(statistics.median),
        "least": least,
        "most": most,
        "ratio": ratio,
        "rounds": list(rounds),
    }


def measure_command(command: Sequence[str | Path], **options: Any) -> dict[str, float]:
    """Runs a command to its end: {"wall_s", "cpu_s"}, the latter with all processes it waited for.

    Options are those of subprocess.run. Raises RuntimeError with the end of its output if the
    command fails.
    """
    before = _children_cpu_s()
    began = time.perf_counter()
    done = subprocess.run(
        [*map(str, command)], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
    )
    wall_s = time.perf_counter() - began
    if done.returncode:
        text = " ".join(map(str, command))
        raise RuntimeError(f"{text} ended with status {done.returncode}:\n{done.stdout[-3000:]}")
    return {"wall_s": wall_s, "cpu_s": _children_cpu_s() - before}


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def machine() -> dict[str, Any]:
    """The causes of a figure besides the code: processor, cores granted, load, software.

    GPUs only if torch has been imported.
    """
    # The cores that this process may use, where the system can say so; macOS cannot.
    can_tell = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if can_tell else os.cpu_count()
    facts = {
        "processor": _processor(),
        "isa": _isa(),
        "cores": cores,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "versions": provenance.versions(),
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        facts["gpus"] = [
            torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())
        ]
    return facts


def machine_in_words() -> str:
    """The machine as a cell of a table: processor, widest instructions, cores, load, torch."""
    facts = machine()
    return (
        f"{facts['processor']}, {facts['isa']}, {facts['cores']} cores,"
        f" load {facts['load_average']:.1f}, torch {facts['versions']['torch']}"
    )


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first core; empty elsewhere."""
    try:
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except FileNotFoundError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _processor() -> str:
    """Its name, with the numbers that tell its generation where the name does not."""
    facts = _cpuinfo()
    name = facts.get("model name", platform.processor() or platform.machine())
    if "cpu family" not in facts:
        return name
    return f"{name} (family {facts['cpu family']}, model {facts['model']})"


def _isa() -> str:
    """The instructions that decide the speed of products: the widest of those there are."""
    flags = _cpuinfo().get("flags", "").split()
    widest_first = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")
    return next((name for name in widest_first if name in flags), platform.machine())


def publish(
    name: str, settings: Mapping[str, Any], results: Mapping[str, Any], output: Path | None = None
) -> Path:
    """Writes the results, with the machine they are of, to `output` (results/<name>.json here)."""
    path = output or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"benchmark": name, "settings": settings, "machine": machine(), "results": results}
    path.write_text(json.dumps(content, indent=2, default=str) + "\n")
    return path


def table(
    results: Mapping[str, Mapping[str, Any]],
    columns: Mapping[str, str],
    ratios: Mapping[str, str] | None = None,
) -> str:
    """The results of `compare` as a Markdown table.

    It has the medians of `columns` and the ratios of `ratios`, each {figure: heading}.
    """
    ratios = ratios or {}
    rows = [["side", *columns.values(), *ratios.values()]]
    for name, side in results.items():
        row = [name]
        for key in columns:
            row.append(number(side["median"].get(key)))
        for key in ratios:
            row.append(f"{side['ratio'][key]:.2f}x" if key in side["ratio"] else "")
        rows.append(row)
    return markdown(rows)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table, numbers to the right; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    aligned = []
    for first, *others in rows:
        numbers = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        aligned.append([first.ljust(widths[0]), *numbers])
    return "\n".join(f"| {' | '.join(row)} |" for row in [aligned[0], rule, *aligned[1:]])


def append_rows(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Appends rows, with the machine in front, to results/table.md here; returns them as Markdown.

    The file collects the runs of several days, and of several machines if it is copied to them.
    """
    path = RESULTS / "table.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    machine_now = machine_in_words()
    text = markdown([["machine", *heading], *([machine_now, *row] for row in rows)]) + "\n"
    lines = text.splitlines(keepends=True)
    with path.open("a") as file:
        file.writelines(lines if path.stat().st_size == 0 else lines[2:])
    return text


def number(value: float | None) -> str:
    """Three significant digits, with commas where there are thousands; nothing for None."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def in_words(figures: Figures) -> str:
    """One line of figures for the terminal."""
    return ", ".join(f"{key} {number(value)}" for key, value in figures.items())
