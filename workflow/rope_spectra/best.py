"""Write the best spectrum of a search as a piece of config.yaml to paste (rule best).

    python -m rope_spectra.best --settings results/search_small/confirmation/search.json \\
        --definition results/search_small/confirmation/experiment.json \\
        --output results/search_small/best.yaml

Its comments have the score that chose it next to that on the seeds and text of the confirmation,
and the verdicts there.
"""

from collections.abc import Iterator

from rope_spectra.analysis import lineage
from rope_spectra.artifacts import files, layout, seal, tables
from rope_spectra.config.candidates import SearchStep
from rope_spectra.config.design import Design, parse_arm
from rope_spectra.runtime import cli
from rope_spectra.search.basis import read_candidates
from rope_spectra.search.objective import Score
from rope_spectra.search.rounds import FinishedRound, read_rounds, read_scores


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        settings="search.json of the confirmation",
        definition="experiment.json of the confirmation",
        output="the file to write",
    )
    args = cli.parse(parser)

    step = seal.load_settings(args.settings, SearchStep)
    design = seal.load_settings(args.definition, Design)
    lineage.check(design)
    last = read_rounds(step)[-1]
    files.write_text(
        args.output, "\n".join([*remarks(step, design, last), *entry(step, design)]) + "\n"
    )


def remarks(step: SearchStep, design: Design, last: FinishedRound) -> Iterator[str]:
    """Comment lines: what chose the spectrum, and how it did afterwards."""
    name, _ = parse_arm(design.baseline)
    winner = last.ranked[0]
    selection = last.scores[winner.name]
    confirmation = read_scores(step, design, [name], last.design.baseline)[name]
    baseline = last.design.baseline
    yield f"# The best spectrum of {step.search}: proposal {winner.proposal}, counted from 0."
    if not selection.is_allowed:
        yield "# None kept the limit of the objective; this one is nearest to it."
    for index, metric in enumerate(step.objective.metrics):
        unit = "log PPL" if metric == "degradation" else "share of trials lost"
        yield f"# {metric} at {step.objective.length}, less that of {baseline}, {unit}:"
        yield f"#   selection     {_line(selection, index)}, which chose it"
        yield f"#   confirmation  {_line(confirmation, index)}, other seeds and text"
    summary = tables.read_csv(layout.fill(layout.EXPERIMENT_SUMMARY, experiment=design.experiment))
    for row in summary[summary["endpoint"] == "primary"].itertuples():
        endpoint = design.primary.metric if design.primary else "ppl"
        yield f"# {endpoint} of {row.spectrum} against it at {row.length}: {row.verdict}"


def _line(score: Score, index: int) -> str:
    noise = score.noise[index]
    error = f" +- {noise:.4f}" if noise == noise else ""
    plural = "" if len(score.deltas) == 1 else "s"
    return f"{score.values[index]:+.4f}{error} over {len(score.deltas)} seed{plural}"


def entry(step: SearchStep, design: Design) -> Iterator[str]:
    """The spectrum as config.yaml has it."""
    name, _ = parse_arm(design.baseline)
    for candidate in read_candidates(design.experiment).candidates:
        if candidate.name == name:
            numbers = ", ".join(map(repr, candidate.inv_freq))
            yield "spectra:"
            yield f"  {step.search}_{name}: {{family: values, inv_freq: [{numbers}]}}"


if __name__ == "__main__":
    cli.run(main)
