"""Bring the runs of an experiment into one table (rule aggregate).

    python -m rope_spectra.aggregate --definition "$(cat definition.json)" \\
        --runs results/demo/runs.csv --csv results/demo/summary.csv --md results/demo/summary.md [--partial]

runs.csv is tidy: one row per spectrum, seed, remap, protocol and length. summary.csv has the columns of evaluation.md
section 2, summary.md is for reading. With --partial, runs that are not finished are left out instead of being an error.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rope_spectra import cli, files, layout, provenance
from rope_spectra.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from rope_spectra.table import Blocks

Definition = dict[str, Any]


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--definition", type=json.loads, required=True, help="what the experiment compares, as JSON")
    parser.add_argument("--runs", type=Path, required=True, help="where to write the tidy table of runs")
    parser.add_argument("--csv", type=Path, required=True, help="where to write the summary")
    parser.add_argument("--md", type=Path, required=True, help="where to write the summary for reading")
    parser.add_argument("--partial", action="store_true", help="leave out runs that are not finished")
    args = cli.parse(parser)

    definition = args.definition
    wanted = [(spectrum["name"], seed) for spectrum in definition["spectra"] for seed in definition["seeds"]]
    found = [run for run in wanted if not args.partial or _finished(definition["experiment"], *run)]
    if not found:
        raise UserError(f"{definition['experiment']}: no run is finished yet; run snakemake first")
    write(definition, found, args.runs, args.csv, args.md)
    cli.log.info("%s: %d of %d runs", definition["experiment"], len(found), len(wanted))


def write(definition: Definition, found: list[tuple[str, int]], runs_csv: Path, csv: Path, md: Path) -> None:
    """Read the runs, check that they belong together, and publish the three tables."""
    from rope_spectra import markdown

    runs, blocks = read_runs(definition, found)
    summary = summarize(definition, runs, blocks)
    files.write_text(runs_csv, as_csv(runs))
    files.write_text(csv, as_csv(summary))
    files.write_text(md, markdown.experiment_page(definition, summary))


def as_csv(table: "pd.DataFrame") -> str:
    """CSV with ten digits, empty where there is no value."""
    return table.to_csv(index=False, float_format="%.10g", lineterminator="\n")


def read_csv(path: Path | str) -> "pd.DataFrame":
    """A table that as_csv wrote; names stay text, also those that look like a number or a missing value (007, nan)."""
    import pandas as pd

    names = dict.fromkeys(("experiment", "spectrum", "baseline", "dataset", "model", "training", "seeds"), str)
    return pd.read_csv(path, dtype=names, keep_default_na=False, na_values=[""])


def summarize(definition: Definition, runs: "pd.DataFrame", blocks: "Blocks") -> "pd.DataFrame":
    """The summary table; dataset, model and training close each row, so that tables of several experiments can be compared."""
    from rope_spectra import table

    summary = table.summarize(runs, definition["baseline"], definition["contrasts"], definition["equivalence_margin"], blocks)
    return summary.assign(**{key: definition[key] for key in ("dataset", "model", "training")})


def _finished(experiment: str, spectrum: str, seed: int) -> bool:
    return all(Path(path).exists() for path in layout.run_files(experiment, spectrum, seed))


def read_runs(definition: Definition, runs: list[tuple[str, int]]) -> "tuple[pd.DataFrame, Blocks]":
    """The tidy table of the runs and what protocol `full` measured block by block."""
    import pandas as pd

    from rope_spectra.table import Blocks

    tables, nll, tokens, text_bytes, parts = [], {}, {}, {}, {}
    for spectrum, seed in runs:
        names = {"experiment": definition["experiment"], "spectrum": spectrum, "seed": seed}
        arrays = _block_arrays(names)
        tables.append(pd.read_csv(layout.EVAL.format(**names)).assign(**names))
        for key in (key for key in arrays if key.endswith("/nll")):
            remap, length = key.removesuffix("/nll").split("/")
            nll[spectrum, seed, remap, int(length)] = arrays[key].sum(axis=1)
            parts[spectrum, seed, remap, int(length)] = _inside_and_beyond(
                arrays, f"{remap}/{length}", definition["train_length"]
            )
            tokens[int(length)] = int(arrays[f"{remap}/{length}/tokens"].sum())
            if "bytes" in arrays:
                text_bytes[int(length)] = int(arrays["bytes"].sum())
    runs_table = pd.concat(tables, ignore_index=True)
    columns = ["experiment", "spectrum", "seed", "remap", "protocol", "length", "ppl", "nll", "tokens", "chunks"]
    return runs_table[columns], Blocks(nll, tokens, text_bytes, parts)


def _inside_and_beyond(arrays: dict[str, Any], name: str, train_length: int) -> tuple[float, float]:
    """PPL over the positions below the training length and over those from it on; NaN where there are none."""
    import numpy as np

    inside = arrays[f"{name}/edges"][:-1] < train_length
    nll, tokens = arrays[f"{name}/nll"].sum(axis=0), arrays[f"{name}/tokens"] * len(arrays[f"{name}/nll"])
    sums = [(nll[part].sum(), tokens[part].sum()) for part in (inside, ~inside)]
    first, second = (float(np.exp(total / count)) if count else float("nan") for total, count in sums)
    return first, second


def _block_arrays(names: dict[str, Any]) -> dict[str, Any]:
    """The arrays of a run's eval.npz, refused if they are not of the run that config.json and run.json describe."""
    import numpy as np

    run_path, nll_path = Path(layout.RUN.format(**names)), Path(layout.EVAL_NLL.format(**names))
    run, settings = files.read_json(run_path), files.read_json(Path(layout.RUN_CONFIG.format(**names)))
    if difference := provenance.first_difference(run["settings"], settings):
        raise UserError(f"{run_path}: was trained with another {difference}; delete it and run again")
    with np.load(nll_path, allow_pickle=False) as file:
        arrays = dict(file)
    if str(arrays["identity"]) != run["identity"]:
        raise UserError(f"{nll_path}: was evaluated on another training run than {run_path}; delete it and run again")
    return arrays


if __name__ == "__main__":
    cli.run(main)
