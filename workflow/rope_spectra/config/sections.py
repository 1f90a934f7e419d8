"""The sections of config.yaml: a model for each, the one place of its keys, defaults and limits.

docs/configuration.md and the schema that editors read are made from these. What has to hold between
sections is in checks.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from rope_spectra.artifacts.layout import part_of_search
from rope_spectra.config.experiment import Experiment
from rope_spectra.config.search import Search, SearchPart
from rope_spectra.config.shares import RetrievalShare, TaskShares
from rope_spectra.data.base import Probe, Task
from rope_spectra.data.sources import Dataset
from rope_spectra.model.config import ModelConfig
from rope_spectra.rope import remaps as remapping
from rope_spectra.rope.families import Proposed, Shape, Spectrum
from rope_spectra.runtime.devices import MOST_SHARES
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Distinct, Name, Section

Protocol: TypeAlias = Literal["first_chunks", "full"]


def _remap(name: str) -> str:
    try:
        remapping.parse(name)
    except ValueError as mistake:
        raise PydanticCustomError("mistake", "{text}", {"text": str(mistake)}) from None
    return name


Remap: TypeAlias = Annotated[
    str,
    AfterValidator(_remap),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(remapping.METHODS)},
                {"type": "string", "pattern": remapping.PATTERN},
            ]
        }
    ),
]


class TrainingRecipe(Section):
    """The keys of a training preset that decide what a run learns."""

    tokens: Annotated[int, Field(ge=1)] | None = None
    """Training tokens of a run, at most what the dataset has (null is all whole rows)"""
    seq_len: int = Field(ge=2)
    """Tokens per row"""
    batch_size: int = Field(ge=1)
    """Rows per optimizer step"""
    micro_batch_size: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Rows per forward pass (auto is the most that fit into memory); the gradient is of the whole
    batch"""
    learning_rate: float = Field(gt=0)
    """Peak learning rate"""
    warmup_fraction: float = Field(0.02, ge=0, lt=1)
    """Part of the steps with a linearly rising learning rate; a cosine to 0 follows"""
    weight_decay: float = Field(0.1, ge=0)
    """AdamW's weight decay on all parameters"""
    betas: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        [0.9, 0.95], min_length=2, max_length=2
    )
    """AdamW's two decay rates"""
    grad_clip: float = Field(1.0, gt=0)
    """Largest global norm of the gradient"""
    precision: Literal["bf16", "fp32", "bf16_products"] = "bf16"
    """Of the matrix products (bf16 is autocast, for a GPU; bf16_products is for `device: cpu`: the
    linear layers train in bf16, attention and evaluation are fp32); weights and optimizer are fp32
    always"""
    deterministic: bool = True
    """Same seed gives the same bits on the same machine"""
    compile: Literal["auto"] | bool = "auto"
    """Whether to use torch.compile (auto is on a GPU, on a CPU for runs of ten minutes or more)"""
    # Younger than finished runs, whose frozen settings must stay as they were: left out at 0.
    retrieval_share: RetrievalShare = Field(0.0, exclude_if=lambda share: share == 0)
    """Part of the training rows that have the retrieval probe between their text: its sentence for
    a number, its tasks for a mapping (`{key: 0.2, keys: 0.1}`); the study has none"""
    device: Literal["auto", "cpu"] = "auto"
    """Where to train and evaluate (auto is a GPU where there is one; cpu needs none and runs side
    by side)"""

    @property
    def probe(self) -> Probe | None:
        """The form of the retrieval probe in the training rows, None for rows without it."""
        if isinstance(self.retrieval_share, TaskShares):
            return "tasks"
        return "sentence" if self.retrieval_share else None

    def rows(self, available_tokens: int) -> int:
        """int rows of seq_len tokens that a run trains on."""
        tokens = available_tokens if self.tokens is None else min(self.tokens, available_tokens)
        return tokens // self.seq_len

    def steps(self, available_tokens: int) -> int:
        """Optimizer steps of a run: whole batches."""
        return self.rows(available_tokens) // self.batch_size


