"""Draw the figures of an experiment from its tables and runs, and tabulate what its spectra do (rule figures).

    python -m rope_spectra.figures --definition results/demo/experiment.json --output results/demo/figures \\
        --spectra-csv results/demo/spectra.csv

Reads runs.csv, summary.csv and every run's train.csv and eval.npz; writes one SVG per figure.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rope_spectra.analysis import lineage
from rope_spectra.analysis.runs import read_losses, read_positions
from rope_spectra.artifacts import files, layout, seal
from rope_spectra.config.design import NATIVE, SELECTION, Contrasts, Design, label, parse_arm
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

    design = seal.load_settings(args.definition, Design)
    lineage.check(design)
    if args.spectra_csv:
        files.write_text(
            args.spectra_csv, spectra_table(design).to_csv(index=False, lineterminator="\n")
        )
    write_figures(design, args.output)


def spectra_table(design: Design) -> "pd.DataFrame":
    """One row per spectrum: its family and its diagnosis (diagnostics.diagnose)."""
    import pandas as pd

    lengths = {"train_length": design.train_length, "longest": design.longest}
    families = {spectrum.name: spectrum.shape.family for spectrum in design.spectra}
    rows = [
        {
            "spectrum": name,
            "family": families[name],
            **lengths,
            **diagnostics.diagnose(omega, **lengths),
        }
        for name, omega in omegas(design).items()
    ]
    return pd.DataFrame(rows).astype({"first_negative_distance": "Int64"})


def omegas(design: Design) -> dict[str, Any]:
    """The frequencies of each spectrum, fp32 [head_dim / 2], in display order."""
    return {spectrum.name: spectrum.inv_freq(design.head_dim) for spectrum in design.spectra}


def write_figures(design: Design, output: Path) -> None:
    """Draw and publish every figure of layout.FIGURES."""
    from rope_spectra.artifacts.tables import read_csv
    from rope_spectra.report import style

    tables = [
        layout.fill(path, experiment=design.experiment)
        for path in (layout.RUNS, layout.EXPERIMENT_SUMMARY)
    ]
    runs, summary = (read_csv(path).query(f"phase != '{SELECTION}'") for path in tables)
    with style.applied():
        for name, figure in draw(design, runs, summary).items():
            style.save(figure, output / f"{name}.svg")
            cli.log.info("%s", output / f"{name}.svg")


def draw(design: Design, runs: "pd.DataFrame", summary: "pd.DataFrame") -> "dict[str, Figure]":
    """The figures by name, from the rows of runs.csv and summary.csv; reads the files of each run.

    Where models were evaluated with remaps, each is drawn as one more spectrum, such as geo_500k+yarn.
    """
    from rope_spectra.report import panels, plots

    margin, lengths = design.equivalence_margin, (design.train_length, design.longest)
    contrasts = design.comparisons
    protocol = "full" if "full" in set(runs["protocol"]) else "first_chunks"
    shown, means = (by_arm(table[table["protocol"] == protocol]) for table in (runs, summary))
    styles = arm_styles(design, shown)
    positions = (
        read_positions(design, runs[runs["protocol"] == protocol], lengths[1])
        if protocol == "full"
        else None
    )
    deltas = paired_deltas(runs[runs["protocol"] == protocol], contrasts)
    return {
        "ppl_by_length": plots.ppl_by_length(shown, protocol, lengths[0], styles),
        "nll_by_position": plots.nll_by_position(positions, *lengths, styles),
        "paired_deltas": panels.paired_deltas(deltas, means, contrasts.baseline, margin, styles),
        "spectra": plots.spectra(omegas(design), *lengths, styles),
        "training_loss": plots.training_loss(read_losses(design.experiment, runs), styles),
    }


def arm_styles(design: Design, shown: "pd.DataFrame") -> "dict[str, LineStyle]":
    """A line style for each spectrum of the experiment and each arm of the table (by_arm), the same in every figure."""
    from rope_spectra.report import style

    names = dict.fromkeys([*(spectrum.name for spectrum in design.spectra), *shown["spectrum"]])
    spectrum, remap = parse_arm(design.baseline)
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


if __name__ == "__main__":
    cli.run(main)
