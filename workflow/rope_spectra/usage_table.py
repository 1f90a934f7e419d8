"""Tabulate and draw what the models of an experiment use (rule usage_table).

    python -m rope_spectra.usage_table --definition results/demo/experiment.json \\
        --csv results/demo/usage.csv --runs results/demo/usage_runs.csv \\
        --attention results/demo/usage_attention.csv --figures results/demo/figures

Reads every run's usage.npz but those of seeds that serve selection.
"""

from rope_spectra.analysis import lineage, usage_table
from rope_spectra.analysis.runs import read_usages
from rope_spectra.artifacts import seal, tables
from rope_spectra.config import appearance
from rope_spectra.config.design import Design
from rope_spectra.report import style, usage_figures
from rope_spectra.runtime import cli


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        definition="experiment.json: the experiment's design",
        csv="where to write the table of the pairs",
        runs="where to write the table of the runs",
        attention="where to write the table of attention by distance",
        figures="folder of the figures",
    )
    cli.add_paths(parser, required=False, appearance="appearance.json: how spectra are shown")
    args = cli.parse(parser)

    design = seal.load_settings(args.definition, Design)
    lineage.check(design)
    usages = read_usages(design)
    omegas = {spectrum.name: spectrum.inv_freq(design.head_dim) for spectrum in design.spectra}
    pairs = usage_table.by_pair(usages, omegas)
    runs = usage_table.by_run(pairs, design.train_length)
    attention = usage_table.attention(usages)
    written = {
        args.csv: usage_table.summarize(pairs, runs),
        args.runs: runs,
        args.attention: usage_table.attention_summary(attention),
    }
    for path, table in written.items():
        table.insert(0, "experiment", design.experiment)
        tables.write_csv(path, table)
    with style.applied(appearance.read(args.appearance)):
        for name, figure in usage_figures.draw(design, pairs, attention).items():
            style.save(figure, args.figures / f"{name}.svg")


if __name__ == "__main__":
    cli.run(main)
