"""Draw the figures of an experiment and tabulate its spectra (rule figures).

    python -m rope_spectra.figures --definition results/demo/experiment.json \\
        --output results/demo/figures --spectra-csv results/demo/spectra.csv

Reads runs.csv, summary.csv and every run's train.csv and eval.npz; writes one SVG per figure.
"""

from pathlib import Path

from rope_spectra.analysis import lineage
from rope_spectra.analysis.spectra_table import spectra_table
from rope_spectra.artifacts import files, seal
from rope_spectra.config import appearance
from rope_spectra.config.appearance import Appearance
from rope_spectra.config.design import Design
from rope_spectra.report import gallery, style
from rope_spectra.runtime import cli


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        definition="experiment.json: the experiment's design",
        output="folder of the figures",
    )
    parser.add_argument(
        "--spectra-csv", type=Path, help="where to write the diagnostics of the spectra"
    )
    cli.add_paths(parser, required=False, appearance="appearance.json: how spectra are shown")
    args = cli.parse(parser)

    design = seal.load_settings(args.definition, Design)
    lineage.check(design)
    if args.spectra_csv:
        table = spectra_table(design)
        files.write_text(args.spectra_csv, table.to_csv(index=False, lineterminator="\n"))
    write_figures(design, args.output, appearance.read(args.appearance))


def write_figures(design: Design, folder: Path, shown: Appearance | None = None) -> None:
    """Draw and publish every figure of layout.FIGURES."""
    with style.applied(shown):
        for name, figure in gallery.of_all_experiments(design).items():
            path = folder / f"{name}.svg"
            style.save(figure, path)
            cli.log.info("%s", path)


if __name__ == "__main__":
    cli.run(main)
