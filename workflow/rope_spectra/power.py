"""Says how many seeds a contrast needs before a verdict can be expected.

    python -m rope_spectra.power --table results/demo/summary.csv --contrast hybrid_a0.2_t100k
    python -m rope_spectra.power --effect 0.05 --spread 0.06 --contrasts 2
    python -m rope_spectra.power --effect 0.05 --spread 0.06 --looks 8 10 12

The rule of the verdicts is simulated (docs/statistics.md, section 2). The effect and its spread are
assumed, or taken from earlier results: summary.csv, or runs.csv with --baseline. The text counts
as given unless --text says what its choice adds; the column seeds_for_80pct_power of summary.csv
takes that from the blocks.
"""

import argparse
import math
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from scipy import stats

from rope_spectra.analysis import assumed, looks, power
from rope_spectra.analysis.assumed import Assumed, Wanted
from rope_spectra.analysis.endpoints import METRICS
from rope_spectra.analysis.statistics import exponential, smallest_p
from rope_spectra.artifacts import tables
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError

SEEDS = (3, 6, 8, 10, 16)


def main() -> None:
    args = cli.parse(_parser())
    found = _from_table(args) if args.table else _given(args)
    contrasts = found.contrasts if args.contrasts is None else args.contrasts
    if contrasts < 1:
        raise UserError(f"--contrasts: {contrasts} is no family; give at least 1")
    if not args.text >= 0 or math.isinf(args.text):
        raise UserError(f"--text: {args.text} is no standard error; give 0 or more")
    if args.looks and (args.looks != sorted(set(args.looks)) or args.looks[0] < 2):
        raise UserError("--looks: give increasing numbers of seeds, from 2 on, such as 8 10 12")
    if args.looks and args.looks[-1] > power.MOST_SEEDS:
        raise UserError(f"--looks: give at most {power.MOST_SEEDS} seeds")
    _show(found, contrasts, args.text, args.looks)


def _parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument("--table", type=Path, help="summary.csv or runs.csv of earlier results")
    parser.add_argument(
        "--contrast", metavar="ARM", help="its arm, such as hybrid_a0.2_t100k or geo_500k+yarn"
    )
    parser.add_argument("--baseline", metavar="ARM", help="what it is compared with; for runs.csv")
    parser.add_argument(
        "--metric", choices=METRICS, help="default: that of the table's verdict, else ppl"
    )
    parser.add_argument("--length", type=int, help="in tokens (default: the longest)")
    parser.add_argument("--protocol", choices=("full", "first_chunks"), help="default: full")
    parser.add_argument("--experiment", help="where the table has several")
    parser.add_argument(
        "--effect", type=float, help="assumed mean difference of log PPL: 0.05 is about 5 %% of PPL"
    )
    parser.add_argument(
        "--spread", type=float, help="assumed standard deviation of the difference over the seeds"
    )
    parser.add_argument(
        "--text",
        type=float,
        default=0.0,
        help="assumed standard error by the choice of the text (default: %(default)s)",
    )
    parser.add_argument(
        "--contrasts", type=int, help="size of the family (default: that of the table, else 1)"
    )
    parser.add_argument(
        "--looks", type=int, nargs="+", metavar="SEEDS", help="a plan that looks more than once"
    )
    return parser


def _from_table(args: argparse.Namespace) -> Assumed:
    if args.effect is not None or args.spread is not None:
        raise UserError("--table: gives the effect and the spread; leave out --effect and --spread")
    if args.contrast is None:
        raise UserError("--contrast: name the arm of the table that is meant")
    wanted = Wanted(
        args.contrast, args.baseline, args.metric, args.length, args.protocol, args.experiment
    )
    try:
        table = tables.read_csv(args.table)
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{args.table}: is no table; give a summary.csv or runs.csv") from error
    columns = {"experiment", "spectrum", "remap", "protocol", "length"}
    if columns | {"delta_log_ppl", "p_holm", "n_pairs"} <= set(table):
        return assumed.of_summary(table, wanted)
    if columns | {"seed", "nll"} <= set(table):
        return assumed.of_runs(table, wanted)
    raise UserError(f"{args.table}: is neither summary.csv nor runs.csv of an experiment")


def _given(args: argparse.Namespace) -> Assumed:
    if args.effect is None or args.spread is None:
        raise UserError("--effect: give --effect and --spread, or a --table and its --contrast")
    if not math.isfinite(args.effect) or not args.effect:
        raise UserError(f"--effect: {args.effect} cannot be found; give a number that is not 0")
    if not (math.isfinite(args.spread) and args.spread > 0):
        raise UserError(f"--spread: {args.spread} is no standard deviation; give a number above 0")
    return Assumed(args.effect, args.spread, contrasts=1)


def _show(found: Assumed, contrasts: int, text: float, plan: list[int] | None) -> None:
    console = Console(highlight=False)
    if found.name:
        console.print(f"[bold]{found.name}[/bold], {found.pairs} pairs")
    facts = Table.grid(padding=(0, 2))
    ratio = exponential(found.effect)
    facts.add_row("mean difference", f"{found.effect:.4g} ({ratio:.4g} times PPL)")
    facts.add_row("standard deviation", f"{found.spread:.4g} over the seeds")
    family = "1 contrast" if contrasts == 1 else f"{contrasts} contrasts, the others without effect"
    facts.add_row("family", family)
    facts.add_row("fewest seeds", f"{power.fewest_seeds(contrasts)}, if all of them agree")
    needed = power.seeds_needed(found.effect, found.spread, contrasts, text)
    facts.add_row("seeds for 80 % power", _seeds(needed))
    if found.pairs is not None:
        # The upper 95 % limit of a standard deviation; the mean is as uncertain.
        largest = found.spread * ((found.pairs - 1) / stats.chi2.ppf(0.05, found.pairs - 1)) ** 0.5
        worst = power.seeds_needed(found.effect, float(largest), contrasts, text)
        note = f"{_seeds(worst)} at {largest:.4g}, which {found.pairs} pairs do not exclude"
        facts.add_row("with a larger spread", note)
    console.print(facts)
    console.print(
        _plan(found, contrasts, text, plan) if plan else _by_seeds(found, contrasts, text)
    )


def _seeds(needed: float) -> str:
    return f"{needed:.0f}" if math.isfinite(needed) else f"more than {power.MOST_SEEDS:,}"


def _by_seeds(found: Assumed, contrasts: int, text: float) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for column in ("seeds", "smallest p (Holm)", "power"):
        table.add_column(column, justify="right")
    for n in SEEDS:
        share = power.power(found.effect, found.spread, [n], contrasts, text)
        smallest = min(1.0, contrasts * smallest_p(n))
        table.add_row(f"{n}", f"{smallest:.2g}", f"{share:.0%}")
    return table


def _plan(found: Assumed, contrasts: int, text: float, plan: list[int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for column in ("look at", "level", "smallest p (Holm)", "power so far"):
        table.add_column(column, justify="right")
    shares = power.power_by_look(found.effect, found.spread, plan, contrasts, text)
    for n, level, share in zip(plan, looks.levels(plan, contrasts), shares, strict=True):
        smallest = min(1.0, contrasts * smallest_p(n))
        table.add_row(f"{n}", f"{level:.2g}", f"{smallest:.2g}", f"{share:.0%}")
    return table


if __name__ == "__main__":
    cli.run(main)
