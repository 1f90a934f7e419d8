"""Says what an experiment will take before it runs: tokens, FLOP, disk, memory and hours.

    python -m rope_spectra.cost                                  # what `run` in config.yaml names
    python -m rope_spectra.cost --config run=350m_final --gpu a100
    python -m rope_spectra.cost --config run=350m_final --throughput 120000 --json

All of it follows from the configuration. Hours are for one GPU that does one run after the other.
Next to each number stands how it is known.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from rope_spectra.config import files
from rope_spectra.config.sections import Config
from rope_spectra.data.base import SplitName
from rope_spectra.planning import estimates, prospects
from rope_spectra.planning.estimates import Estimate, Throughput, Tokens
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.foreign import printable

_HOW = {
    "cache": "as in its cache",
    "generated": "generated",
    "count": "counted in the published data",
    "file": "by the size of its file",
    "budget": "its budget, fewer if the text ends first",
    "guess": "a guess, a quarter of its bytes",
}


def main() -> None:
    parser = cli.parser(__doc__)
    files.add_arguments(parser)
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="where caches and runs may be already"
    )
    parser.add_argument(
        "--gpu",
        choices=estimates.GPUS,
        nargs="+",
        default=estimates.GPUS,
        help="GPUs to give hours for",
    )
    parser.add_argument(
        "--throughput",
        type=float,
        metavar="TOK_PER_S",
        help="training tokens/s of a device of yours",
    )
    parser.add_argument("--json", action="store_true", help="write JSON")
    args = cli.parse(parser)
    if args.throughput is not None and not args.throughput > 0:
        raise UserError(f"--throughput: {args.throughput} should be above 0")
    config = files.load(args)
    prospects.check(config, args.results)
    for line in prospects.remarks(config, args.results):
        cli.log.warning("%s", line)
    items = [_estimate(config, name, args.results) for name in config.built]
    times = [(item, _throughputs(config, item, args)) for item in items]
    if args.json:
        print(json.dumps([_as_json(*item) for item in times], indent=2))
    else:
        _show(times, args.results)


def _estimate(config: Config, experiment: str, results: Path) -> Estimate:
    dataset = config.experiments[experiment].dataset

    def tokens(split: SplitName) -> Tokens:
        found = estimates.split_tokens(config, dataset, split, results)
        if found is None:
            remedy = "give a number; only tokenizing the text would tell how long it is"
            raise UserError(f"datasets.{dataset}.{split}_tokens: {remedy}")
        return found

    return estimates.estimate(config, experiment, tokens("train"), tokens("validation"))


def _throughputs(config: Config, item: Estimate, args: argparse.Namespace) -> list[Throughput]:
    """The devices to give hours for: by --throughput, of earlier runs, and the known GPUs."""
    found: list[Throughput | None] = []
    if args.throughput:
        found.append(Throughput("given", args.throughput, "given by --throughput"))
    found.append(estimates.measured(args.results, config, item.experiment))
    found += [estimates.on_gpu(gpu, item.parameters, item.flop_per_token) for gpu in args.gpu]
    return [throughput for throughput in found if throughput]


def _as_json(item: Estimate, throughputs: list[Throughput]) -> dict[str, object]:
    times = []
    for throughput in throughputs:
        times.append(asdict(throughput) | {"hours": estimates.hours(item, throughput)})
    return asdict(item) | {"throughputs": times}


def _show(times: list[tuple[Estimate, list[Throughput]]], results: Path) -> None:
    console = Console(highlight=False)
    for item, throughputs in times:
        what = f"{item.model} on {item.dataset}, {_runs(item)}"
        console.print(f"[bold]{item.experiment}[/bold]  {what}")
        console.print(_facts(item))
        console.print(_hours(item, throughputs))
        console.print()
    # Experiments share the caches of a dataset.
    caches = {item.dataset: item.cache_bytes for item, _ in times}
    runs = sum(item.model_bytes + item.table_bytes for item, _ in times)
    kept = decimal(sum(caches.values()) + runs)
    free = decimal(prospects.free_bytes(results))
    console.print(f"in all: {kept} kept on disk, {free} free")


def _runs(item: Estimate) -> str:
    plural = "s" if item.runs > 1 else ""
    return f"{item.runs} run{plural} of {item.parameters / 1e6:.1f}M parameters"


def _facts(item: Estimate) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for split, data in (("train", item.train_data), ("validation", item.validation_data)):
        table.add_row(f"{split} text", f"{data.count:,} tokens, {_HOW[data.source]}")
    amount = f"{item.tokens_per_run:,} tokens: {item.steps:,} steps, {item.rows:,} rows"
    table.add_row("each run", amount)
    work = f"{item.training_flop:.3g} FLOP, {item.flop_per_token / 1e6:,.0f} MFLOP per token"
    table.add_row("training", work)
    work = f"{item.evaluation_flop:.3g} FLOP, {item.evaluation_tokens:,} tokens"
    table.add_row("evaluation", work)
    caches = decimal(item.cache_bytes)
    models = decimal(item.model_bytes)
    tables = decimal(item.table_bytes)
    table.add_row("disk, kept", f"caches {caches}, models {models}, tables {tables}")
    shards = decimal(item.shard_bytes)
    checkpoint = decimal(item.checkpoint_bytes_per_run)
    passing = f"shards {shards}, checkpoint {checkpoint} a run (twice while saved)"
    table.add_row("disk, for a while", passing)
    least = decimal(item.memory_bytes_least)
    whole = decimal(item.memory_bytes_whole_batch)
    table.add_row("GPU memory", f"about {least} for one row at a time, {whole} for a whole batch")
    return table


def _hours(item: Estimate, throughputs: list[Throughput]) -> RenderableType:
    if not throughputs:
        return Text(
            "hours: not known for a model of this size; give --throughput, the tokens/s in the log"
            " of a short run"
        )
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for column in ("", "tokens/s", "a run", "all runs", "with data", "throughput"):
        table.add_column(column, justify="left" if column in ("", "throughput") else "right")
    for throughput in throughputs:
        hours = estimates.hours(item, throughput)
        data = hours.pop("tokenization")
        runs = sum(hours.values())
        times = [_hour(runs / item.runs), _hour(runs), _hour(runs + data)]
        # It names a device, as a record of an earlier run calls it.
        source = Text(printable(throughput.source))
        table.add_row(throughput.name, f"{throughput.tokens_per_s:,.0f}", *times, source)
    return table


def _hour(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"


if __name__ == "__main__":
    cli.run(main)
