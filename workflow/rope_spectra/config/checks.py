"""Checks of what must hold between the sections of a configuration.

Names exist, sizes fit together, files are there. Each check takes a configuration whose sections
are good by themselves and yields one line per mistake. Names and sizes are checked for the whole
library, files only for the experiments of `run`.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from rope_spectra.artifacts.layout import RESERVED_NAMES, search_of
from rope_spectra.config import claims
from rope_spectra.config.design import Contrasts, parse_arm
from rope_spectra.config.experiment import Experiment
from rope_spectra.config.hypothesis_checks import hypotheses
from rope_spectra.config.search import Search, SearchPart
from rope_spectra.config.sections import Config, Training
from rope_spectra.data.base import PLACE, DocumentSection, ReadyTokenizer, SplitName, is_local
from rope_spectra.rope.family import Family, OfTheta, in_tokens
from rope_spectra.runtime.messages import remedy, unknown


class Need(NamedTuple):
    """The fewest tokens that an experiment can use of a split, and what needs them."""

    tokens: int
    reason: str


def references(config: Config) -> Iterator[str]:
    """Every name that is used is defined, and no name is one that results/ needs for itself."""
    names = [*config.experiments, *config.searches]
    if not config.run:
        known = ", ".join(names) or "(no experiment is defined)"
        yield f"run: empty; name at least one of: {known}"
    yield from undefined("run", "experiment", config.run, names)
    for section, reserved in RESERVED_NAMES.items():
        for name in sorted(set(reserved) & set(getattr(config, section))):
            yield f"{section}: {name!r} cannot be a name, results/ uses it; choose another"
    for name, experiment in config.experiments.items():
        yield from _references(config, f"experiments.{name}", experiment)


def _references(config: Config, path: str, experiment: Experiment) -> Iterator[str]:
    yield from presets(config, path, experiment)
    yield from undefined(f"{path}.spectra", "spectrum", experiment.spectra, config.spectra)
    yield from undefined(f"{path}.rates", "experiment", experiment.rates, config.experiments)


def presets(config: Config, path: str, user: Experiment | Search) -> Iterator[str]:
    """A line for each named part of an experiment or a search that is not defined."""
    used: dict[str, tuple[str, Collection[str]]] = {
        "dataset": (user.dataset, config.datasets),
        "model": (user.model, config.models),
        "training": (user.training, config.training),
        "evaluation": (user.evaluation, config.evaluation),
    }
    for key, (name, section) in used.items():
        yield from undefined(f"{path}.{key}", key, [name], section)


def undefined(
    path: str, what: str, names: Iterable[str], section: Collection[str]
) -> Iterator[str]:
    """A line for each of the names that a section does not define."""
    for name in names:
        if name not in section:
            yield f"{path}: {unknown(what, name, section)}"


def _labels(config: Config) -> Iterator[str]:
    """No two spectra look like one: what stands for a spectrum in a table stands for no other."""
    owners = {name: name for name in config.spectra}
    for name, spectrum in config.spectra.items():
        if spectrum.label is None:
            continue
        owner = owners.setdefault(spectrum.label, name)
        if owner != name:
            yield f"spectra.{name}.label: {spectrum.label!r} stands for {owner}; choose another"


def consistency(config: Config) -> Iterator[str]:
    """Sizes and choices fit together; needs all references to be good."""
    yield from _labels(config)
    for name, training in config.training.items():
        if search_of(name) is None:  # that of a round is a share of one that is checked
            yield from _batch(f"training.{name}", training)
    for name, dataset in config.datasets.items():
        if isinstance(dataset, DocumentSection):
            yield from _sentence(f"datasets.{name}.retrieval_sentence", dataset.retrieval_sentence)
    for name, experiment in config.experiments.items():
        evaluation = config.evaluation_of(name)
        yield from _comparison(f"experiments.{name}", experiment, evaluation.remaps)
        yield from _selection(f"experiments.{name}", experiment, evaluation.protocols)
        # Who shortens a preset of the library need not correct experiments that are not run.
        if name in config.built:
            yield from _primary(config, name)
            yield from hypotheses(config, name)
            yield from claims.retrieval_endpoint(config, name)
            yield from claims.rates(config, name)
        yield from _equal_arms(config, name)
        yield from _looks(f"experiments.{name}", experiment)
        yield from _stopped(f"experiments.{name}", experiment)
        yield from _budgets(config, name)
        yield from _vocabulary(config, name)
        yield from _probe(config, name)
        pairs = config.model_of(name).pairs
        for spectrum in experiment.spectra:
            shape = config.shape_of(name, spectrum)
            yield from _sizes(config, name, f"spectra.{spectrum}", shape, pairs)


def files(config: Config) -> Iterator[str]:
    """The local files of the experiments of `run` are there and can hold what is asked of them."""
    for name in config.built:
        path = f"datasets.{config.experiments[name].dataset}"
        dataset = config.dataset_of(name)
        for split in get_args(SplitName):
            mistakes = [f"{path}.{mistake}" for mistake in dataset.file_mistakes(split)]
            yield from mistakes
            if not mistakes:
                yield from _contents(config, name, split)
        if isinstance(dataset, DocumentSection) and isinstance(dataset.tokenizer, ReadyTokenizer):
            yield from _tokenizer_file(config, name, dataset.tokenizer.path)


def _batch(path: str, training: Training) -> Iterator[str]:
    batch = training.batch_size
    for key in ("micro_batch_size", "gpus_per_run"):
        part = getattr(training, key)
        if part != "auto" and batch % part:
            yield f"{path}.{key}: {part} does not divide batch_size {batch}; give a divisor"
    if training.gpus_per_run > 1 and training.runs_per_gpu > 1:
        yield f"{path}.runs_per_gpu: a run of several GPUs shares none; leave it out"
    if training.precision == "bf16_products" and training.device != "cpu":
        yield (f"{path}.precision: bf16_products is for a CPU; give device: cpu, or bf16 for a GPU")
    step = training.seq_len * batch
    tokens = training.tokens
    if tokens is not None and tokens < step:
        yield f"{path}.tokens: {tokens} is less than one step of seq_len x batch_size = {step}"


def _comparison(path: str, experiment: Experiment, remaps: Sequence[str]) -> Iterator[str]:
    """Baseline and contrasts name existing arms; none is compared with itself or two others."""
    baseline = experiment.baseline
    contrasts = experiment.declared_contrasts
    declared = Contrasts.of(baseline, contrasts).against
    if len(declared) < len(contrasts):
        yield f"{path}.contrasts: a spectrum is compared with two others; give it once"
    for name in dict.fromkeys([baseline, *declared, *declared.values()]):
        key = "baseline" if name == baseline else "contrasts"
        yield from claims.arm(f"{path}.{key}", name, experiment.spectra, remaps)
    for name, other in declared.items():
        if not Contrasts(baseline, {name: other}).family(remaps):
            what = "is the baseline and " if other == baseline else ""
            yield f"{path}.contrasts: {name!r} {what}cannot be compared with itself; leave it out"


def _selection(path: str, experiment: Experiment, protocols: Sequence[str]) -> Iterator[str]:
    # The seeds that chose are those of the rounds, and a round confirms nothing.
    if experiment.selection is None or isinstance(experiment, SearchPart):
        return
    chosen = experiment.selection.seeds
    for seed in chosen:
        if seed not in experiment.seeds:
            yield f"{path}.selection.seeds: {seed} is not among its seeds; add it or leave it out"
    if not set(experiment.seeds) - set(chosen):
        yield f"{path}.selection.seeds: no seed is left for confirmation; give others in seeds"
    if "full" not in protocols:
        preset = f"evaluation.{experiment.evaluation}"
        yield f"{path}.selection: needs blocks of validation text; add full to {preset}.protocols"


def _primary(config: Config, name: str) -> Iterator[str]:
    """The primary endpoint is one that is measured, of contrasts that are declared."""
    experiment = config.experiments[name]
    primary = experiment.primary
    if primary is None:
        return
    path = f"experiments.{name}.primary"
    preset = f"evaluation.{experiment.evaluation}"
    evaluation = config.evaluation_of(name)
    trained = config.training_of(name).seq_len
    if primary.length not in evaluation.lengths:
        yield f"{path}.length: {primary.length} is not among {preset}.lengths; add it there"
    if primary.metric == "degradation":
        if primary.length <= trained:
            yield (
                f"{path}.length: {primary.length} is not beyond the training length {trained},"
                " where nothing degrades; give a longer one or metric: ppl"
            )
        if trained not in evaluation.lengths:
            yield (
                f"{path}.metric: degradation is measured from the training length {trained};"
                f" add it to {preset}.lengths"
            )
        if "full" not in evaluation.protocols:
            yield f"{path}.metric: degradation needs the same text; add full to {preset}.protocols"
    for contrast in primary.contrasts or ():
        if contrast not in experiment.declared_contrasts:
            choice = remedy(contrast, experiment.declared_contrasts)
            yield f"{path}.contrasts: {contrast!r} is not among its contrasts; {choice}"


def _looks(path: str, experiment: Experiment) -> Iterator[str]:
    """The looks end with the last seed, for there is nothing to look at after it."""
    chosen = experiment.selection.seeds if experiment.selection else []
    seeds = len(set(experiment.seeds) - set(chosen))
    if experiment.looks and experiment.looks[-1] != seeds:
        yield (
            f"{path}.looks: the last one is at {experiment.looks[-1]} seeds, and {seeds} serve"
            f" verdicts; end with {seeds}"
        )


def _stopped(path: str, experiment: Experiment) -> Iterator[str]:
    """An arm stops at a declared look; at any other moment its verdict would be one of chance."""
    chosen = experiment.selection.seeds if experiment.selection else []
    baseline, _ = parse_arm(experiment.baseline)
    for name, count in experiment.stopped.items():
        if name not in experiment.spectra:
            choice = remedy(name, experiment.spectra)
            yield f"{path}.stopped: {name!r} is not among its spectra; {choice}"
        elif name == baseline:
            yield f"{path}.stopped: {name!r} is the baseline, which the others need; leave it out"
        elif len(set(experiment.seeds[:count]) - set(chosen)) not in experiment.looks[:-1]:
            looks = ", ".join(map(str, experiment.looks[:-1])) or "none is declared"
            yield f"{path}.stopped: {name} can stop at a look before the last only ({looks})"


def _equal_arms(config: Config, name: str) -> Iterator[str]:
    """No contrast is between one spectrum and the same spectrum under another name."""
    experiment = config.experiments[name]
    sizes = config.model_of(name).head_dim, config.training_of(name).seq_len
    shapes = {each: config.shape_of(name, each).completed(*sizes) for each in experiment.spectra}
    declared = Contrasts.of(experiment.baseline, experiment.declared_contrasts)
    for ours, theirs in declared.against.items():
        (spectrum, remap), (other, other_remap) = parse_arm(ours), parse_arm(theirs)
        if spectrum == other or spectrum not in shapes or other not in shapes:
            continue
        if remap == other_remap and shapes[spectrum] == shapes[other]:
            yield (
                f"experiments.{name}.contrasts: {spectrum!r} and {other!r} are the same spectrum;"
                " leave one out"
            )


def needs(config: Config, name: str) -> dict[SplitName, Need]:
    """Per split the fewest tokens that an experiment can use."""
    experiment = config.experiments[name]
    training = config.training_of(name)
    longest = config.evaluation_of(name).lengths[-1]
    # Selection and confirmation need a block each; the first token of all is never a target.
    blocks, count = (2, "two blocks of ") if experiment.selection else (1, "")
    preset = f"evaluation.{experiment.evaluation}"
    validation = Need(blocks * longest + 1, f"{count}the longest length of {preset}")
    probe = config.evaluation_of(name).retrieval
    # Each trial of a task has a passage for itself.
    if probe is not None and probe.tasks:
        passages = Need(probe.trials * longest, f"{preset}.retrieval.trials x the longest length")
        validation = max(validation, passages)
    return {
        "train": Need(
            training.seq_len * training.batch_size, f"one step of training.{experiment.training}"
        ),
        "validation": validation,
    }


def _budgets(config: Config, name: str) -> Iterator[str]:
    for split, need in needs(config, name).items():
        tokens = config.dataset_of(name).budget(split)
        if tokens is not None and tokens < need.tokens:
            key = f"datasets.{config.experiments[name].dataset}.{split}_tokens"
            yield f"{key}: {tokens} is too small; {need.reason} needs {need.tokens}"


def _vocabulary(config: Config, name: str) -> Iterator[str]:
    dataset = config.dataset_of(name)
    sizes = dataset.tokenizer if isinstance(dataset, DocumentSection) else dataset
    if not isinstance(sizes, ReadyTokenizer):  # whose file says how many there are
        owner = f"datasets.{config.experiments[name].dataset}"
        yield from _token_ids(config, name, owner, sizes.vocab_size)


def _token_ids(config: Config, name: str, owner: str, count: int) -> Iterator[str]:
    model = config.experiments[name].model
    rows = config.models[model].vocab_size
    if count > rows:
        yield f"models.{model}.vocab_size: {rows} is too small; {owner} has {count} token ids"


def _sentence(path: str, sentence: str) -> Iterator[str]:
    if sentence.count(PLACE) != 1 or not sentence.partition(PLACE)[0].strip():
        yield f"{path}: {sentence!r} should have {PLACE} once, after at least one word"
    if sentence != sentence.encode(errors="ignore").decode():
        yield f"{path}: {sentence!r} holds half a character (a lone surrogate); write the whole one"


def _probe(config: Config, name: str) -> Iterator[str]:
    """The retrieval probe asks in words, so it needs a tokenizer."""
    experiment = config.experiments[name]
    if isinstance(config.dataset_of(name), DocumentSection):
        return
    used = {
        f"training.{experiment.training}.retrieval_share": config.training_of(name).retrieval_share,
        f"evaluation.{experiment.evaluation}.retrieval": config.evaluation_of(name).retrieval,
    }
    for path, value in used.items():
        if value:
            why = f"needs a tokenizer, which datasets.{experiment.dataset} has not"
            yield f"{path}: {why}; leave it out"


def _sizes(config: Config, experiment: str, path: str, shape: Family, pairs: int) -> Iterator[str]:
    """A spectrum fits the pairs of the model and the training length."""
    names = config.experiments[experiment]
    for key in type(shape).model_fields:
        numbers = getattr(shape, key)
        if isinstance(numbers, list) and len(numbers) != pairs:
            why = f"models.{names.model} needs {pairs} (half its head_dim)"
            if pairs != config.model_of(experiment).pairs:
                why = f"{pairs} pairs of models.{names.model} rotate, which need {pairs}"
            yield f"{path}.{key}: {len(numbers)} numbers; {why}"
    trained = config.training_of(experiment).seq_len
    if isinstance(shape, OfTheta) and in_tokens(shape.theta, trained) <= 1:
        where = f"seq_len {trained} of training.{names.training}"
        yield f"{path}.theta: {shape.theta} is not above 1 at {where}; give a larger one"
    for key, part in shape.inner():
        inside = shape.pairs_inside(pairs)
        yield from _sizes(config, experiment, f"{path}.{key}", part, inside)


def _contents(config: Config, name: str, split: SplitName) -> Iterator[str]:
    """Checks the names of a split's files, and their tokens where they say how many."""
    path = f"datasets.{config.experiments[name].dataset}.{split}"
    source = config.dataset_of(name).split(split)
    for file in source.local_files():
        if set("{}") & set(file):
            why = "has a brace in its name, which Snakemake takes for a wildcard"
            yield f"{path}: {file!r} {why}; rename the file"
    known = source.known_tokens()
    need = needs(config, name)[split]
    if known is not None and known < need.tokens:
        files = ", ".join(source.local_files())
        yield f"{path}: {files} has {known} tokens; {need.reason} needs {need.tokens}"


def _tokenizer_file(config: Config, name: str, directory: str) -> Iterator[str]:
    if not is_local(directory) and not Path(directory).is_dir():
        return  # an id of the hub
    path = f"datasets.{config.experiments[name].dataset}.tokenizer.path"
    file = Path(directory) / "tokenizer.json"
    if not file.is_file():
        instead = "give a directory that has one or a hub id"
        yield f"{path}: no tokenizer.json in {directory!r}; {instead}"
        return
    try:
        size = _largest_id(json.loads(file.read_bytes())) + 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        yield f"{path}: {file} is not a tokenizer of the tokenizers library"
    else:
        yield from _token_ids(config, name, str(file), size)


def _largest_id(tokenizer: dict[str, Any]) -> int:
    """The largest token id in the content of a tokenizer.json, added tokens included."""
    vocabulary = tokenizer["model"]["vocab"]
    ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
    return max([*ids, *(token["id"] for token in tokenizer["added_tokens"])])
