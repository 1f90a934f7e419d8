"""The parts of searches as experiments: a round each, and the confirmation.

`<search>/round0` has the folder results/<search>/round0, and so on. A part trains with its share of
the tokens, its candidates are known by their places alone.
"""

from rope_spectra.artifacts import layout
from rope_spectra.artifacts.layout import part_of_search
from rope_spectra.config.candidates import EarlierRound, SearchStep
from rope_spectra.config.experiment import Primary, RetrievalEndpoint, Selection
from rope_spectra.config.frozen import design
from rope_spectra.config.search import Search, SearchPart
from rope_spectra.config.sections import Config, Training

# Of the validation text: what chose the best must not also confirm it.
_SELECTING_BLOCKS = 0.5


def with_parts(config: Config) -> Config:
    """The configuration with the parts of its searches among the experiments."""
    experiments, training = dict(config.experiments), dict(config.training)
    for name, search in config.searches.items():
        *rounds, last = config.parts_of(name)
        for index, part in enumerate(rounds):
            training[part] = round_training(config, search, index)
            experiments[part] = _round(name, search, index)
        experiments[last] = _confirmation(config, name, search)
    return config.model_copy(update={"experiments": experiments, "training": training})


def round_training(config: Config, search: Search, index: int) -> Training:
    """The training preset of a round: that of the search with its share of the tokens."""
    preset = config.training[search.training]
    share = search.rounds[index].share
    if share == 1 or preset.tokens is None:
        return preset
    return preset.model_copy(update={"tokens": round(share * preset.tokens)})


def _round(name: str, search: Search, index: int) -> SearchPart:
    slots, seeds = search.slots(index), search.rounds[index].seeds
    return SearchPart(
        description=f"Round {index} of {name}.",
        dataset=search.dataset,
        model=search.model,
        training=part_of_search(name, index),
        evaluation=search.evaluation,
        spectra=[search.baseline, *slots],
        seeds=seeds,
        baseline=search.baseline,
        contrasts=[],
        selection=Selection(seeds=seeds, blocks=_SELECTING_BLOCKS),
        search=name,
        proposed=slots,
        is_confirmation=False,
    )


def _confirmation(config: Config, name: str, search: Search) -> SearchPart:
    length = search.objective.length
    is_beyond = length > config.training[search.training].seq_len
    seeks_retrieval = "retrieval" in search.objective.metrics
    found, declared = search.found, search.confirmation.spectra
    # The baseline tells what the score of the best was worth on text and seeds that chose it.
    trained = list(dict.fromkeys([*found, *declared, search.baseline]))
    return SearchPart(
        description=search.description,
        dataset=search.dataset,
        model=search.model,
        training=search.training,
        evaluation=search.evaluation,
        spectra=trained,
        seeds=search.confirmation.seeds,
        baseline=f"{found[0]}+none",
        contrasts=[f"{spectrum}+none" for spectrum in declared],
        selection=Selection(seeds=search.selection_seeds, blocks=_SELECTING_BLOCKS),
        primary=Primary(metric="degradation" if is_beyond else "ppl", length=length),
        retrieval=RetrievalEndpoint(length=length) if seeks_retrieval else None,
        search=name,
        proposed=found,
        is_confirmation=True,
    )


def step(config: Config, part: str) -> SearchStep:
    """The frozen settings that the candidates of a part follow from."""
    experiment = config.experiments[part]
    assert isinstance(experiment, SearchPart), part
    search = config.searches[experiment.search]
    parts = config.parts_of(experiment.search)
    before = parts[: parts.index(part)]
    earlier = [
        EarlierRound(
            design=design(config, name),
            candidates=search.slots(index),
            proposals=search.proposals(index),
        )
        for index, name in enumerate(before)
    ]
    proposals = [search.proposals(index) for index in range(len(search.rounds))]
    # A later round that only goes on with some changes nothing in those before.
    while not proposals[-1]:
        proposals.pop()
    return SearchStep(
        search=experiment.search,
        space=search.space,
        objective=search.objective,
        sampler=search.sampler,
        seed=search.seed,
        head_dim=config.model_of(part).head_dim,
        train_length=config.training_of(part).seq_len,
        earlier=earlier,
        names=experiment.proposed,
        new=0 if experiment.is_confirmation else search.proposals(len(before)),
        proposals=proposals,
    )


def step_inputs(config: Config, part: str) -> list[str]:
    """The files of the rounds before a part that its candidates follow from."""
    paths = []
    for earlier in step(config, part).earlier:
        name = earlier.design.experiment
        paths.append(layout.CANDIDATES.format(experiment=name))
        paths += [path for run in earlier.design.runs for path in layout.run_files(name, *run)]
    return paths