class RunOptions(Section):
    """The keys of a training preset that change how a run goes, not what it learns.

    Several GPUs change results by rounding.
    """

    gpus_per_run: int = Field(1, ge=1)
    """GPUs that share each run, a process each; changes results by rounding only"""
    # Younger than frozen options, which must stay as they were: left out at the default.
    runs_per_gpu: int = Field(1, ge=1, le=MOST_SHARES, exclude_if=lambda runs: runs == 1)
    """Small runs that share a GPU, each with its part of the memory; `--resources gpu=` then counts
    runs; changes results by rounding only, where micro_batch_size is auto"""
    log_every: int = Field(10, ge=1)
    """Steps between two rows of train.csv; changes no result"""
    tensorboard: Literal["auto"] | bool = "auto"
    """Whether to write training curves for TensorBoard (auto is where the package tensorboard is
    installed)"""
    checkpoint_minutes: Annotated[float, Field(ge=0)] | None = 10.0
    """Minutes between two saved states that an interrupted training resumes from (null is none by
    time)"""
    checkpoint_steps: Annotated[int, Field(ge=1)] | None = None
    """Steps between two saved states, besides those by time (null is none by steps)"""
    # Left out at the default, as runs_per_gpu.
    rank_timeout_minutes: float = Field(2.0, gt=0, exclude_if=lambda minutes: minutes == 2.0)
    """Minutes without a sign of life from one of several GPUs' processes that end the run"""


class Training(RunOptions, TrainingRecipe):
    """A way to train."""

    @property
    def recipe(self) -> TrainingRecipe:
        """The keys that decide what a run learns."""
        return self.part(TrainingRecipe)

    @property
    def options(self) -> RunOptions:
        """The keys that do not."""
        return self.part(RunOptions)

    @property
    def gpus(self) -> int:
        """GPUs of one run; 0 where it trains on the CPU."""
        return self.gpus_per_run if self.device == "auto" else 0

    @property
    def threads(self) -> int:
        """CPU threads of one run.

        On the CPU small models gain more from runs side by side than from more threads each.
        """
        return self.gpus_per_run * (4 if self.device == "auto" else 1)


class Retrieval(Section):
    """The retrieval probe."""

    trials: int = Field(200, ge=10, le=100_000)
    """Trials at each length, of each task"""
    distractors: int = Field(9, ge=9, le=31)
    """Other words that the true one competes with, so that chance is 1 / (1 + distractors)"""
    # Younger than finished evaluations, whose frozen settings must stay as they were.
    tasks: Annotated[list[Task], Field(min_length=1), Distinct] | None = Field(
        None, exclude_if=lambda tasks: tasks is None
    )
    """Tasks of the second version of the probe: key (one key is named and asked for), keys (one of
    several), item (a place in a list), variable (a value handed on), pairs (one of several pairs).
    Trials are independent for each seed, length and task, and the validation split needs trials x
    the longest length in tokens (null is the first version, one sentence)"""


class EvaluationKeys(Section):
    """The keys of an evaluation preset that decide what is measured."""

    lengths: Annotated[
        list[Annotated[int, Field(ge=2)]], Field(min_length=1), Distinct, AfterValidator(sorted)
    ]
    """Context lengths in tokens"""
    protocols: Annotated[list[Protocol], Field(min_length=1), Distinct] = Field(
        ["first_chunks", "full"]
    )
    """first_chunks is the published one; full scores the same text at every length"""
    chunks: int = Field(10, ge=1)
    """Chunks per length in first_chunks"""
    remaps: Annotated[list[Remap], Field(min_length=1), Distinct] = Field(["none"])
    """Changes of a trained spectrum at evaluation time (none leaves it as it is). By its name alone
    a remap has the scale that fits each length beyond the training length; `yarn@8` has the factor
    8 at all lengths"""
    # Younger than finished evaluations, whose frozen settings must stay as they were.
    retrieval: Retrieval | None = Field(None, exclude_if=lambda probe: probe is None)
    """The retrieval probe at every length (null is none)"""

    @property
    def probe(self) -> Probe | None:
        """The form of the retrieval probe, None without it."""
        if self.retrieval is None:
            return None
        return "tasks" if self.retrieval.tasks else "sentence"


class EvaluationSettings(EvaluationKeys):
    """All that an evaluation depends on besides the run and its text, as it is frozen."""

    # Whose definition `yarn` had, where it is measured: before there was this key, it had another.
    yarn: Literal["transformers"] | None = Field(None, exclude_if=lambda yarn: yarn is None)

    def check_yarn(self) -> None:
        """Raises UserError for settings of a version that had another definition of yarn."""
        if self.yarn is None and _definition_of_yarn(self.remaps):
            raise UserError(
                "yarn: these settings are from a version that had another definition of it; run"
                " snakemake to freeze them again, or add yarn: transformers"
            )


def _definition_of_yarn(remaps: list[str]) -> Literal["transformers"] | None:
    is_measured = any(remapping.parse(remap)[0] == "yarn" for remap in remaps)
    return "transformers" if is_measured else None


