"""Bring the runs of an experiment into one table (rule aggregate).

    python -m rope_spectra.aggregate --definition results/demo/experiment.json \\
        --runs results/demo/runs.csv --csv results/demo/summary.csv [--partial]

runs.csv is tidy: one row per spectrum, seed, remap, protocol and length. Where the experiment declares a selection, each seed is
scored by `full` on the blocks of its phase alone. summary.csv has the columns of docs/statistics.md,
and tables.json, next to summary.csv, says what both were made from. With --partial, runs that are not finished are left
out instead of being an error.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rope_spectra.artifacts import layout, lineage, seal
from rope_spectra.config import phases
from rope_spectra.config.definition import Definition
from rope_spectra.config.design import Design
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from rope_spectra.analysis.summary_table import Blocks


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--definition",
        type=Path,
        required=True,
        help="experiment.json: the design of the experiment",
    )
    parser.add_argument(
        "--runs", type=Path, required=True, help="where to write the tidy table of runs"
    )
    parser.add_argument("--csv", type=Path, required=True, help="where to write the summary")
    parser.add_argument(
        "--partial", action="store_true", help="leave out runs that are not finished"
    )
    args = cli.parse(parser)

    definition = seal.load_settings(args.definition, Design).content()
    wanted = [
        (spectrum["name"], seed)
        for spectrum in definition["spectra"]
        for seed in definition["seeds"]
    ]
    found = [run for run in wanted if not args.partial or _finished(definition["experiment"], *run)]
    if not found:
        raise UserError(f"{definition['experiment']}: no run is finished yet; run snakemake first")
    write(definition, found, args.runs, args.csv)
    cli.log.info("%s: %d of %d runs", definition["experiment"], len(found), len(wanted))


def write(definition: Definition, found: list[tuple[str, int]], runs_csv: Path, csv: Path) -> None:
    """Read the runs, check that they belong together, and publish the two tables and tables.json, which vouches for them."""
    from rope_spectra.artifacts.tables import as_csv

    made_from = {"definition": definition, "evaluations": lineage.evaluations(definition, found)}
    runs, summary = read(definition, found)
    texts = as_csv(runs), as_csv(summary)
    with seal.publishing(lineage.record_of(csv), made_from, runs_csv, csv) as temporaries:
        for path, text in zip(temporaries, texts, strict=True):
            path.write_text(text, encoding="utf-8")


def read(
    definition: Definition, found: list[tuple[str, int]]
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """The tidy table of the runs and the summary; where there is a selection, that of the confirmation comes first."""
    import pandas as pd

    tables = []
    for phase in (phases.ALL, phases.CONFIRMATION, phases.SELECTION):
        if part := [run for run in found if phases.phase_of(definition, run[1]) == phase]:
            runs, blocks = read_runs(definition, part)
            tables.append((runs.assign(phase=phase), summarize(definition, runs, blocks, phase)))
    runs, summaries = zip(*tables, strict=True)
    return pd.concat(runs, ignore_index=True), pd.concat(summaries, ignore_index=True)


def summarize(
    definition: Definition, runs: "pd.DataFrame", blocks: "Blocks | None", phase: str
) -> "pd.DataFrame":
    """The summary of a phase; dataset, model and training close each row, so that tables of several experiments can be compared.

    Only protocol `full` reads other text for confirmation than for selection; its rows alone carry verdicts where the two differ.
    """
    from rope_spectra.analysis import summary_table as table

    summary = table.summarize(
        runs,
        definition["baseline"],
        definition["contrasts"],
        definition["equivalence_margin"],
        blocks,
    )
    summary["phase"] = phase
    if phase != phases.ALL:
        exploratory = (summary["protocol"] != "full") | (phase == phases.SELECTION)
        summary.loc[exploratory, "p_holm"] = float("nan")
        summary.loc[exploratory & (summary["verdict"] != "baseline"), "verdict"] = "exploratory"
    return summary.assign(**{key: definition[key] for key in ("dataset", "model", "training")})


def _finished(experiment: str, spectrum: str, seed: int | str) -> bool:
    return all(Path(path).exists() for path in layout.run_files(experiment, spectrum, seed))


def read_runs(definition: Definition, runs: list[tuple[str, int]]) -> "tuple[pd.DataFrame, Blocks]":
    """The tidy table of the runs of one phase and what protocol `full` measured block by block, on the blocks of that phase."""
    import pandas as pd

    from rope_spectra.analysis.summary_table import Blocks

    tables, nll, tokens, text_bytes, parts = [], {}, {}, {}, {}
    for spectrum, seed in runs:
        names = {"experiment": definition["experiment"], "spectrum": spectrum, "seed": seed}
        arrays = of_phase(_block_arrays(names), definition, seed)
        tables.append(
            _rescored(pd.read_csv(layout.fill(layout.EVAL, **names)), arrays).assign(**names)
        )
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
    columns = [
        "experiment",
        "spectrum",
        "seed",
        "remap",
        "protocol",
        "length",
        "ppl",
        "nll",
        "tokens",
        "chunks",
    ]
    return runs_table[columns], Blocks(nll, tokens, text_bytes, parts)


def of_phase(arrays: dict[str, Any], definition: Definition, seed: int) -> dict[str, Any]:
    """The arrays of a run's eval.npz on the blocks that its seed serves."""
    per_block = [key for key in arrays if key.endswith("/nll") or key == "bytes"]
    if not per_block:
        return arrays
    phase, n_blocks = phases.phase_of(definition, seed), len(arrays[per_block[0]])
    try:
        blocks = phases.blocks_of(definition, phase, n_blocks)
    except ValueError as error:
        raise UserError(
            f"experiments.{definition['experiment']}.selection: {error}; raise validation_tokens"
        ) from None
    return arrays | {key: arrays[key][blocks] for key in per_block}


def _rescored(rows: "pd.DataFrame", arrays: dict[str, Any]) -> "pd.DataFrame":
    """The rows of eval.csv, those of protocol `full` over the blocks that are left in the arrays."""
    import numpy as np

    for row in rows[rows["protocol"] == "full"].itertuples():
        nll, tokens = (arrays[f"{row.remap}/{row.length}/{name}"] for name in ("nll", "tokens"))
        count = int(tokens.sum()) * len(nll)
        values = [
            np.exp(nll.sum() / count),
            nll.sum() / count,
            count,
            row.chunks * count // row.tokens,
        ]
        rows.loc[row.Index, ["ppl", "nll", "tokens", "chunks"]] = values
    return rows.astype({"tokens": int, "chunks": int})


def _inside_and_beyond(arrays: dict[str, Any], name: str, train_length: int) -> tuple[float, float]:
    """PPL over the positions below the training length and over those from it on; NaN where there are none."""
    import numpy as np

    inside = arrays[f"{name}/edges"][:-1] < train_length
    nll, tokens = (
        arrays[f"{name}/nll"].sum(axis=0),
        arrays[f"{name}/tokens"] * len(arrays[f"{name}/nll"]),
    )
    sums = [(nll[part].sum(), tokens[part].sum()) for part in (inside, ~inside)]
    first, second = (
        float(np.exp(total / count)) if count else float("nan") for total, count in sums
    )
    return first, second


def _block_arrays(names: dict[str, Any]) -> dict[str, Any]:
    """The arrays of a run's eval.npz."""
    import numpy as np

    with np.load(layout.fill(layout.EVAL_NLL, **names), allow_pickle=False) as file:
        return dict(file)


if __name__ == "__main__":
    cli.run(main)
