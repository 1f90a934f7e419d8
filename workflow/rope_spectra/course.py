"""Tabulate, draw and describe the course of a finished search (rule course).

    python -m rope_spectra.course --settings results/search_small/confirmation/search.json \\
        --definition results/search_small/confirmation/experiment.json \\
        --csv results/search_small/course.csv --found results/search_small/found.csv \\
        --page results/search_small/summary.md --figures results/search_small/figures

The page has the scores that chose the best next to those on seeds and text that did not.
"""

import pandas as pd

from rope_spectra.analysis import lineage
from rope_spectra.artifacts import files, layout, seal, tables
from rope_spectra.config import appearance
from rope_spectra.config.candidates import SearchStep
from rope_spectra.config.design import Design
from rope_spectra.report import markdown, search_figures, search_section, style
from rope_spectra.runtime import cli
from rope_spectra.search.basis import read_candidates
from rope_spectra.search.course import Round, course_table, found_table
from rope_spectra.search.rounds import FinishedRound, read_rounds, read_scores, space_of
from rope_spectra.training.record import read_run


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        settings="search.json of the confirmation",
        definition="experiment.json of the confirmation",
        csv="where to write the table of the course",
        found="where to write the table of the best",
        page="where to write the page",
        figures="the folder for the figures",
    )
    cli.add_paths(parser, required=False, appearance="appearance.json: how spectra are shown")
    args = cli.parse(parser)

    step = seal.load_settings(args.settings, SearchStep)
    design = seal.load_settings(args.definition, Design)
    summary = layout.fill(layout.EXPERIMENT_SUMMARY, experiment=design.experiment)
    lineage.check_table_of(design, summary)
    rounds = read_rounds(step)
    course = course_table(space_of(step), [_as_round(each) for each in rounds])
    found = _found(step, design, rounds[-1])
    tables.write_csv(args.csv, course)
    tables.write_csv(args.found, found)
    page = search_section.search_page(step, design, course, found, tables.read_csv(summary))
    shown = appearance.read(args.appearance)
    files.write_text(args.page, markdown.relabeled(page, shown))
    with style.applied(shown):
        for name, figure in search_figures.draw(step, design, course, found).items():
            style.save(figure, args.figures / f"{name}.svg")


def _as_round(finished: FinishedRound) -> Round:
    """A finished round by the numbers of its proposals instead of by their places."""
    design = finished.design
    spectrum, seed = design.runs[0]
    run = layout.fill(layout.RUN, experiment=design.experiment, spectrum=spectrum, seed=seed)
    numbers = {name: each.proposal for name, each in finished.candidates.items()}
    return Round(
        tokens=read_run(run.parent).tokens,
        seeds=design.seeds,
        points={
            numbers[name]: tuple(each.point.values()) for name, each in finished.candidates.items()
        },
        scores={numbers[name]: score for name, score in finished.scores.items()},
        new={numbers[name] for name in finished.new},
    )


def _found(step: SearchStep, design: Design, last: FinishedRound) -> pd.DataFrame:
    """found.csv: the best on what chose them, and on seeds and text of the confirmation."""
    numbers = {each.name: each.proposal for each in read_candidates(design.experiment).candidates}
    chosen = {each.proposal: last.scores[name] for name, each in last.candidates.items()}
    return found_table(
        step.objective.metrics,
        numbers,
        {name: chosen[number] for name, number in numbers.items()},
        read_scores(step, design, list(numbers), last.design.baseline),
    )


if __name__ == "__main__":
    cli.run(main)
