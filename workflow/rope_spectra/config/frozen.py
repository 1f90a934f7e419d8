"""The frozen settings of jobs: small sorted JSON files that they read instead of config.yaml.

A file holds what matters to one job and nothing else, so that only a change that matters makes work
again. Its content is canonical: keys that are younger than finished runs are left out where they
are off, and those runs stay valid.
"""

from typing import Literal, TypeAlias

from rope_spectra.config import design as designs
from rope_spectra.config.design import Design
from rope_spectra.config.search import SearchPart
from rope_spectra.config.sections import Config, EvaluationSettings, RunOptions, TrainingRecipe
from rope_spectra.data.base import DocumentSection, TrainedTokenizer
from rope_spectra.data.sources import LearnedTokenizer, SplitSettings, TokenizeOptions
from rope_spectra.model.config import ModelConfig
from rope_spectra.rope.families import NamedSpectrum
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import ExperimentName, Seed, Settings

# Raise it to train everything again on purpose, after a change of code that changes results.
RECIPE = 1

DataPart: TypeAlias = Literal["tokenizer", "options", "sentence", "train", "validation"]


class RunSettings(Settings):
    """All that one training run depends on besides its tokens (config.json)."""

    recipe: int
    experiment: ExperimentName
    seed: Seed
    spectrum: NamedSpectrum
    model: ModelConfig
    training: TrainingRecipe


class SentenceSettings(Settings):
    """The sentence of the retrieval probe, as text."""

    sentence: str


def runs(config: Config, experiment: str) -> list[tuple[str, int]]:
    """(spectrum, seed) of every run of an experiment, all spectra of a seed together."""
    return config.experiments[experiment].runs


def repeats(config: Config, experiment: str) -> list[tuple[str, str]]:
    """(spectrum, seed-repeat) of the runs that measure the noise floor of an experiment."""
    parts = config.experiments[experiment]
    return designs.repeats(parts.baseline, parts.seeds, parts.noise_floor)


def run_settings(config: Config, experiment: str, spectrum: str, seed: int) -> RunSettings:
    """The frozen settings of one training run."""
    return RunSettings(
        recipe=RECIPE,
        experiment=experiment,
        seed=seed,
        spectrum=named_spectrum(config, experiment, spectrum),
        model=config.model_of(experiment),
        training=config.training_of(experiment).recipe,
    )


def proposed(config: Config, experiment: str) -> list[str]:
    """The spectra of an experiment that a search proposes; none where it is no part of one."""
    parts = config.experiments[experiment]
    return parts.proposed if isinstance(parts, SearchPart) else []


def named_spectrum(config: Config, experiment: str, name: str) -> NamedSpectrum:
    """A spectrum with the numbers that it leaves to the experiment."""
    head_dim = config.model_of(experiment).head_dim
    train_length = config.training_of(experiment).seq_len
    shape = config.shape_of(experiment, name).completed(head_dim, train_length)
    return NamedSpectrum(name=name, shape=shape)


def run_options(config: Config, experiment: str) -> RunOptions:
    """The options that may change without training again."""
    return config.training_of(experiment).options


def evaluation_settings(config: Config, experiment: str) -> EvaluationSettings:
    """The settings that an evaluation depends on."""
    return config.evaluation_of(experiment).settings


def design(config: Config, experiment: str) -> Design:
    """The settings that an experiment's tables and figures depend on besides its runs."""
    parts = config.experiments[experiment]
    evaluation = config.evaluation_of(experiment)
    return Design(
        experiment=experiment,
        description=parts.description,
        dataset=parts.dataset,
        model=parts.model,
        training=parts.training,
        seeds=parts.seeds,
        baseline=parts.baseline,
        contrasts=parts.declared_contrasts,
        selection=parts.selection,
        noise_floor=parts.noise_floor,
        lengths=evaluation.lengths,
        protocols=evaluation.protocols,
        remaps=evaluation.remaps,
        equivalence_margin=evaluation.equivalence_margin,
        retrieval=evaluation.retrieval,
        primary=parts.primary,
        retrieval_endpoint=parts.retrieval,
        looks=parts.looks,
        stopped=parts.stopped,
        hypotheses=parts.hypotheses,
        head_dim=config.model_of(experiment).head_dim,
        train_length=config.training_of(experiment).seq_len,
        spectra=[named_spectrum(config, experiment, name) for name in parts.spectra],
    )


def data_settings(config: Config, dataset: str, part: DataPart) -> Settings:
    """The frozen settings of one part of a dataset.

    Raises UserError for the tokenizer of a dataset that is tokens already.
    """
    data = config.datasets[dataset]
    if part == "train" or part == "validation":
        return SplitSettings(split=part, tokens=data.budget(part), source=data.split(part))
    if not isinstance(data, DocumentSection):
        raise UserError(
            f"datasets.{dataset}: its source is tokens, so it has no {part}; ask for its"
            " train or validation part"
        )
    if part == "options":
        return TokenizeOptions(tokenizer_check=data.tokenizer_check)
    if part == "sentence":
        return SentenceSettings(sentence=data.retrieval_sentence)
    if isinstance(data.tokenizer, TrainedTokenizer):
        return LearnedTokenizer(
            train=data.tokenizer.train,
            vocab_size=data.tokenizer.vocab_size,
            source=data.split("train"),
        )
    return data.tokenizer
