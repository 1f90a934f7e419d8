"""config.yaml, checked and completed, and the parts of it that single jobs depend on.

`load` reports every mistake as one line that names its key and the remedy (config_schema, config_messages, config_checks).
The settings below it become the small JSON files that jobs read instead of config.yaml, so that only a change that matters
makes work again; they are plain dicts in canonical types, with the keys that do not matter left out.
Imports nothing heavy, because the Snakefile is read anew for every job.
"""

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from rope_spectra.config import design, spectra
from rope_spectra.config import legacy_checks as checks
from rope_spectra.config import legacy_schema as schema
from rope_spectra.data.text_files import find_files
from rope_spectra.runtime.errors import UserError

Settings = dict[str, Any]

# Keys of a training preset that change how a run goes and not what it learns (with several GPUs: to rounding).
_OPTIONS = ("log_every", "checkpoint_minutes", "checkpoint_steps", "tensorboard", "gpus_per_run")
_YOUNGER = ("retrieval", "retrieval_share")

RECIPE = (
    1  # raise it to train everything again on purpose, after a change of code that changes results
)


def load(raw: Mapping[str, Any]) -> Settings:
    """The configuration with its defaults filled in, `run` as a list and numbers in their canonical types.

    `raw` is what Snakemake has merged from config.yaml, --configfile and --config; it is left as it is.
    Raises UserError with one line per mistake.
    """
    config = _copy(raw)
    for parts in config.get("experiments", {}).values():
        names = parts.get("spectra")
        if isinstance(names, list):
            parts["spectra"] = [
                n for part in names for n in (part if isinstance(part, list) else [part])
            ]
    if "run" in config:
        config["run"] = _names(config["run"])
    _stop_at(schema.complete(config))
    _complete(config)
    for check in (checks.references, checks.consistency, checks.files):
        _stop_at(check(config))
    return config


def _stop_at(mistakes: Iterable[str]) -> None:
    if lines := list(dict.fromkeys(mistakes)):
        raise UserError("\n".join(lines))