class UsageSettings(Section):
    """All that the measurement of what a model uses depends on besides the run and its text."""

    length: int = Field(ge=2)
    """The longest length, in tokens"""
    tokens: int = Field(ge=1)
    """Tokens of validation text that are read: whole blocks of that length, at least one"""


class Evaluation(EvaluationKeys):
    """A way to evaluate."""

    equivalence_margin: float = Field(0.01, gt=0, lt=1)
    """Differences of perplexity below this fraction count as none"""
    usage: bool = False
    """Whether to measure what the trained models use: the cost of stilling each rotary pair, the
    norms of its part of q and k, and attention by distance"""
    usage_tokens: int = Field(8192, ge=1)
    """Tokens of validation text that are read for it: whole blocks of the longest length, at least
    one"""

    @property
    def settings(self) -> EvaluationSettings:
        """The keys that decide what is measured."""
        keys = self.part(EvaluationKeys)
        return EvaluationSettings(**dict(keys), yarn=_definition_of_yarn(self.remaps))

    @property
    def usage_settings(self) -> UsageSettings:
        """The keys that decide how the use of the pairs is measured."""
        return UsageSettings(length=max(self.lengths), tokens=self.usage_tokens)


class Cluster(Section):
    """Limits of what jobs ask a cluster for."""

    longest_minutes: Annotated[int, Field(ge=1)] | None = None
    """Most minutes that a job asks for (null is no limit); a training that takes longer saves its
    state and resumes at the next retry"""


class Config(Section):
    """All of config.yaml: `run` chooses experiments, which are made of named parts."""

    run: Annotated[list[str], Distinct]
    """Names of the experiments and searches to build"""
    experiments: dict[Name, Experiment]
    """Experiments by name"""
    searches: dict[Name, Search] = Field({})
    """Searches by name"""
    datasets: dict[Name, Dataset]
    """Where text comes from and how much of it is used, by name"""
    models: dict[Name, ModelConfig]
    """Model sizes by name, with the key names of transformers' LlamaConfig"""
    training: dict[Name, Training]
    """Ways to train by name"""
    evaluation: dict[Name, Evaluation]
    """Ways to evaluate by name"""
    spectra: dict[Name, Spectrum]
    """Rotary frequency spectra by name"""
    cluster: Cluster = Cluster()
    """Limits of what jobs ask a cluster for; changes no result"""

    @property
    def built(self) -> list[str]:
        """The experiments of `run`, the parts of its searches, and those that `rates` name."""
        rates = [other for name in self.trained for other in self.experiments[name].rates]
        return list(dict.fromkeys([*self.trained, *rates]))

    @property
    def trained(self) -> list[str]:
        """The experiments of `run` and the parts of its searches."""
        return [part for name in self.run for part in self.parts_of(name)]

    @property
    def tabulated(self) -> list[str]:
        """The experiments of `run` that have tables: of a search its confirmation."""
        return [self.parts_of(name)[-1] for name in self.run]

    @property
    def sought(self) -> list[str]:
        """The searches of `run`."""
        return [name for name in self.run if name in self.searches]

    def parts_of(self, name: str) -> list[str]:
        """The experiments of a search, in their order; an experiment is its only part."""
        if name not in self.searches:
            return [name]
        rounds = range(len(self.searches[name].rounds))
        return [*(part_of_search(name, index) for index in rounds), part_of_search(name, None)]

    def claiming(self, name: str) -> str:
        """The experiment whose claims the runs of an experiment serve: of a search the last."""
        part = self.experiments[name]
        return self.parts_of(part.search)[-1] if isinstance(part, SearchPart) else name

    def shape_of(self, experiment: str, spectrum: str) -> Shape:
        """The spectrum of that name in an experiment; a search may have yet to propose it."""
        known = self.experiments[experiment]
        if isinstance(known, SearchPart) and spectrum in known.proposed:
            return Proposed()
        return self.spectra[spectrum]

    def dataset_of(self, experiment: str) -> Dataset:
        """The dataset of an experiment."""
        return self.datasets[self.experiments[experiment].dataset]

    def model_of(self, experiment: str) -> ModelConfig:
        """The model sizes of an experiment."""
        return self.models[self.experiments[experiment].model]

    def training_of(self, experiment: str) -> Training:
        """The training preset of an experiment."""
        return self.training[self.experiments[experiment].training]

    def evaluation_of(self, experiment: str) -> Evaluation:
        """The evaluation preset of an experiment."""
        return self.evaluation[self.experiments[experiment].evaluation]
