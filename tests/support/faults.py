"""Faults of the system, put into a step by strace: an error or a kill at its N-th rename or fsync.

The steps are those of a dry run of Snakemake, with its very command lines. They run in processes
forked from one that has imported everything, because most of a tiny step is the import of torch.
"""

import multiprocessing
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from support.checkout import PACKAGE

CALLS = ("rename", "renameat", "renameat2", "fsync", "fdatasync", "link", "linkat")
# The file system answers with an error, or the process ends there.
FAULTS = ("error=EIO", "error=ENOSPC", "signal=SIGKILL")
_PRELOADED = [
    *(
        "pytest",
        "torch._dynamo",
        "transformers",
        "scipy.stats",
        "tensorboard.compat.proto.event_pb2",
    ),
    *("matplotlib.pyplot", "matplotlib.backends.backend_svg", "pyarrow.pandas_compat"),
    *(
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for path in sorted(PACKAGE.glob("*/*/[!_]*.py"))
    ),
]
# Prints the arguments of a command line instead of running it.
_SHOW = 'python() { printf "%s\\0" "$@"; }; '


@dataclass(frozen=True)
class Job:
    """A job of Snakemake that runs a step: its rule, the files it writes, its command line."""

    rule: str
    outputs: tuple[Path, ...]
    command: str

    def arguments(self) -> list[str]:
        """The command line as the shell sees it, from the module on; without its redirection."""
        line = _SHOW + self.command.partition(" 2> ")[0]
        shown = subprocess.run(["bash", "-c", line], capture_output=True, check=True)
        return shown.stdout.decode().split("\0")[1:-1]


@dataclass(frozen=True)
class Call:
    """The `number`-th call of that name in a step, from 1; `text` is how strace shows it."""

    name: str
    number: int
    text: str


def jobs(dry_run: str) -> Iterator[Job]:
    """The jobs that `snakemake -n -p` prints, in an order in which they can run."""
    for rule, lines in re.findall(r"^(?:local)?rule (\w+):\n((?:.+\n)+)", dry_run, re.MULTILINE):
        outputs = re.findall(r"^    (?:output|log): (.*)", lines, re.MULTILINE)
        command = re.search("^Shell command: (.*)", lines, re.MULTILINE)
        if command and "python -m rope_spectra." in command[1]:
            yield Job(rule, tuple(map(Path, ", ".join(outputs).split(", "))), command[1])


def remove_outputs(job: Job, folder: Path) -> None:
    """Removes what a job was to make, as Snakemake does after a failure and before a start."""
    for path in job.outputs:
        if (folder / path).is_dir():
            shutil.rmtree(folder / path)
        else:
            (folder / path).unlink(missing_ok=True)


def why_no_faults(folder: Path) -> str:
    """The reason why faults cannot be put into steps here; empty where they can."""
    if not shutil.which("strace"):
        return "strace is not installed"
    command = ["strace", "-o", folder / "trial", "-e", "inject=fsync:error=EIO", "true"]
    done = subprocess.run(command, capture_output=True, text=True)
    return f"strace cannot trace here ({done.stderr.strip()})" if done.returncode else ""


def run(job: Job, folder: Path, *options: str) -> tuple[int, str]:
    """Runs a step in `folder`, under strace with these options if there are any.

    Returns its exit status, negative for a signal, and its messages.
    """
    for path in job.outputs:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    ours, theirs = context.Pipe()
    messages = folder / "messages.txt"
    process = context.Process(target=_step, args=(theirs, job.arguments(), folder, messages))
    process.start()
    if options:
        command = ["strace", "-f", "-y", *options, "-p", str(process.pid)]
        strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        attached = strace.stderr.readline()
        assert "attached" in attached, attached
    ours.send("go")
    process.join()
    if options:
        strace.communicate()
    return process.exitcode, messages.read_text()


def record(job: Job, folder: Path) -> list[Call]:
    """Runs a step to its end; the calls that a fault can hit, in their order."""
    trace = folder / "trace.txt"
    status, messages = run(job, folder, "-o", str(trace), "-e", f"trace={','.join(CALLS)}")
    assert status == 0, messages
    numbers: Counter[tuple[str, str]] = Counter()
    calls = []
    for thread, name, text in re.findall(r"^(\d+) +(\w+)\((.*)$", trace.read_text(), re.MULTILINE):
        numbers[thread, name] += 1
        calls.append(Call(name, numbers[thread, name], text))
    return calls


def run_with_fault(job: Job, folder: Path, call: Call, fault: str) -> tuple[int, str]:
    """Runs a step that meets the fault at that call."""
    at = f"inject={call.name}:{fault}:when={call.number}"
    return run(job, folder, "-o", os.devnull, "-e", f"trace={call.name}", "-e", at)


def _step(gate: Connection, command: list[str], folder: Path, messages: Path) -> None:
    gate.recv()  # until strace is there
    os.chdir(folder)
    with messages.open("wb") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    sys.argv = command
    runpy.run_module(command[0], run_name="__main__")