def _copy(value: Any) -> Any:
    """A deep copy with text keys: YAML reads a name such as 350 as a number, and what aliases share must not be shared here."""
    if isinstance(value, Mapping):
        return {str(key): _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _names(run: Any) -> Any:
    """`run` as a list, also from `--config run=a,b`, which arrives as text."""
    if isinstance(run, str):
        return [name.strip() for name in run.split(",") if name.strip()]
    return [] if run is None else run


def _complete(config: Settings) -> None:
    """What a schema cannot do: the default that depends on other keys, the order of lengths, lists of files, ~ in paths."""
    for experiment in config["experiments"].values():
        if experiment["contrasts"] is None:
            experiment["contrasts"] = [
                name for name in experiment["spectra"] if name != experiment["baseline"]
            ]
    for evaluation in config["evaluation"].values():
        evaluation["lengths"].sort()
    for dataset in config["datasets"].values():
        if dataset["source"] == "text":
            for split in ("train", "validation"):
                dataset[split] = (
                    dataset[split] if isinstance(dataset[split], list) else [dataset[split]]
                )
        _expand_home(dataset, "path", "train", "validation")
        _expand_home(dataset.get("tokenizer", {}), "path")


def _expand_home(section: Settings, *keys: str) -> None:
    expand = os.path.expanduser  # unlike Path, it leaves ./ and an unknown ~user as they are
    for key in keys:
        if key in section:
            value = section[key]
            section[key] = (
                [expand(item) for item in value] if isinstance(value, list) else expand(value)
            )


def as_json(settings: Settings) -> str:
    """One line of JSON with sorted keys: equal settings give equal text."""
    return json.dumps(settings, sort_keys=True, allow_nan=False)


def runs(config: Settings, experiment: str) -> list[tuple[str, int]]:
    """(spectrum, seed) of every run of an experiment, all spectra of a seed together."""
    parts = config["experiments"][experiment]
    return [(spectrum, seed) for seed in parts["seeds"] for spectrum in parts["spectra"]]


def repeats(config: Settings, experiment: str) -> list[tuple[str, str]]:
    """(spectrum, seed-repeat) of the runs that measure the noise floor of an experiment."""
    parts = config["experiments"][experiment]
    return design.repeats(parts["baseline"], parts["seeds"], parts["noise_floor"])


def raw_files(config: Settings, dataset: str, split: str) -> list[str]:
    """The user's own files that a split is made of; none for a dataset of the hub or a generated one.

    Raises UserError for a pattern that matches nothing.
    """
    definition = config["datasets"][dataset]
    if definition["source"] == "tokens":
        return [definition[split]]
    return (
        [str(file) for file in find_files(definition[split])]
        if definition["source"] == "text"
        else []
    )


def data_settings(
    config: Settings,
    dataset: str,
    part: Literal["tokenizer", "options", "sentence", "train", "validation"],
) -> Settings:
    """What defines the tokenizer of a dataset or the tokens of a split, or what may change without making these again.

    options: {tokenizer_check}. sentence: {sentence}, that of the retrieval probe.
    tokenizer: {path, revision}, or {train, vocab_size, source} for one that learns from the train split.
    A split: {split, tokens, source}, with tokens the budget (None is all) and source that of data/sources.py.
    Raises UserError for the tokenizer of a dataset that is tokens already.
    """
    definition = config["datasets"][dataset]
    if part in ("train", "validation"):
        return {
            "split": part,
            "tokens": definition[f"{part}_tokens"],
            "source": _source(definition, part),
        }
    if "tokenizer" not in definition:
        raise UserError(
            f"datasets.{dataset}: its source is tokens, so it has no {part}; ask for its train or validation part"
        )
    if part == "options":
        return {"tokenizer_check": definition["tokenizer_check"]}
    if part == "sentence":
        return {"sentence": definition["retrieval_sentence"]}
    tokenizer = definition["tokenizer"]
    return (
        tokenizer | {"source": _source(definition, "train")}
        if "train" in tokenizer
        else dict(tokenizer)
    )


def _source(definition: Settings, split: str) -> Settings:
    match definition["source"]:
        case "hub":
            keys, where = (
                ("path", "revision", "text_column"),
                {"split": definition[f"{split}_split"]},
            )
        case "text":
            keys, where = ("separator", "text_column"), {"files": definition[split]}
        case "tokens":
            keys, where = ("vocab_size",), {"file": definition[split]}
        case _:
            keys, where = ("seed",), {"split": split}
    return {"source": definition["source"]} | {key: definition[key] for key in keys} | where


def run_settings(config: Settings, experiment: str, spectrum: str, seed: int) -> Settings:
    """What one training run depends on besides its tokens: {recipe, experiment, seed, spectrum, model, training}."""
    parts, training = config["experiments"][experiment], _training(config, experiment)
    return {
        "recipe": RECIPE,
        "experiment": experiment,
        "seed": seed,
        "spectrum": _spectrum(config, experiment, spectrum),
        "model": dict(config["models"][parts["model"]]),
        "training": _chosen(training, [key for key in training if key not in _OPTIONS]),
    }


def _chosen(settings: Settings, keys: Iterable[str]) -> Settings:
    """These keys, without an option that is younger than existing runs and off: they stay valid."""
    return {key: settings[key] for key in keys if key not in _YOUNGER or settings[key]}


def _spectrum(config: Settings, experiment: str, name: str) -> Settings:
    """{name, family, ...} of a spectrum, with the numbers that it leaves to the experiment."""
    parts = config["experiments"][experiment]
    head_dim, train_length = (
        config["models"][parts["model"]]["head_dim"],
        config["training"][parts["training"]]["seq_len"],
    )
    return {"name": name} | spectra.completed(config["spectra"][name], head_dim, train_length)


def run_options(config: Settings, experiment: str) -> Settings:
    """What may change without training again: {log_every, checkpoint_minutes, gpus_per_run, ...}."""
    training = _training(config, experiment)
    return {key: training[key] for key in _OPTIONS}


def uses_sentence(
    config: Settings, experiment: str, use: Literal["training", "evaluation"]
) -> bool:
    """Whether the sentence of the retrieval probe is part of an experiment's training or evaluation."""
    preset = config[use][config["experiments"][experiment][use]]
    return bool(preset["retrieval_share" if use == "training" else "retrieval"])


def gpus(config: Settings, experiment: str) -> int:
    """GPUs of one run of an experiment; 0 where its preset trains on the CPU."""
    training = _training(config, experiment)
    return training["gpus_per_run"] if training["device"] == "auto" else 0


def threads(config: Settings, experiment: str) -> int:
    """CPU threads of one run: on the CPU small models gain more from runs side by side than from more threads each."""
    training = _training(config, experiment)
    return training["gpus_per_run"] * (4 if training["device"] == "auto" else 1)


def _training(config: Settings, experiment: str) -> Settings:
    return config["training"][config["experiments"][experiment]["training"]]


def evaluation_settings(config: Settings, experiment: str) -> Settings:
    """What an evaluation depends on: {lengths, protocols, chunks, remaps}, and retrieval where the probe is wanted."""
    evaluation = config["evaluation"][config["experiments"][experiment]["evaluation"]]
    return _chosen(evaluation, ("lengths", "protocols", "chunks", "remaps", "retrieval"))


def experiment_settings(config: Settings, experiment: str) -> Settings:
    """What tables and figures depend on besides the runs; spectra is a list of {name, family, ...} in the experiment's order."""
    parts = config["experiments"][experiment]
    evaluation = config["evaluation"][parts["evaluation"]]
    return {
        "experiment": experiment,
        **{key: parts[key] for key in ("description", "dataset", "model", "training", "seeds")},
        **{key: parts[key] for key in ("baseline", "contrasts", "selection", "noise_floor")},
        **_chosen(
            evaluation, ("lengths", "protocols", "remaps", "equivalence_margin", "retrieval")
        ),
        "head_dim": config["models"][parts["model"]]["head_dim"],
        "train_length": config["training"][parts["training"]]["seq_len"],
        "spectra": [_spectrum(config, experiment, name) for name in parts["spectra"]],
    }
