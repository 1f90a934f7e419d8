"""What has to hold between the parts of a configuration: names that exist, sizes that fit together, files that are there.

Each check takes a configuration that the schema has accepted and yields one line per mistake. The names and sizes are checked for
the whole library, the files only for the experiments of `run`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rope_spectra.artifacts.layout import RESERVED_NAMES, SPLITS
from rope_spectra.config import spectra
from rope_spectra.config.design import Contrasts, parse_arm
from rope_spectra.config.messages import remedy, unknown
from rope_spectra.data.base import PLACE
from rope_spectra.data.text_files import find_files
from rope_spectra.runtime.errors import UserError

Section = dict[str, Any]


_REFERENCES = {
    "dataset": "datasets",
    "model": "models",
    "training": "training",
    "evaluation": "evaluation",
}


def references(config: Section) -> Iterator[str]:
    """Every name that is used is defined, and no name is one that results/ needs for itself."""
    experiments = config["experiments"]
    if not config["run"]:
        yield f"run: empty; name at least one of: {', '.join(experiments) or '(no experiment is defined)'}"
    yield from (
        f"run: {unknown('experiment', name, experiments)}"
        for name in config["run"]
        if name not in experiments
    )
    for section, names in RESERVED_NAMES.items():
        for name in names:
            if name in config[section]:
                yield f"{section}: {name!r} cannot be a name, it has another use in results/; choose another"
    for name, experiment in experiments.items():
        for key, section in _REFERENCES.items():
            if experiment[key] not in config[section]:
                yield f"experiments.{name}.{key}: {unknown(key, experiment[key], config[section])}"
        for spectrum in experiment["spectra"]:
            if spectrum not in config["spectra"]:
                yield f"experiments.{name}.spectra: {unknown('spectrum', spectrum, config['spectra'])}"


def consistency(config: Section) -> Iterator[str]:
    """Sizes and choices fit together; needs all references to be good."""
    for name, training in config["training"].items():
        yield from _batch(f"training.{name}", training)
    for name, dataset in config["datasets"].items():
        yield from _sentence(
            f"datasets.{name}.retrieval_sentence", dataset.get("retrieval_sentence")
        )
    for name, experiment in config["experiments"].items():
        yield from _comparison(
            f"experiments.{name}",
            experiment,
            config["evaluation"][experiment["evaluation"]]["remaps"],
        )
        yield from _selection(
            f"experiments.{name}",
            experiment,
            config["evaluation"][experiment["evaluation"]]["protocols"],
        )
        yield from _budgets(config, experiment)
        yield from _vocabulary(config, experiment)
        yield from _probe(config, experiment)
        pairs = config["models"][experiment["model"]]["head_dim"] // 2
        for spectrum in experiment["spectra"]:
            yield from _pair_counts(
                f"spectra.{spectrum}",
                config["spectra"][spectrum],
                pairs,
                f"models.{experiment['model']}",
            )


def files(config: Section) -> Iterator[str]:
    """The local files of the experiments of `run` are there and can hold what is asked of them."""
    for name in config["run"]:
        experiment = config["experiments"][name]
        dataset = config["datasets"][experiment["dataset"]]
        path = f"datasets.{experiment['dataset']}"
        if (
            dataset["source"] == "hub"
            and _is_local(dataset["path"])
            and not Path(dataset["path"]).is_dir()
        ):
            yield f"{path}.path: no directory {dataset['path']!r}; give an existing one or a hub id"
        for split in SPLITS:
            if dataset["source"] == "text":
                yield from _text_files(f"{path}.{split}", dataset[split])
            if dataset["source"] == "tokens":
                yield from _token_file(
                    f"{path}.{split}", Path(dataset[split]), *_needed(config, experiment)[split]
                )
        tokenizer = dataset.get("tokenizer", {})
        if "path" in tokenizer and (
            _is_local(tokenizer["path"]) or Path(tokenizer["path"]).is_dir()
        ):
            model = experiment["model"]
            yield from _tokenizer_file(
                f"{path}.tokenizer.path",
                tokenizer["path"],
                model,
                config["models"][model]["vocab_size"],
            )


def _batch(path: str, training: Section) -> Iterator[str]:
    micro, batch = training["micro_batch_size"], training["batch_size"]
    if micro != "auto" and batch % micro:
        yield f"{path}.micro_batch_size: {micro} does not divide batch_size {batch}; give a divisor or auto"
    if batch % training["gpus_per_run"]:
        yield f"{path}.gpus_per_run: {training['gpus_per_run']} does not divide batch_size {batch}; give a divisor"
    tokens, step = training["tokens"], training["seq_len"] * batch
    if tokens is not None and tokens < step:
        yield f"{path}.tokens: {tokens} is less than one step of seq_len x batch_size = {step} tokens"


def _comparison(path: str, experiment: Section, remaps: list[str]) -> Iterator[str]:
    baseline = experiment["baseline"]
    declared = Contrasts.of(baseline, experiment["contrasts"]).against
    if len(declared) < len(experiment["contrasts"]):
        yield f"{path}.contrasts: a spectrum is compared with two others; give it once, it has one row in the table"
    for key, names in (
        ("baseline", [baseline]),
        ("contrasts", [*declared, *set(declared.values()) - {baseline}]),
    ):
        for name in names:
            spectrum, remap = parse_arm(name)
            if spectrum not in experiment["spectra"]:
                yield f"{path}.{key}: {spectrum!r} is not among its spectra; {remedy(spectrum, experiment['spectra'])}"
            if remap is not None and remap not in remaps:
                yield f"{path}.{key}: remap {remap!r} of {name!r} is not evaluated; {remedy(remap, remaps)}"
    for name, other in declared.items():
        if not Contrasts(baseline, {name: other}).family(remaps):
            what = "is the baseline and " if other == baseline else ""
            yield f"{path}.contrasts: {name!r} {what}cannot be compared with itself; leave it out"


def _selection(path: str, experiment: Section, protocols: list[str]) -> Iterator[str]:
    if (selection := experiment["selection"]) is None:
        return
    for seed in set(selection["seeds"]) - set(experiment["seeds"]):
        yield f"{path}.selection.seeds: {seed} is not among its seeds; add it there or leave it out here"
    if not set(experiment["seeds"]) - set(selection["seeds"]):
        yield f"{path}.selection.seeds: no seed is left for confirmation; add others to {path}.seeds"
    if "full" not in protocols:
        yield f"{path}.selection: needs blocks of validation text; add full to evaluation.{experiment['evaluation']}.protocols"


def _needed(config: Section, experiment: Section) -> dict[str, tuple[int, str]]:
    """Per split the fewest tokens an experiment can use, and what needs them."""
    training, evaluation = (
        config["training"][experiment["training"]],
        config["evaluation"][experiment["evaluation"]],
    )
    blocks, count = (2, "two blocks of ") if experiment["selection"] else (1, "")
    return {
        "train": (
            training["seq_len"] * training["batch_size"],
            f"one step of training.{experiment['training']}",
        ),
        "validation": (
            blocks * evaluation["lengths"][-1] + 1,
            f"{count}the longest length of evaluation.{experiment['evaluation']}",
        ),
    }


def _budgets(config: Section, experiment: Section) -> Iterator[str]:
    for split, (needed, reason) in _needed(config, experiment).items():
        tokens = config["datasets"][experiment["dataset"]][f"{split}_tokens"]
        if tokens is not None and tokens < needed:
            yield f"datasets.{experiment['dataset']}.{split}_tokens: {tokens} is too small; {reason} needs {needed}"


def _vocabulary(config: Section, experiment: Section) -> Iterator[str]:
    dataset, model = experiment["dataset"], experiment["model"]
    definition, rows = config["datasets"][dataset], config["models"][model]["vocab_size"]
    size = definition.get("tokenizer", definition).get("vocab_size", 0)
    if size > rows:
        yield f"models.{model}.vocab_size: {rows} is too small; datasets.{dataset} has {size} token ids"


def _sentence(path: str, sentence: str | None) -> Iterator[str]:
    if sentence is not None and (
        sentence.count(PLACE) != 1 or not sentence.partition(PLACE)[0].strip()
    ):
        yield f"{path}: {sentence!r} should have {PLACE} once, after at least one word"


def _probe(config: Section, experiment: Section) -> Iterator[str]:
    if config["datasets"][experiment["dataset"]]["source"] != "tokens":
        return
    for section, key in (("training", "retrieval_share"), ("evaluation", "retrieval")):
        if config[section][experiment[section]][key]:
            path = f"{section}.{experiment[section]}.{key}"
            yield f"{path}: needs a tokenizer, which datasets.{experiment['dataset']} has not; leave it out"


def _pair_counts(path: str, spectrum: Section, pairs: int, model: str) -> Iterator[str]:
    if spectrum["family"] == "values" and len(spectrum["inv_freq"]) != pairs:
        yield f"{path}.inv_freq: {len(spectrum['inv_freq'])} frequencies; {model} needs {pairs} (half its head_dim)"
    for key, part in spectra.inner(spectrum):
        yield from _pair_counts(f"{path}.{key}", part, pairs, model)


def _is_local(path: str) -> bool:
    return path.startswith(("/", ".", "~"))


def _text_files(path: str, patterns: list[str]) -> Iterator[str]:
    try:
        files = find_files(patterns)
        yield from (line for file in files for line in _braces(path, file))
        if not any(file.stat().st_size for file in files):
            yield f"{path}: all its files are empty; give files with text"
    except UserError as error:
        yield f"{path}: {error}"


def _token_file(path: str, file: Path, needed: int, reason: str) -> Iterator[str]:
    if not file.is_file():
        yield f"{path}: no file {str(file)!r}"
        return
    yield from _braces(path, file)
    size = file.stat().st_size
    if size == 0:
        yield f"{path}: {file} is empty; give a file of little-endian uint16 tokens"
    elif size % 2:
        yield f"{path}: {file} has an odd number of bytes ({size}), but a token has two (little-endian uint16)"
    elif size // 2 < needed:
        yield f"{path}: {file} has {size // 2} tokens; {reason} needs {needed}"


def _braces(path: str, file: Path) -> Iterator[str]:
    if set("{}") & set(str(file)):
        yield f"{path}: {str(file)!r} has a brace in its name, which Snakemake takes for a wildcard; rename the file"


def _tokenizer_file(path: str, directory: str, model: str, rows: int) -> Iterator[str]:
    file = Path(directory) / "tokenizer.json"
    if not file.is_file():
        yield f"{path}: no tokenizer.json in {directory!r}; give a directory that has one or a hub id"
        return
    try:
        size = _largest_id(json.loads(file.read_bytes())) + 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        yield f"{path}: {file} is not a tokenizer of the tokenizers library"
        return
    if size > rows:
        yield f"models.{model}.vocab_size: {rows} is too small; {file} has {size} token ids"


def _largest_id(tokenizer: Section) -> int:
    vocabulary = tokenizer["model"]["vocab"]
    ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
    return max([*ids, *(token["id"] for token in tokenizer["added_tokens"])])
