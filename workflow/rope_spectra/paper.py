"""Draw a figure of an experiment for a paper (rule paper_figure).

    python -m rope_spectra.paper --definition results/demo/experiment.json \\
        --figure ppl_by_length --output results/demo/figures

Writes it as PDF and PNG; and, in column/, as SVG, PDF and PNG in the width of a paper's column,
3.25 inches, without title and caption.
"""

from rope_spectra.analysis import lineage
from rope_spectra.artifacts import seal
from rope_spectra.config import appearance
from rope_spectra.config.design import Design
from rope_spectra.report import gallery, style
from rope_spectra.runtime import cli


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        definition="experiment.json: the experiment's design",
        output="folder of the experiment's figures",
    )
    cli.add_paths(parser, required=False, appearance="appearance.json: how spectra are shown")
    parser.add_argument("--figure", required=True, help="name of the figure")
    args = cli.parse(parser)

    design = seal.load_settings(args.definition, Design)
    lineage.check(design)
    shown = appearance.read(args.appearance)
    forms: tuple[tuple[style.Form, str, tuple[str, ...]], ...] = (
        ("full", ".", ("pdf", "png")),
        ("column", "column", ("svg", "pdf", "png")),
    )
    for form, folder, kinds in forms:
        with style.applied(shown, form):
            figure = gallery.draw(args.figure, design)
            for kind in kinds:
                path = args.output / folder / f"{args.figure}.{kind}"
                style.save(figure, path)
                cli.log.info("%s", path)


if __name__ == "__main__":
    cli.run(main)
