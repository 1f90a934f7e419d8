"""Write the page of an experiment from its tables (rule page).

    python -m rope_spectra.page --definition results/demo/experiment.json \\
        --summary results/demo/summary.csv --output results/demo/summary.md

The page ranks the spectra, gives the verdicts in words, and says what they cannot show. It is made
from tables alone, after tables.json next to summary.csv has certified that file. Where a run was
repeated, --noise-floor adds how far its repeats differ; where the models were probed, --retrieval
adds what the probe has shown, and --frontier the retrieval endpoint beside the primary one.
--theory and --hypotheses add what was predicted beforehand, and how it fared, --rates the endpoint
at other learning rates, --usage what the models use.
"""

from pathlib import Path

import pandas as pd

from rope_spectra.analysis import lineage
from rope_spectra.artifacts import files, seal, tables
from rope_spectra.config import appearance
from rope_spectra.config.design import Design
from rope_spectra.report import markdown, pages
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError

# The tables that not every experiment has, by option: the file, and a column to know it by.
OPTIONAL = {
    "noise_floor": ("noise_floor.csv", "ppl_spread"),
    "retrieval": ("retrieval.csv", "accuracy_mean"),
    "theory": ("theory.csv", "spearman"),
    "hypotheses": ("hypotheses.csv", "prediction"),
    "frontier": ("frontier.csv", "non_dominated"),
    "rates": ("rates.csv", "learning_rate"),
    "usage": ("usage_runs.csv", "never_turning"),
}


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        definition="experiment.json: the experiment's design",
        summary="its summary.csv",
        output="where to write the page",
    )
    cli.add_paths(
        parser,
        required=False,
        appearance="appearance.json: how spectra are shown",
        **{option: f"its {file}, if it has one" for option, (file, _) in OPTIONAL.items()},
    )
    args = cli.parse(parser)

    design = seal.load_settings(args.definition, Design)
    record = lineage.check_table_of(design, args.summary)
    summary = read_table(args.summary, "ppl_mean", "verdict", "endpoint")
    optional = {
        option: read_table(getattr(args, option), column)
        for option, (_, column) in OPTIONAL.items()
        if getattr(args, option)
    }
    page = pages.experiment_page(design, summary, standing=record.declaration, **optional)
    shown = appearance.read(args.appearance)
    files.write_text(args.output, markdown.relabeled(page, shown))


def read_table(path: Path, *columns: str) -> pd.DataFrame:
    """A table of ours; UserError if it lacks one of the columns by which its kind is known."""
    table = tables.read_csv(path)
    for column in columns:
        if column not in table:
            raise UserError(
                f"{path}: has no column {column}; is it another table, or of an older version?"
            )
    return table


if __name__ == "__main__":
    cli.run(main)
