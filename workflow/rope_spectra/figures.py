"""Draw the figures of an experiment from its tables and runs, and tabulate what its spectra do (rule figures).

    python -m rope_spectra.figures --definition results/demo/experiment.json --output results/demo/figures \\
        --spectra-csv results/demo/spectra.csv

Reads runs.csv, summary.csv and every run's train.csv and eval.npz; writes one SVG per figure.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rope_spectra import spectra
from rope_spectra.artifacts import files, layout, lineage, seal
from rope_spectra.config import phases
from rope_spectra.config.contrasts import NATIVE, Contrasts, label
from rope_spectra.config.contrasts import parse as parse_name
from rope_spectra.config.definition import Definition
from rope_spectra.config.design import Design
from rope_spectra.rope import diagnostics
from rope_spectra.runtime import cli

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from rope_spectra.report.style import LineStyle


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--definition",
        type=Path,
        required=True,
        help="experiment.json: the design of the experiment",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the figures")
    parser.add_argument(
        "--spectra-csv", type=Path, help="where to write the diagnostics of the spectra"
    )
    args = cli.parse(parser)

    definition = seal.load_settings(args.definition, Design).content()
    lineage.check(definition)
    if args.spectra_csv:
        files.write_text(
            args.spectra_csv, spectra_table(definition).to_csv(index=False, lineterminator="\n")
        )
    write_figures(definition, args.output)


def spectra_table(definition: Definition) -> "pd.DataFrame":
    """One row per spectrum: its family and its diagnosis (diagnostics.diagnose)."""
    import pandas as pd

    lengths = {"train_length": definition["train_length"], "longest": max(definition["lengths"])}
    families = {spectrum["name"]: spectrum["family"] for spectrum in definition["spectra"]}
    rows = [
        {
            "spectrum": name,
            "family": families[name],
            **lengths,
            **diagnostics.diagnose(omega, **lengths),
        }
        for name, omega in omegas(definition).items()
    ]
    return pd.DataFrame(rows).astype({"first_negative_distance": "Int64"})


def omegas(definition: Definition) -> dict[str, Any]:
    """The frequencies of each spectrum, fp32 [head_dim / 2], in display order."""
    return {
        spectrum["name"]: spectra.inv_freq(spectrum, definition["head_dim"])
        for spectrum in definition["spectra"]
    }


def write_figures(definition: Definition, output: Path) -> None:
    """Draw and publish every figure of layout.FIGURES."""
    from rope_spectra.artifacts.tables import read_csv
    from rope_spectra.report import style

    experiment = definition["experiment"]
    tables = [
        layout.fill(path, experiment=experiment)
        for path in (layout.RUNS, layout.EXPERIMENT_SUMMARY)
    ]
    runs, summary = (read_csv(path).query(f"phase != '{phases.SELECTION}'") for path in tables)
    with style.applied():
        for name, figure in draw(definition, runs, summary).items():
            style.save(figure, output / f"{name}.svg")
            cli.log.info("%s", output / f"{name}.svg")


def draw(
    definition: Definition, runs: "pd.DataFrame", summary: "pd.DataFrame"
) -> "dict[str, Figure]":
    """The figures by name, from the rows of runs.csv and summary.csv; reads the files of each run.

    Where models were evaluated with remaps, each is drawn as one more spectrum, such as geo_500k+yarn.
    """
    from rope_spectra.report import panels, plots

    margin, lengths = (
        definition["equivalence_margin"],
        (definition["train_length"], max(definition["lengths"])),
    )
    contrasts = Contrasts.of(definition["baseline"], definition.get("contrasts", []))
    protocol = "full" if "full" in set(runs["protocol"]) else "first_chunks"
    shown, means = (by_arm(table[table["protocol"] == protocol]) for table in (runs, summary))
    styles = arm_styles(definition, shown)
    positions = (
        read_positions(definition, runs[runs["protocol"] == protocol], lengths[1])
        if protocol == "full"
        else None
    )
    deltas = paired_deltas(runs[runs["protocol"] == protocol], contrasts)
    return {
        "ppl_by_length": plots.ppl_by_length(shown, protocol, lengths[0], styles),
        "nll_by_position": plots.nll_by_position(positions, *lengths, styles),
        "paired_deltas": panels.paired_deltas(deltas, means, contrasts.baseline, margin, styles),
        "spectra": plots.spectra(omegas(definition), *lengths, styles),
        "training_loss": plots.training_loss(read_losses(definition["experiment"], runs), styles),
    }


def arm_styles(definition: Definition, shown: "pd.DataFrame") -> "dict[str, LineStyle]":
    """A line style for each spectrum of the experiment and each arm of the table (by_arm), the same in every figure."""
    from rope_spectra.report import style

    names = dict.fromkeys(
        [*(spectrum["name"] for spectrum in definition["spectra"]), *shown["spectrum"]]
    )
    spectrum, remap = parse_name(definition["baseline"])
    return style.line_styles(list(names), label((spectrum, remap or NATIVE)))


def by_arm(table: "pd.DataFrame") -> "pd.DataFrame":
    """The table with the remap in the name of the spectrum: geo_500k+yarn."""
    return table.assign(
        spectrum=[label(arm) for arm in zip(table["spectrum"], table["remap"], strict=True)]
    )


def paired_deltas(runs: "pd.DataFrame", contrasts: Contrasts) -> "pd.DataFrame":
    """delta = log PPL minus that of the row's baseline at the same seed and length.

    runs: of one protocol. Columns spectrum (the remap in its name), baseline (likewise), seed, length, delta.
    """
    import numpy as np

    baselines = [
        label(contrasts.reference(arm)) for arm in zip(runs["spectrum"], runs["remap"], strict=True)
    ]
    ours = by_arm(runs).assign(baseline=baselines)
    theirs = ours[["spectrum", "seed", "length", "ppl"]].rename(columns={"spectrum": "baseline"})
    compared = ours[ours["spectrum"] != ours["baseline"]]
    paired = compared.merge(theirs, on=["baseline", "seed", "length"], suffixes=("", "_baseline"))
    columns = ["spectrum", "baseline", "seed", "length", "delta"]
    return paired.assign(delta=np.log(paired["ppl"] / paired["ppl_baseline"]))[columns]


def read_losses(experiment: str, runs: "pd.DataFrame") -> "pd.DataFrame":
    """train.csv of each run (columns spectrum and seed of `runs`): columns spectrum, seed, step, loss."""
    import pandas as pd

    tables = []
    for spectrum, seed in runs[["spectrum", "seed"]].drop_duplicates().itertuples(index=False):
        path = layout.fill(layout.TRAIN_LOG, experiment=experiment, spectrum=spectrum, seed=seed)
        tables.append(
            pd.read_csv(path, usecols=["step", "loss"]).assign(spectrum=spectrum, seed=seed)
        )
    return pd.concat(tables, ignore_index=True)


def read_positions(definition: Definition, runs: "pd.DataFrame", length: int) -> "pd.DataFrame":
    """Loss by position bin at one length, from the eval.npz of each run (columns spectrum, seed and remap of `runs`).

    Columns spectrum (the remap in its name), seed, context, nll. context: mean number of tokens that the positions of a bin see
    (position p sees p + 1); nll: nats per token, over the blocks of the seed's phase.
    """
    import numpy as np
    import pandas as pd

    from rope_spectra.aggregate import of_phase

    tables = []
    for spectrum, seed, remap in (
        runs[["spectrum", "seed", "remap"]].drop_duplicates().itertuples(index=False)
    ):
        path = layout.fill(
            layout.EVAL_NLL, experiment=definition["experiment"], spectrum=spectrum, seed=seed
        )
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[f"{remap}/{length}/{name}"] for name in ("nll", "tokens", "edges")}
        nll, tokens, edges = of_phase(arrays, definition, seed).values()
        bins = {
            "context": (edges[:-1] + edges[1:] + 1) / 2,
            "nll": nll.sum(axis=0) / (tokens * len(nll)),
        }
        tables.append(pd.DataFrame({**bins, "spectrum": label((spectrum, remap)), "seed": seed}))
    return pd.concat(tables, ignore_index=True)


if __name__ == "__main__":
    cli.run(main)
