"""The finished rounds of a search, read from results/, and the candidates that follow from them."""

from dataclasses import dataclass

from rope_spectra.analysis import lineage
from rope_spectra.analysis.runs import of_phase, read_arrays
from rope_spectra.config.candidates import Candidate, Candidates, EarlierRound, SearchStep
from rope_spectra.config.design import Design
from rope_spectra.search import objective, sampler
from rope_spectra.search.basis import basis, read_candidates
from rope_spectra.search.objective import Measured, Objective, Score
from rope_spectra.search.space import Space


@dataclass(frozen=True)
class FinishedRound:
    """A round that is over: its candidates and their scores, by their places, and the new ones."""

    design: Design
    candidates: dict[str, Candidate]
    scores: dict[str, Score]
    new: list[str]

    @property
    def ranked(self) -> list[Candidate]:
        """The candidates, the best first."""
        return [self.candidates[name] for name in objective.in_order(self.scores)]


def space_of(step: SearchStep) -> Space:
    """The space of a search at its training length."""
    shortest, longest = step.space.bounds(step.train_length)
    least, most = step.space.stilled
    return Space(step.space.knots, shortest, longest, (least, most))


def objective_of(step: SearchStep) -> Objective:
    """The objective of a search at its training length."""
    given = step.objective
    return Objective(tuple(given.metrics), given.length, step.train_length, given.limit)


def read_rounds(step: SearchStep) -> list[FinishedRound]:
    """The rounds before a step, in their order, scored on the text of the selection.

    Raises UserError for a run that is missing, damaged, or of another spectrum or evaluation.
    """
    return [_read_round(step, earlier) for earlier in step.earlier]


def _read_round(step: SearchStep, earlier: EarlierRound) -> FinishedRound:
    found = read_candidates(earlier.design.experiment)
    design = Design.model_validate(found.fill(earlier.design.content()))
    lineage.read_evaluations(design, design.runs)
    candidates = {each.name: each for each in found.candidates}
    scores = read_scores(step, design, list(candidates), design.baseline)
    new = list(candidates)[len(candidates) - earlier.proposals :]
    return FinishedRound(design, candidates, scores, new)


def read_scores(
    step: SearchStep, design: Design, names: list[str], baseline: str
) -> dict[str, Score]:
    """The scores of spectra of a part on the text that its seeds serve, less the baseline."""
    of_baseline = _measured(step, design, baseline)
    limit = step.objective.limit
    return {
        name: objective.score(_measured(step, design, name), of_baseline, limit) for name in names
    }


def _measured(step: SearchStep, design: Design, spectrum: str) -> list[Measured]:
    """The scores of the runs of a spectrum, a seed each, in the order of the seeds."""
    sought = objective_of(step)
    return [
        objective.measured(
            of_phase(read_arrays(design.experiment, spectrum, seed), design, seed), sought
        )
        for seed in design.seeds
    ]


def next_candidates(step: SearchStep, rounds: list[FinishedRound]) -> Candidates:
    """The candidates of a step: the best of the last round, and then new ones of the sampler.

    Called again for the same rounds it gives the same, byte for byte.
    """
    kept = rounds[-1].ranked[: len(step.names) - step.new] if rounds else []
    points = _proposed(step, rounds) if step.new else []
    space = space_of(step)
    count = sum(len(each.new) for each in rounds)
    new = [
        Candidate(
            name=step.names[0],
            proposal=count + index,
            point=dict(zip(space.names, point, strict=True)),
            inv_freq=space.inv_freq(point, step.head_dim // 2),
        )
        for index, point in enumerate(points)
    ]
    placed = [
        candidate.model_copy(update={"name": name})
        for name, candidate in zip(step.names, [*kept, *new], strict=True)
    ]
    return Candidates(search=step.search, basis=basis(step), candidates=placed)


def _proposed(step: SearchStep, rounds: list[FinishedRound]) -> list[tuple[float, ...]]:
    names = space_of(step).names
    told = []
    for each in rounds:
        points = [tuple(each.candidates[name].point[key] for key in names) for name in each.new]
        told.append(sampler.Told(points, [each.scores[name].told for name in each.new]))
    return sampler.propose(
        step.sampler, step.seed, names, step.proposals, told, len(step.objective.metrics)
    )
