"""Draw the figures of an experiment from its tables and runs, and tabulate what its spectra do (rule figures).

    python -m rope_spectra.figures --definition "$(cat definition.json)" --output results/demo/figures \\
        --spectra-csv results/demo/spectra.csv

Reads runs.csv, summary.csv and every run's train.csv and eval.npz; writes one SVG per figure.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rope_spectra import cli, diagnostics, files, layout, spectra
from rope_spectra.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Definition = dict[str, Any]

REQUIRED = ("experiment", "spectra", "baseline", "equivalence_margin", "lengths", "train_length", "head_dim")


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--definition", required=True, metavar="JSON", help="what the experiment is made of")
    parser.add_argument("--output", type=Path, required=True, help="folder of the figures")
    parser.add_argument("--spectra-csv", type=Path, help="where to write the diagnostics of the spectra")
    args = cli.parse(parser)

    definition = parse_definition(args.definition)
    if args.spectra_csv:
        files.write_text(args.spectra_csv, spectra_table(definition).to_csv(index=False, lineterminator="\n"))
    write_figures(definition, args.output)


def parse_definition(text: str) -> Definition:
    """The experiment's definition from its JSON; UserError names what is wrong with it."""
    try:
        definition = json.loads(text)
    except ValueError as error:
        raise UserError(f"--definition: not valid JSON ({error})") from None
    if missing := [key for key in REQUIRED if key not in definition]:
        raise UserError(f"--definition: lacks {', '.join(missing)}")
    return definition


def spectra_table(definition: Definition) -> "pd.DataFrame":
    """One row per spectrum: its family and its diagnosis (diagnostics.diagnose)."""
    import pandas as pd

    lengths = {"train_length": definition["train_length"], "longest": max(definition["lengths"])}
    families = {spectrum["name"]: spectrum["family"] for spectrum in definition["spectra"]}
    rows = [
        {"spectrum": name, "family": families[name], **lengths, **diagnostics.diagnose(omega, **lengths)}
        for name, omega in omegas(definition).items()
    ]
    return pd.DataFrame(rows).astype({"first_negative_distance": "Int64"})


def omegas(definition: Definition) -> dict[str, Any]:
    """The frequencies of each spectrum, fp32 [head_dim / 2], in display order."""
    return {spectrum["name"]: spectra.inv_freq(spectrum, definition["head_dim"]) for spectrum in definition["spectra"]}


def write_figures(definition: Definition, output: Path) -> None:
    """Draw and publish every figure of layout.FIGURES."""
    from rope_spectra import plot_style
    from rope_spectra.aggregate import read_csv

    experiment = definition["experiment"]
    tables = [path.format(experiment=experiment) for path in (layout.RUNS, layout.EXPERIMENT_SUMMARY)]
    runs, summary = (read_csv(path).query("remap == 'none'") for path in tables)
    with plot_style.style():
        for name, figure in draw(definition, runs, summary).items():
            plot_style.save(figure, output / f"{name}.svg")
            cli.log.info("%s", output / f"{name}.svg")


def draw(definition: Definition, runs: "pd.DataFrame", summary: "pd.DataFrame") -> "dict[str, Figure]":
    """The figures by name, from the rows of runs.csv and summary.csv with remap none; reads the files of each run."""
    from rope_spectra import plot_style, plots

    experiment, baseline, margin = (definition[key] for key in ("experiment", "baseline", "equivalence_margin"))
    lengths = definition["train_length"], max(definition["lengths"])
    styles = plot_style.looks([spectrum["name"] for spectrum in definition["spectra"]], baseline)
    protocol = "full" if "full" in set(runs["protocol"]) else "first_chunks"
    shown, means = runs[runs["protocol"] == protocol], summary[summary["protocol"] == protocol]
    folders = runs[["spectrum", "seed"]].drop_duplicates()
    positions = read_positions(experiment, folders, lengths[1]) if protocol == "full" else None
    return {
        "ppl_by_length": plots.ppl_by_length(shown, protocol, lengths[0], styles),
        "nll_by_position": plots.nll_by_position(positions, *lengths, styles),
        "paired_deltas": plots.paired_deltas(paired_deltas(shown, baseline), means, baseline, margin, styles),
        "spectra": plots.spectra(omegas(definition), *lengths, styles),
        "training_loss": plots.training_loss(read_losses(experiment, folders), styles),
    }


def paired_deltas(runs: "pd.DataFrame", baseline: str) -> "pd.DataFrame":
    """delta = log PPL minus the baseline's at the same seed and length: columns spectrum, seed, length, delta."""
    import numpy as np

    reference = runs.loc[runs["spectrum"] == baseline, ["seed", "length", "ppl"]]
    paired = runs[runs["spectrum"] != baseline].merge(reference, on=["seed", "length"], suffixes=("", "_baseline"))
    return paired.assign(delta=np.log(paired["ppl"] / paired["ppl_baseline"]))[["spectrum", "seed", "length", "delta"]]


def read_losses(experiment: str, folders: "pd.DataFrame") -> "pd.DataFrame":
    """train.csv of each run (rows of `folders`: spectrum, seed): columns spectrum, seed, step, loss."""
    import pandas as pd

    tables = []
    for spectrum, seed in folders.itertuples(index=False):
        path = layout.TRAIN_LOG.format(experiment=experiment, spectrum=spectrum, seed=seed)
        tables.append(pd.read_csv(path, usecols=["step", "loss"]).assign(spectrum=spectrum, seed=seed))
    return pd.concat(tables, ignore_index=True)


def read_positions(experiment: str, folders: "pd.DataFrame", length: int) -> "pd.DataFrame":
    """Loss by position bin of each run at one length, from eval.npz: columns spectrum, seed, context, nll.

    context: mean number of tokens that the positions of a bin see (position p sees p + 1); nll: nats per token of all blocks.
    """
    import numpy as np
    import pandas as pd

    tables = []
    for spectrum, seed in folders.itertuples(index=False):
        path = layout.EVAL_NLL.format(experiment=experiment, spectrum=spectrum, seed=seed)
        with np.load(path, allow_pickle=False) as arrays:
            nll, tokens, edges = (arrays[f"none/{length}/{part}"] for part in ("nll", "tokens", "edges"))
        bins = {"context": (edges[:-1] + edges[1:] + 1) / 2, "nll": nll.sum(axis=0) / (tokens * len(nll))}
        tables.append(pd.DataFrame({**bins, "spectrum": spectrum, "seed": seed}))
    return pd.concat(tables, ignore_index=True)


if __name__ == "__main__":
    cli.run(main)
