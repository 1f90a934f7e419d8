"""Checks of searches, before their parts become experiments; each yields one line per mistake."""

from collections.abc import Iterator
from importlib.util import find_spec

from rope_spectra.config.checks import presets, undefined
from rope_spectra.config.parts import round_training
from rope_spectra.config.search import FOUND, Search
from rope_spectra.config.sections import Config

# With fewer the step sizes of the library are divided by zero.
_FEWEST_OF_CMAES = 4
_LIBRARIES = {"cmaes": ("optuna", "cmaes"), "tpe": ("optuna",), "random": ("optuna",)}


def references(config: Config) -> Iterator[str]:
    """Every name that a search uses is defined, and none stands for something else."""
    for name, search in config.searches.items():
        path = f"searches.{name}"
        if name in config.experiments:
            yield f"{path}: {name!r} is an experiment too; give one of them another name"
        yield from presets(config, path, search)
        for key, spectra in (
            ("baseline", [search.baseline]),
            ("confirmation.spectra", search.confirmation.spectra),
        ):
            yield from undefined(f"{path}.{key}", "spectrum", spectra, config.spectra)
        slots = [slot for index in range(len(search.rounds)) for slot in search.slots(index)]
        taken = {*FOUND, *slots} & {search.baseline, *search.confirmation.spectra}
        for spectrum in sorted(taken):
            yield f"{path}: {spectrum!r} is the name of a candidate; give that spectrum another one"


def consistency(config: Config) -> Iterator[str]:
    """Sizes and choices of searches fit together; needs all references to be good."""
    for name, search in config.searches.items():
        path = f"searches.{name}"
        yield from _space(config, path, search)
        yield from _objective(config, path, search)
        yield from _rounds(path, search)
        yield from _seeds(path, search)
        # A preset of another size than a search needs may serve everything else.
        if name in config.run:
            yield from _budget(config, path, search)
            yield from _library(path, search)


def _space(config: Config, path: str, search: Search) -> Iterator[str]:
    space = search.space
    trained = config.training[search.training].seq_len
    shortest, longest = space.bounds(trained)
    if shortest >= longest:
        yield (
            f"{path}.space.wavelength: {shortest:g} is not below {longest:g}, so the space is"
            " empty; give the shorter one first"
        )
    least, most = space.stilled
    if least > most:
        yield f"{path}.space.stilled: {least:g} is above {most:g}; give the smaller one first"
    pairs = config.models[search.model].pairs
    rotating = round(pairs * (1 - max(least, most)))
    if space.knots > rotating:
        yield (
            f"{path}.space.knots: {space.knots} knots for {rotating} rotary pairs (models."
            f"{search.model}, without those stilled) make no monotone curve; give {rotating} or"
            " fewer"
        )


def _objective(config: Config, path: str, search: Search) -> Iterator[str]:
    objective = search.objective
    trained = config.training[search.training].seq_len
    evaluation = config.evaluation[search.evaluation]
    preset = f"evaluation.{search.evaluation}"
    if objective.length not in evaluation.lengths:
        yield f"{path}.objective.length: {objective.length} is not among {preset}.lengths; add it"
    if "none" not in evaluation.remaps:
        yield f"{path}.objective: is measured without a remap; add none to {preset}.remaps"
    needs_trained = "degradation" in objective.metrics or objective.limit is not None
    if needs_trained and trained not in evaluation.lengths:
        yield f"{path}.objective: needs the training length {trained}; add it to {preset}.lengths"
    if "full" not in evaluation.protocols:
        yield f"{path}.objective: needs blocks of validation text; add full to {preset}.protocols"
    if "degradation" in objective.metrics and objective.length <= trained:
        yield (
            f"{path}.objective.length: {objective.length} is not beyond the training length"
            f" {trained}, where nothing degrades; give a longer one"
        )
    if "retrieval" in objective.metrics and evaluation.retrieval is None:
        yield f"{path}.objective.metric: retrieval is not measured; give {preset}.retrieval"
    if search.sampler == "cmaes" and len(objective.metrics) > 1:
        yield f"{path}.sampler: cmaes seeks by one metric; give tpe or random for two"


def _rounds(path: str, search: Search) -> Iterator[str]:
    for index, each in enumerate(search.rounds):
        where = f"{path}.rounds.{index}"
        new = search.proposals(index)
        if search.sampler == "cmaes" and 0 < new < _FEWEST_OF_CMAES:
            yield (
                f"{where}.proposals: {new} new candidates, but cmaes learns from {_FEWEST_OF_CMAES}"
                " or more at once; give more, 0, or another sampler"
            )
        if not index:
            if new != each.candidates:
                yield f"{where}.proposals: all candidates of the first round are new; leave it out"
            continue
        before = search.rounds[index - 1]
        if each.candidates > before.candidates:
            yield (
                f"{where}.candidates: {each.candidates} after {before.candidates}, but rounds do"
                f" not grow; give at most {before.candidates}"
            )
        if new > each.candidates:
            yield (
                f"{where}.proposals: {new} of {each.candidates} candidates; give at most"
                f" {each.candidates}"
            )
        if each.share < before.share:
            yield (
                f"{where}.share: {each.share:g} after {before.share:g}, but later rounds do not"
                f" train less; give at least {before.share:g}"
            )
        if len(each.seeds) < len(before.seeds):
            yield (
                f"{where}.seeds: {len(each.seeds)} after {len(before.seeds)}, but later rounds do"
                f" not have fewer; give at least {len(before.seeds)}"
            )


def _budget(config: Config, path: str, search: Search) -> Iterator[str]:
    training = config.training[search.training]
    tokens = training.tokens
    if tokens is None:
        if any(each.share < 1 for each in search.rounds):
            preset = f"training.{search.training}"
            yield f"{path}.rounds: a share of the training needs a number; give {preset}.tokens"
        return
    available = config.datasets[search.dataset].budget("train")
    if available is not None and tokens > available:
        yield (
            f"{path}.training: {search.training} trains on {tokens} tokens and datasets."
            f"{search.dataset} has {available}, so shares would not be what they say; give more"
            " train_tokens"
        )
    least = training.seq_len * training.batch_size
    for index, each in enumerate(search.rounds):
        share = round_training(config, search, index).tokens
        if share is not None and share < least <= tokens:
            yield (
                f"{path}.rounds.{index}.share: {each.share:g} of {tokens} tokens is less than one"
                f" step of {least}; give a larger one"
            )


def _seeds(path: str, search: Search) -> Iterator[str]:
    for seed in search.confirmation.seeds:
        if seed in search.selection_seeds:
            yield (
                f"{path}.confirmation.seeds: {seed} is a seed of a round, which chose by it; give"
                " another"
            )


def _library(path: str, search: Search) -> Iterator[str]:
    missing = [name for name in _LIBRARIES[search.sampler] if find_spec(name) is None]
    if missing:
        yield (
            f"{path}.sampler: {search.sampler} needs {' and '.join(missing)}, which"
            f" {'is' if len(missing) == 1 else 'are'} not installed; pip install"
            " --constraint envs/constraints.txt --requirement envs/requirements-search.txt"
        )
