"""Bring the runs of an experiment into one table (rule aggregate).

    python -m rope_spectra.aggregate --definition results/demo/experiment.json \\
        --runs results/demo/runs.csv --csv results/demo/summary.csv [--partial]

runs.csv is tidy: one row per spectrum, seed, remap, protocol and length. Where the experiment
declares a selection, protocol `full` scores each seed on the blocks of its phase alone. The columns
of summary.csv are described in docs/statistics.md. tables.json, next to summary.csv, says what both
were made from, and how the claims stand against declaration.json. Making the tables is a look at
the seeds, which that file records. With --partial, runs that are not finished are left out instead
of being an error; where looks are declared, the tables are those of the last look whose seeds are
all finished.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from rope_spectra.analysis import declaration, lineage
from rope_spectra.analysis.runs import is_finished, read_runs
from rope_spectra.analysis.summary_table import summarize_phase
from rope_spectra.artifacts import seal, tables
from rope_spectra.config.design import ALL, CONFIRMATION, SELECTION, Design
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        definition="experiment.json: the design of the experiment",
        runs="where to write the tidy table of runs",
        csv="where to write the summary",
    )
    parser.add_argument(
        "--partial", action="store_true", help="leave out runs that are not finished"
    )
    args = cli.parse(parser)

    design = seal.load_settings(args.definition, Design)
    found = finished_runs(design) if args.partial else design.runs
    write(design, found, args.runs, args.csv)
    cli.log.info("%s: %d of %d runs", design.experiment, len(found), len(design.runs))


def finished_runs(design: Design) -> list[tuple[str, int]]:
    """The runs that are finished; with declared looks, those of the last look that is complete.

    Raises UserError if there are none.
    """
    found = [run for run in design.runs if is_finished(design.experiment, *run)]
    if not found:
        raise UserError(f"{design.experiment}: no run is finished yet; run snakemake first")
    if not design.looks:
        return found
    for count in reversed(design.looks):
        seeds = design.up_to(count)
        wanted = [run for run in design.runs if run[1] in seeds]
        if set(wanted) <= set(found):
            return wanted
    raise UserError(
        f"experiments.{design.experiment}.looks: the first look is at {design.looks[0]} seeds,"
        " which are not all finished; run snakemake first"
    )


def write(design: Design, found: list[tuple[str, int]], runs_csv: Path, csv: Path) -> None:
    """Publish the two tables of these runs, and tables.json, which certifies them.

    Raises UserError if the runs do not belong together.
    """
    evaluations = lineage.read_evaluations(design, found)
    standing = declaration.look(design, found)
    made_from = lineage.made_from(design, standing, evaluations)
    # A run that has diverged has an infinite perplexity, and leaves what it takes part in empty.
    with np.errstate(over="ignore", invalid="ignore"):
        runs, summary = tabulate(design, found)
    if standing.changes:
        summary.loc[summary["verdict"] != "baseline", "verdict"] = "exploratory"
    with seal.publishing(lineage.record_of(csv), made_from, runs_csv, csv) as temporaries:
        for path, table in zip(temporaries, (runs, summary), strict=True):
            path.write_text(tables.as_csv(table), encoding="utf-8")


def tabulate(design: Design, found: list[tuple[str, int]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tidy table of the runs and the summary, the confirmation before the selection."""
    runs = []
    summaries = []
    for phase in (ALL, CONFIRMATION, SELECTION):
        of_phase = [run for run in found if design.phase_of(run[1]) == phase]
        if of_phase:
            scores, blocks = read_runs(design, of_phase)
            runs.append(scores.assign(phase=phase))
            summaries.append(summarize_phase(design, scores, blocks, phase))
    return pd.concat(runs, ignore_index=True), pd.concat(summaries, ignore_index=True)


if __name__ == "__main__":
    cli.run(main)
