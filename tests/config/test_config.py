"""The configuration: what is accepted, how each mistake is named, and what the frozen settings hold."""

import copy
import datetime
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rope_spectra.config import frozen as config
from rope_spectra.config import messages
from rope_spectra.config import schema as config_schema
from rope_spectra.config import text as config_text
from rope_spectra.rope.families import FAMILIES
from rope_spectra.runtime.errors import UserError
from support.checkout import ROOT

SHIPPED = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
SCHEMA = yaml.safe_load(config_schema.PATH.read_text(encoding="utf-8"))
SEARCH = yaml.safe_load("""
- geo_10k
- geo_500k
- sig_s6_m0.5_omf0.3_t10k
- sig_s7_m0.5_omf0.3_t10k
- sig_s9_m0.5_omf0.3_t10k
- sig_s10_m0.5_omf0.3_t10k
- sig_s8_m0.4_omf0.3_t10k
- sig_s8_m0.6_omf0.3_t10k
- sig_s8_m0.5_omf0.3_t30k
- sig_s8_m0.5_omf0.3_t50k
- anchpoly_p3.9_omf0.3_t100k
- anchpoly_p3.9_omf0.3_t500k
- sig_s8_m0.5_omf0.3_t100k
- sig_s8_m0.5_omf0.3_t500k
- sig_s5_m0.5_omf0.3_t100k
- sig_s5_m0.5_omf0.3_t500k
- hybrid_a0.2_t100k
- hybrid_a0.2_t500k
- mix_sig8t10k_geo500k_a0.2
- mix_sig8t10k_geo500k_a0.5
- sig_s8_m0.5_omf0.1_t100k
- sig_s8_m0.5_omf0.5_t100k
""")
GOOD = yaml.safe_load("""
run: [demo]
experiments:
  demo: {dataset: toy, model: tiny, training: tiny, evaluation: tiny, spectra: [geo, poly, hybrid], seeds: [42, 7], baseline: geo}
  other: {dataset: toy, model: tiny, training: tiny, evaluation: tiny, spectra: [geo, own], seeds: [1], baseline: own}
  hubbed: {dataset: web, model: tiny, training: tiny, evaluation: tiny, spectra: [geo], seeds: [1], baseline: geo}
  texts: {dataset: books, model: tiny, training: tiny, evaluation: tiny, spectra: [geo], seeds: [1], baseline: geo}
  tokens: {dataset: raw, model: tiny, training: tiny, evaluation: tiny, spectra: [geo], seeds: [1], baseline: geo}
datasets:
  toy: {source: synthetic, train_tokens: 4096, validation_tokens: 1000, tokenizer: {train: 10000, vocab_size: 300}}
  web: {source: hub, path: some/where, tokenizer: {path: some/tokenizer}}
  books: {source: text, train: "train/*.txt", validation: [val.txt], tokenizer: {path: ./tokenizer}}
  raw: {source: tokens, train: train.bin, validation: val.bin, vocab_size: 64}
models:
  tiny: {hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, head_dim: 8, intermediate_size: 32, vocab_size: 512}
training:
  tiny: {tokens: 2048, seq_len: 32, batch_size: 8, learning_rate: 3.0e-3}
evaluation:
  tiny: {lengths: [64, 32]}
spectra:
  geo: {family: geometric, theta: 500000}
  poly: {family: anchored_poly, theta: 500000}
  sig: {family: sigmoid, theta: 1.0e+5}
  hybrid: {family: mix, alpha: 0.2, a: {family: geometric, theta: 10000}, b: {family: anchored_poly, theta: 10000}}
  own: {family: values, inv_freq: [1, 0.5, 0.25, 0]}
  evq: {family: evq_cosh, theta: 500000}
  cut: {family: truncate, of: {family: geometric, theta: 500000}}
  whole: {family: resonance, of: {family: geometric, theta: 500000}}
  slow: {family: ntk, theta: 10000, factor: 8}
""")
A_SPECTRUM = {"family": "geometric", "theta": 10000}
REMOVED = object()


class Renamed(str):
    """Marks an edit that gives a key another name."""


def edited(path: str, value: Any, base: dict[str, Any] = GOOD) -> dict[str, Any]:
    """A copy of `base` with one key set, removed or renamed."""
    result = copy.deepcopy(base)
    *parents, last = path.split("/")
    section = result
    for parent in parents:
        section = section[parent]
    if value is REMOVED:
        del section[last]
    elif isinstance(value, Renamed):
        section[str(value)] = section.pop(last)
    else:
        section[last] = value
    return result


def mistakes(raw: dict[str, Any]) -> list[str]:
    """The lines of the error that `raw` raises."""
    with pytest.raises(UserError) as caught:
        config.load(raw)
    return str(caught.value).split("\n")


# --- what is shipped -----------------------------------------------------------------------------------------------------------


def test_shipped_config_loads_and_runs_the_demo() -> None:
    loaded = config.load(SHIPPED)
    assert loaded["run"] == ["demo"]
    assert {dataset["source"] for dataset in loaded["datasets"].values()} == {
        "hub",
        "text",
        "tokens",
        "synthetic",
    }


@pytest.mark.parametrize(
    "experiment",
    ["unified_search", "unified_search_3cfg_3seed", "350m_final", "unified_search_split_a"],
)
def test_every_experiment_of_the_study_can_be_run(experiment: str) -> None:
    assert config.load(SHIPPED | {"run": experiment})["run"] == [experiment]


def test_search_is_the_22_spectra_of_the_study_and_its_halves_share_the_two_controls() -> None:
    experiments = config.load(SHIPPED)["experiments"]
    assert experiments["unified_search"]["spectra"] == SEARCH
    assert len(set(SEARCH)) == 22
    half_a, half_b = (experiments[f"unified_search_split_{half}"]["spectra"] for half in "ab")
    assert (half_a, half_b) == (SEARCH[:12], SEARCH[:2] + SEARCH[12:])


def test_seeds_baselines_and_contrasts_of_the_study() -> None:
    loaded = config.load(SHIPPED)["experiments"]
    experiments = {
        name: parts for name, parts in loaded.items() if not parts["selection"]
    }  # the others: test_experiments.py
    assert {name: parts["seeds"] for name, parts in experiments.items()} == {
        "demo": [42, 123, 7],
        "unified_search": [42],
        "unified_search_split_a": [42],
        "unified_search_split_b": [42],
        "unified_search_3cfg_3seed": [42, 123, 7],
        "350m_final": [42],
    }
    assert {parts["baseline"] for parts in experiments.values()} == {"geo_500k"}
    assert experiments["unified_search_3cfg_3seed"]["contrasts"] == [
        "hybrid_a0.2_t100k",
        "anchpoly_p3.9_omf0.3_t500k",
    ]


@pytest.mark.parametrize(
    ("name", "real_tokens", "rows", "steps"),
    [("50m", 50_000_000, 24_414, 762), ("350m", 472_770_254, 230_844, 7213)],
)
def test_budgets_give_the_rows_and_steps_of_the_study(
    name: str, real_tokens: int, rows: int, steps: int
) -> None:
    loaded = config.load(SHIPPED)
    experiment = loaded["experiments"]["unified_search" if name == "50m" else "350m_final"]
    training, dataset = (
        loaded["training"][experiment["training"]],
        loaded["datasets"][experiment["dataset"]],
    )
    tokens = min(real_tokens, dataset["train_tokens"], training["tokens"] or math.inf)
    assert tokens // training["seq_len"] == rows
    assert rows // training["batch_size"] == steps


def test_models_and_recipe_of_the_study() -> None:
    loaded = config.load(SHIPPED)
    shapes = {name: [*model.values()][:6] for name, model in loaded["models"].items()}
    assert shapes["50m"] == [512, 6, 8, 64, 2048, 50304]
    assert shapes["350m"] == [1024, 24, 16, 64, 4096, 50304]
    for name, learning_rate in (("50m", 6e-4), ("350m", 3e-4)):
        training = loaded["training"][name]
        assert training["learning_rate"] == learning_rate
        assert (training["warmup_fraction"], training["weight_decay"], training["betas"]) == (
            0.02,
            0.1,
            [0.9, 0.95],
        )
        assert (training["grad_clip"], training["precision"]) == (1.0, "bf16")
    assert loaded["evaluation"]["50m"]["lengths"] == [2048, 4096, 8192, 16384]
    assert loaded["evaluation"]["350m"]["lengths"] == [
        2048,
        3072,
        4096,
        5120,
        6144,
        8192,
        12288,
        16384,
    ]
    assert {evaluation["chunks"] for evaluation in loaded["evaluation"].values()} == {10}


def test_names_of_spectra_say_their_parameters() -> None:
    for name, spectrum in config.load(SHIPPED)["spectra"].items():
        theta = next(
            part["theta"]
            for part in (spectrum, spectrum.get("a"), spectrum.get("of"))
            if part and "theta" in part
        )
        if name.startswith("mix_"):
            assert spectrum["b"] == {
                "family": "sigmoid",
                "theta": 1e4,
                "steepness": 8.0,
                "midpoint": 0.5,
                "omf": 0.3,
            }
            expected = f"mix_sig8t10k_geo{theta / 1000:.0f}k_a{spectrum['alpha']}"
        elif name.startswith("hybrid_"):
            assert spectrum["b"] == {
                "family": "anchored_poly",
                "theta": theta,
                "p": 3.9,
                "omf": 0.3,
            }
            expected = f"hybrid_a{spectrum['alpha']}_t{theta / 1000:.0f}k"
        elif name.startswith("sig_"):
            expected = (
                "sig_s{steepness:.0f}_m{midpoint}_omf{omf}".format(**spectrum)
                + f"_t{theta / 1000:.0f}k"
            )
        elif name.startswith("anchpoly_"):
            expected = "anchpoly_p{p}_omf{omf}".format(**spectrum) + f"_t{theta / 1000:.0f}k"
        else:
            word = {"geometric": "geo", "truncate": "truncated", "evq_cosh": "evq"}.get(
                spectrum["family"], spectrum["family"]
            )
            expected = (
                word
                + (f"{spectrum['factor']:.0f}" if "factor" in spectrum else "")
                + f"_{theta / 1000:.0f}k"
            )
        assert name == expected


# --- the schema ----------------------------------------------------------------------------------------------------------------


def described_keys(
    schema: Any, where: str = "config"
) -> list[tuple[str, str, dict[str, Any], list[str]]]:
    """(where, key, definition, required keys beside it) of every key the schema describes."""
    if isinstance(schema, list):
        return [found for item in schema for found in described_keys(item, where)]
    if not isinstance(schema, dict):
        return []
    own = [
        (where, key, definition, schema.get("required", []))
        for key, definition in schema.get("properties", {}).items()
    ]
    return own + [
        found
        for key, item in schema.items()
        if key != "if"
        for found in described_keys(item, f"{where}/{key}")
    ]


def test_schema_is_valid_and_describes_every_key() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    keys = described_keys(SCHEMA)
    assert len(keys) > 80
    assert [
        f"{where}: {key}" for where, key, definition, _ in keys if not definition.get("description")
    ] == []


def test_every_key_is_either_required_or_has_a_default() -> None:
    discriminators = {"source", "family"}
    unclear = [
        f"{where}: {key}"
        for where, key, definition, required in described_keys(SCHEMA)
        if key not in discriminators and (key in required) == ("default" in definition)
    ]
    assert unclear == []


def test_every_mapping_of_keys_is_closed() -> None:
    def mappings(schema: Any) -> list[dict[str, Any]]:
        children = (
            schema.values()
            if isinstance(schema, dict)
            else schema
            if isinstance(schema, list)
            else []
        )
        found = (
            [schema]
            if isinstance(schema, dict) and isinstance(schema.get("properties"), dict)
            else []
        )
        return found + [mapping for child in children for mapping in mappings(child)]

    open_ones = [
        set(mapping["properties"])
        for mapping in mappings(SCHEMA)
        if mapping.get("additionalProperties") is not False
    ]
    assert all(keys in ({"source"}, {"family"}) for keys in open_ones)


def test_schema_and_spectra_know_the_same_families_and_parameters() -> None:
    assert SCHEMA["$defs"]["spectrum"]["properties"]["family"]["enum"] == list(FAMILIES)
    for family, function in FAMILIES.items():
        parameters = set(function.__annotations__) - {"pairs", "return"}
        assert set(SCHEMA["$defs"][family]["properties"]) == {"family"} | parameters


# --- load ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", ["demo, other", "demo,other,", ["demo", "other"]])
def test_run_may_be_text_or_a_list(run: Any) -> None:
    assert config.load(GOOD | {"run": run})["run"] == ["demo", "other"]


def test_load_leaves_its_argument_alone_and_fills_in_defaults() -> None:
    raw = copy.deepcopy(GOOD)
    loaded = config.load(raw)
    assert raw == GOOD
    assert loaded["training"]["tiny"] == {
        "tokens": 2048,
        "seq_len": 32,
        "batch_size": 8,
        "micro_batch_size": "auto",
        "learning_rate": 0.003,
        "warmup_fraction": 0.02,
        "weight_decay": 0.1,
        "betas": [0.9, 0.95],
        "grad_clip": 1.0,
        "precision": "bf16",
        "deterministic": True,
        "compile": "auto",
        "retrieval_share": 0.0,
        "device": "auto",
        "gpus_per_run": 1,
        "log_every": 10,
        "checkpoint_minutes": 10.0,
        "checkpoint_steps": None,
        "tensorboard": "auto",
    }
    assert loaded["evaluation"]["tiny"] == {
        "lengths": [32, 64],
        "protocols": ["first_chunks", "full"],
        "chunks": 10,
        "remaps": ["none"],
        "retrieval": None,
        "equivalence_margin": 0.01,
    }
    assert loaded["spectra"]["hybrid"]["b"] == {
        "family": "anchored_poly",
        "theta": 10000.0,
        "p": 3.9,
        "omf": 0.3,
    }
    assert loaded["datasets"]["books"]["train"] == ["train/*.txt"]
    assert loaded["experiments"]["demo"]["contrasts"] == ["poly", "hybrid"]


def test_loading_twice_changes_nothing() -> None:
    once = config.load(SHIPPED)
    assert config.load(once) == once


def test_parts_that_share_a_yaml_alias_do_not_share_their_values() -> None:
    raw = copy.deepcopy(GOOD)
    raw["evaluation"]["long"] = raw["evaluation"]["tiny"]
    loaded = config.load(raw)
    loaded["evaluation"]["long"]["lengths"].append(128)
    assert loaded["evaluation"]["tiny"]["lengths"] == [32, 64]


def test_a_name_that_yaml_reads_as_a_number_is_a_name() -> None:
    raw = copy.deepcopy(GOOD)
    raw["models"][350] = raw["models"]["tiny"]
    assert "350" in config.load(raw)["models"]


def test_home_directory_in_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/reader")
    loaded = config.load(edited("datasets/web/path", "~/copy"))
    assert loaded["datasets"]["web"]["path"] == "/home/reader/copy"


def test_importing_and_loading_need_no_heavy_library() -> None:
    code = (
        "import sys, yaml; from rope_spectra.config import frozen; frozen.load(yaml.safe_load(open('config.yaml')));"
        "print(*({'torch', 'transformers', 'datasets', 'pandas', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


# --- mistakes: one edit of a good configuration, one line ----------------------------------------------------------------------

NAME = "cannot be a name; use up to 100 of A-Z a-z 0-9 . _ - (a letter or digit first, no '..')"
TAKEN = "cannot be a name, it has another use in results/; choose another"

MISTAKES: list[tuple[str, Any, str]] = [
    ("run", [], "run: empty; name at least one of: demo, other, hubbed, texts, tokens"),
    ("run", "", "run: empty; name at least one of: demo, other, hubbed, texts, tokens"),
    ("run", None, "run: empty; name at least one of: demo, other, hubbed, texts, tokens"),
    ("run", REMOVED, "config: missing key 'run': Names of the experiments to build"),
    ("run", ["dmeo"], "run: unknown experiment 'dmeo'; did you mean 'demo'?"),
    (
        "run",
        "demo,zzz",
        "run: unknown experiment 'zzz'; choose from: demo, other, hubbed, texts, tokens",
    ),
    ("run", ["demo", "demo"], "run: 'demo' is given twice; give it once"),
    ("run", {"demo": 1}, "run: a mapping of keys to values is given, not a list"),
    ("run", 7, "run: 7 is a whole number, not a list; write [7]"),
    ("run", [7], "run[0]: 7 is a whole number, not text; put it in quotes"),
    (
        "experiments",
        Renamed("experimets"),
        "config: unknown key 'experimets'; did you mean 'experiments'?",
    ),
    (
        "datasets",
        REMOVED,
        "config: missing key 'datasets': Where text comes from and how much of it is used, by name",
    ),
    ("spectra", None, "spectra: empty; give a mapping of keys to values"),
    ("models", [], "models: a list is given, not a mapping of keys to values"),
    (
        "experiments/demo/spectra",
        ["geoo"],
        "experiments.demo.spectra: unknown spectrum 'geoo'; did you mean 'geo'?",
    ),
    ("experiments/demo/spectra", [], "experiments.demo.spectra: empty; give at least 1"),
    (
        "experiments/demo/spectra",
        "geo",
        "experiments.demo.spectra: 'geo' is text, not a list; write [geo]",
    ),
    (
        "experiments/demo/spectra",
        ["geo", "geo"],
        "experiments.demo.spectra: 'geo' is given twice; give it once",
    ),
    (
        "experiments/demo/seeds",
        [1.5],
        "experiments.demo.seeds[0]: 1.5 is a number, not a whole number",
    ),
    (
        "experiments/demo/seeds",
        [1, "42"],
        "experiments.demo.seeds[1]: '42' is text, not a whole number; in YAML write 42",
    ),
    (
        "experiments/demo/seeds",
        [True],
        "experiments.demo.seeds[0]: true is a truth value, not a whole number",
    ),
    ("experiments/demo/seeds", [-1], "experiments.demo.seeds[0]: -1 is too small; the least is 0"),
    (
        "experiments/demo/seeds",
        [2**63],
        f"experiments.demo.seeds[0]: {2**63} is too large; the most is {2**63 - 1}",
    ),
    ("experiments/demo/seeds", [1, 1.0], "experiments.demo.seeds: 1 is given twice; give it once"),
    ("experiments/demo/seeds", [], "experiments.demo.seeds: empty; give at least 1"),
    (
        "experiments/demo/seeds",
        42,
        "experiments.demo.seeds: 42 is a whole number, not a list; write [42]",
    ),
    (
        "experiments/demo/seeds",
        Renamed("sedes"),
        "experiments.demo: unknown key 'sedes'; did you mean 'seeds'?",
    ),
    (
        "experiments/demo/baseline",
        "poli",
        "experiments.demo.baseline: 'poli' is not among its spectra; did you mean 'poly'?",
    ),
    (
        "experiments/demo/baseline",
        "sig",
        "experiments.demo.baseline: 'sig' is not among its spectra; choose from: geo, poly, hybrid",
    ),
    (
        "experiments/demo/baseline",
        REMOVED,
        "experiments.demo: missing key 'baseline': The spectrum all others are compared with",
    ),
    (
        "experiments/demo/contrasts",
        ["own"],
        "experiments.demo.contrasts: 'own' is not among its spectra; choose from: geo, poly, hybrid",
    ),
    (
        "experiments/demo/contrasts",
        ["geo"],
        "experiments.demo.contrasts: 'geo' is the baseline and cannot be compared with itself; leave it out",
    ),
    (
        "experiments/demo/dataset",
        "toys",
        "experiments.demo.dataset: unknown dataset 'toys'; did you mean 'toy'?",
    ),
    (
        "experiments/demo/model",
        "huge",
        "experiments.demo.model: unknown model 'huge'; choose from: tiny",
    ),
    (
        "experiments/demo/training",
        "tinny",
        "experiments.demo.training: unknown training 'tinny'; did you mean 'tiny'?",
    ),
    (
        "experiments/demo/evaluation",
        350,
        "experiments.demo.evaluation: 350 is a whole number, not text; put it in quotes",
    ),
    ("experiments/demo/dataset", None, "experiments.demo.dataset: empty; give text"),
    ("experiments/data", GOOD["experiments"]["demo"], f"experiments: 'data' {TAKEN}"),
    ("experiments/logs", GOOD["experiments"]["demo"], f"experiments: 'logs' {TAKEN}"),
    ("spectra/figures", A_SPECTRUM, f"spectra: 'figures' {TAKEN}"),
    ("experiments/-x", GOOD["experiments"]["demo"], f"experiments: '-x' {NAME}"),
    ("spectra/a b", A_SPECTRUM, f"spectra: 'a b' {NAME}"),
    ("spectra/a..b", A_SPECTRUM, f"spectra: 'a..b' {NAME}"),
    ("spectra/a\n", A_SPECTRUM, f"spectra: 'a\\n' {NAME}"),
    ("spectra/\u00e9", A_SPECTRUM, f"spectra: '\u00e9' {NAME}"),
    ("models/..", GOOD["models"]["tiny"], f"models: '..' {NAME}"),
    ("training/.hidden", GOOD["training"]["tiny"], f"training: '.hidden' {NAME}"),
    ("datasets/", GOOD["datasets"]["toy"], f"datasets: '' {NAME}"),
    (
        "datasets/toy/source",
        "synthetik",
        "datasets.toy.source: unknown value 'synthetik'; choose from: hub, text, tokens, synthetic",
    ),
    (
        "datasets/toy/source",
        REMOVED,
        "datasets.toy: missing key 'source': Where the text comes from",
    ),
    (
        "datasets/toy/source",
        Renamed("sorce"),
        "datasets.toy: unknown key 'sorce'; did you mean 'source'?",
    ),
    (
        "datasets/toy/seed",
        "0",
        "datasets.toy.seed: '0' is text, not a whole number; in YAML write 0",
    ),
    ("datasets/toy/train_tokens", None, "datasets.toy.train_tokens: empty; give a whole number"),
    (
        "datasets/toy/train_tokens",
        REMOVED,
        "datasets.toy: missing key 'train_tokens': Training tokens to generate",
    ),
    (
        "datasets/toy/train_tokens",
        100,
        "datasets.toy.train_tokens: 100 is too small; one step of training.tiny needs 256",
    ),
    (
        "datasets/toy/train_tokens",
        "4e3",
        "datasets.toy.train_tokens: '4e3' is text, not a whole number; in YAML write 4000",
    ),
    (
        "datasets/toy/validation_tokens",
        64,
        "datasets.toy.validation_tokens: 64 is too small; the longest length of evaluation.tiny needs 65",
    ),
    (
        "datasets/web/validation_tokens",
        0,
        "datasets.web.validation_tokens: 0 is too small; the least is 1",
    ),
    (
        "datasets/toy/tokenizer",
        REMOVED,
        "datasets.toy: missing key 'tokenizer': How text becomes tokens",
    ),
    (
        "datasets/toy/tokenizer",
        "gpt2",
        "datasets.toy.tokenizer: 'gpt2' is text, not a mapping of keys to values",
    ),
    (
        "datasets/toy/tokenizer/train",
        Renamed("trian"),
        "datasets.toy.tokenizer: unknown key 'trian'; did you mean 'train'?",
    ),
    (
        "datasets/toy/tokenizer/path",
        "x",
        "datasets.toy.tokenizer: unknown key 'path'; choose from: train, vocab_size",
    ),
    (
        "datasets/toy/tokenizer/vocab_size",
        255,
        "datasets.toy.tokenizer.vocab_size: 255 is too small; the least is 256",
    ),
    (
        "datasets/toy/tokenizer/vocab_size",
        600,
        "models.tiny.vocab_size: 512 is too small; datasets.toy has 600 token ids",
    ),
    (
        "datasets/web/tokenizer/path",
        Renamed("pth"),
        "datasets.web.tokenizer: unknown key 'pth'; did you mean 'path'?",
    ),
    (
        "datasets/web/path",
        "",
        "datasets.web.path: '' cannot be a path; give the name of a file, a directory or a hub id",
    ),
    (
        "datasets/web/revision",
        1234567,
        "datasets.web.revision: 1234567 is a whole number, not text or null; put it in quotes",
    ),
    ("datasets/web/train_split", ["train"], "datasets.web.train_split: a list is given, not text"),
    ("datasets/books/train", [], "datasets.books.train: empty; give at least 1"),
    (
        "datasets/books/train",
        3,
        "datasets.books.train: 3 is a whole number, not text or a list; put it in quotes",
    ),
    ("datasets/books/separator", "", "datasets.books.separator: empty; write null for none"),
    (
        "datasets/raw/vocab_size",
        65537,
        "datasets.raw.vocab_size: 65537 is too large; the most is 65536",
    ),
    (
        "datasets/raw/vocab_size",
        513,
        "models.tiny.vocab_size: 512 is too small; datasets.raw has 513 token ids",
    ),
    (
        "datasets/raw/separator",
        None,
        "datasets.raw: unknown key 'separator'; choose from: "
        "source, train, validation, vocab_size, train_tokens, validation_tokens",
    ),
    (
        "models/tiny/head_dim",
        15,
        "models.tiny.head_dim: 15 is odd; rotary pairs need an even number",
    ),
    ("models/tiny/head_dim", 0, "models.tiny.head_dim: 0 is too small; the least is 2"),
    (
        "models/tiny/head_dim",
        "16",
        "models.tiny.head_dim: '16' is text, not a whole number; in YAML write 16",
    ),
    (
        "models/tiny/head_dim",
        10,
        "spectra.own.inv_freq: 4 frequencies; models.tiny needs 5 (half its head_dim)",
    ),
    (
        "models/tiny/vocab_size",
        65537,
        "models.tiny.vocab_size: 65537 is too large; the most is 65536",
    ),
    (
        "models/tiny/vocab_size",
        256,
        "models.tiny.vocab_size: 256 is too small; datasets.toy has 300 token ids",
    ),
    (
        "models/tiny/num_layers",
        2,
        "models.tiny: unknown key 'num_layers'; did you mean 'num_hidden_layers'?",
    ),
    (
        "models/tiny/num_hidden_layers",
        1.5,
        "models.tiny.num_hidden_layers: 1.5 is a number, not a whole number",
    ),
    (
        "models/tiny/hidden_size",
        REMOVED,
        "models.tiny: missing key 'hidden_size': Width of the residual stream",
    ),
    (
        "models/tiny/rms_norm_eps",
        0,
        "models.tiny.rms_norm_eps: 0.0 is too small; it must be above 0",
    ),
    ("training/tiny", None, "training.tiny: empty; give a mapping of keys to values"),
    (
        "training/tiny/learning_rate",
        Renamed("learning_rat"),
        "training.tiny: unknown key 'learning_rat'; did you mean 'learning_rate'?",
    ),
    (
        "training/tiny/batch_size",
        Renamed("batch"),
        "training.tiny: unknown key 'batch'; did you mean 'batch_size'?",
    ),
    (
        "training/tiny/warmup_frac",
        0.1,
        "training.tiny: unknown key 'warmup_frac'; did you mean 'warmup_fraction'?",
    ),
    (
        "training/tiny/learning_rate",
        "6e-4",
        "training.tiny.learning_rate: '6e-4' is text, not a number; in YAML write 6.0e-4",
    ),
    (
        "training/tiny/learning_rate",
        "fast",
        "training.tiny.learning_rate: 'fast' is text, not a number",
    ),
    (
        "training/tiny/learning_rate",
        math.nan,
        "training.tiny.learning_rate: nan is infinite or undefined, not a number",
    ),
    (
        "training/tiny/learning_rate",
        math.inf,
        "training.tiny.learning_rate: inf is infinite or undefined, not a number",
    ),
    (
        "training/tiny/learning_rate",
        True,
        "training.tiny.learning_rate: true is a truth value, not a number",
    ),
    (
        "training/tiny/learning_rate",
        datetime.date(2024, 1, 1),
        "training.tiny.learning_rate: 2024-01-01 is a date, not a number",
    ),
    (
        "training/tiny/warmup_fraction",
        1,
        "training.tiny.warmup_fraction: 1.0 is too large; it must be below 1",
    ),
    (
        "training/tiny/retrieval_share",
        1.5,
        "training.tiny.retrieval_share: 1.5 is too large; the most is 1",
    ),
    (
        "evaluation/tiny/retrieval",
        {"trials": 5},
        "evaluation.tiny.retrieval.trials: 5 is too small; the least is 10",
    ),
    (
        "evaluation/tiny/retrieval",
        {"distractors": 32},
        "evaluation.tiny.retrieval.distractors: 32 is too large; the most is 31",
    ),
    (
        "evaluation/tiny/retrieval",
        {"trial": 50},
        "evaluation.tiny.retrieval: unknown key 'trial'; did you mean 'trials'?",
    ),
    ("training/tiny/betas", [0.9], "training.tiny.betas: 1 given; give at least 2"),
    ("training/tiny/betas", [0.9, 0.95, 0.99], "training.tiny.betas: 3 given; give at most 2"),
    (
        "training/tiny/betas",
        [0.9, 1],
        "training.tiny.betas[1]: 1.0 is too large; it must be below 1",
    ),
    (
        "training/tiny/micro_batch_size",
        3,
        "training.tiny.micro_batch_size: 3 does not divide batch_size 8; give a divisor or auto",
    ),
    (
        "training/tiny/gpus_per_run",
        3,
        "training.tiny.gpus_per_run: 3 does not divide batch_size 8; give a divisor",
    ),
    (
        "training/tiny/micro_batch_size",
        "atuo",
        "training.tiny.micro_batch_size: unknown value 'atuo'; choose from: auto",
    ),
    (
        "training/tiny/micro_batch_size",
        0,
        "training.tiny.micro_batch_size: 0 is too small; the least is 1",
    ),
    (
        "training/tiny/precision",
        "fp16",
        "training.tiny.precision: unknown value 'fp16'; choose from: bf16, fp32",
    ),
    (
        "training/tiny/compile",
        "true",
        "training.tiny.compile: 'true' is text; write it without quotes",
    ),
    (
        "training/tiny/compile",
        1,
        "training.tiny.compile: unknown value 1; choose from: auto, true, false",
    ),
    (
        "training/tiny/deterministic",
        "yes",
        "training.tiny.deterministic: 'yes' is text, not true or false",
    ),
    (
        "training/tiny/tokens",
        255,
        "training.tiny.tokens: 255 is less than one step of seq_len x batch_size = 256 tokens",
    ),
    (
        "training/tiny/tokens",
        "5e7",
        "training.tiny.tokens: '5e7' is text, not a whole number or null; in YAML write 50000000",
    ),
    ("evaluation/tiny/lengths", [1], "evaluation.tiny.lengths[0]: 1 is too small; the least is 2"),
    (
        "evaluation/tiny/lengths",
        [64, 64],
        "evaluation.tiny.lengths: 64 is given twice; give it once",
    ),
    (
        "evaluation/tiny/lengths",
        [2000, 32],
        "datasets.toy.validation_tokens: 1000 is too small; the longest length of evaluation.tiny needs 2001",
    ),
    (
        "evaluation/tiny/protocols",
        ["first_chunk"],
        "evaluation.tiny.protocols[0]: unknown value 'first_chunk'; choose from: first_chunks, full",
    ),
    ("evaluation/tiny/lengths", [], "evaluation.tiny.lengths: empty; give at least 1"),
    (
        "evaluation/tiny/remaps",
        ["yran"],
        "evaluation.tiny.remaps[0]: unknown value 'yran'; choose from: none, pi, ntk, dynamic_ntk, yarn",
    ),
    (
        "experiments/demo/contrasts",
        ["poly vs own"],
        "experiments.demo.contrasts: 'own' is not among its spectra; choose from: geo, poly, hybrid",
    ),
    (
        "experiments/demo/contrasts",
        ["poly+yarn"],
        "experiments.demo.contrasts: remap 'yarn' of 'poly+yarn' is not evaluated; choose from: none",
    ),
    (
        "experiments/demo/contrasts",
        ["poly vs poly+none"],
        "experiments.demo.contrasts: 'poly' cannot be compared with itself; leave it out",
    ),
    (
        "experiments/demo/contrasts",
        ["poly", "poly vs hybrid"],
        "experiments.demo.contrasts: a spectrum is compared with two others; give it once, it has one row in the table",
    ),
    (
        "experiments/demo/selection",
        {"seeds": [1]},
        "experiments.demo.selection.seeds: 1 is not among its seeds; add it there or leave it out here",
    ),
    (
        "experiments/demo/selection",
        {"seeds": [42, 7]},
        "experiments.demo.selection.seeds: no seed is left for confirmation; add others to experiments.demo.seeds",
    ),
    (
        "experiments/demo/selection",
        {"seeds": [42], "blocks": 1},
        "experiments.demo.selection.blocks: 1.0 is too large; it must be below 1",
    ),
    (
        "experiments/demo/selection",
        {},
        "experiments.demo.selection: missing key 'seeds': Those of the experiment's seeds that serve selection",
    ),
    (
        "evaluation/tiny/equivalence_margin",
        1,
        "evaluation.tiny.equivalence_margin: 1.0 is too large; it must be below 1",
    ),
    (
        "spectra/geo/family",
        "geometrik",
        "spectra.geo.family: unknown value 'geometrik'; choose from: "
        "geometric, anchored_poly, sigmoid, mix, values, midpoint, evq_cosh, truncate, ntk, resonance",
    ),
    (
        "spectra/geo/family",
        Renamed("famly"),
        "spectra.geo: unknown key 'famly'; did you mean 'family'?",
    ),
    ("spectra/geo/theta", 1, "spectra.geo.theta: 1.0 is too small; it must be above 1"),
    (
        "spectra/geo/theta",
        REMOVED,
        "spectra.geo: missing key 'theta': Base of the rotary frequencies",
    ),
    ("spectra/geo/omf", 0.3, "spectra.geo: unknown key 'omf'; choose from: family, theta"),
    ("spectra/poly/p", 0, "spectra.poly.p: 0.0 is too small; it must be above 0"),
    ("spectra/sig/steepnes", 8, "spectra.sig: unknown key 'steepnes'; did you mean 'steepness'?"),
    ("spectra/hybrid/alpha", 1.5, "spectra.hybrid.alpha: 1.5 is too large; the most is 1"),
    (
        "spectra/hybrid/a",
        REMOVED,
        "spectra.hybrid: missing key 'a': A spectrum (family and parameters)",
    ),
    (
        "spectra/hybrid/b",
        "poly",
        "spectra.hybrid.b: 'poly' is text, not a mapping of keys to values",
    ),
    (
        "spectra/hybrid/a/theta",
        "1e5",
        "spectra.hybrid.a.theta: '1e5' is text, not a number; in YAML write 1.0e+5",
    ),
    (
        "spectra/hybrid/a",
        {"family": "values", "inv_freq": [1]},
        "spectra.hybrid.a.inv_freq: 1 frequencies; models.tiny needs 4 (half its head_dim)",
    ),
    ("spectra/evq/tau", 0, "spectra.evq.tau: 0.0 is too small; the least is 1e-06"),
    ("spectra/evq/tau", 101, "spectra.evq.tau: 101.0 is too large; the most is 100"),
    ("spectra/cut/length", 0, "spectra.cut.length: 0 is too small; the least is 1"),
    (
        "spectra/cut/length",
        64.5,
        "spectra.cut.length: 64.5 is a number, not a whole number or null",
    ),
    ("spectra/cut/of", "geo", "spectra.cut.of: 'geo' is text, not a mapping of keys to values"),
    ("spectra/cut/of/theta", 1, "spectra.cut.of.theta: 1.0 is too small; it must be above 1"),
    (
        "spectra/whole/of",
        REMOVED,
        "spectra.whole: missing key 'of': A spectrum (family and parameters)",
    ),
    (
        "spectra/hybrid/a",
        {"family": "truncate", "of": {"family": "values", "inv_freq": [1]}},
        "spectra.hybrid.a.of.inv_freq: 1 frequencies; models.tiny needs 4 (half its head_dim)",
    ),
    ("spectra/slow/factor", 0.5, "spectra.slow.factor: 0.5 is too small; the least is 1"),
    (
        "spectra/slow/factor",
        REMOVED,
        "spectra.slow: missing key 'factor': By how much the slowest pair is slowed",
    ),
    (
        "spectra/own/inv_freq",
        [1, -0.5, 0, 0],
        "spectra.own.inv_freq[1]: -0.5 is too small; the least is 0",
    ),
    (
        "spectra/own/inv_freq",
        [1, "1e-6", 0, 0],
        "spectra.own.inv_freq[1]: '1e-6' is text, not a number; in YAML write 1.0e-6",
    ),
    ("spectra/geo", [1], "spectra.geo: a list is given, not a mapping of keys to values"),
]


@pytest.mark.parametrize(
    ("path", "value", "line"),
    MISTAKES,
    ids=[f"{number}-{path}" for number, (path, *_) in enumerate(MISTAKES)],
)
def test_a_mistake_is_one_line_that_names_the_key(path: str, value: Any, line: str) -> None:
    assert mistakes(edited(path, value)) == [line]


def test_every_mistake_is_reported_at_once() -> None:
    raw = edited("training/tiny/learning_rate", "fast", edited("models/tiny/head_dim", 15))
    assert len(mistakes(raw)) == 2


def test_an_empty_config_names_all_missing_keys() -> None:
    assert [line.split("'")[1] for line in mistakes({})] == SCHEMA["required"]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_hint_for_a_number_in_text_is_that_number_in_yaml(number: float) -> None:
    for text in (repr(number), f"{number:e}", f"{number:.17g}"):
        hint = messages._number_hint(text, whole=False)
        assert yaml.safe_load(hint.removeprefix("; in YAML write ")) == float(text)


# --- files, looked for only where `run` needs them -----------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with all the files that GOOD names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.txt").write_text("once upon a time")
    (tmp_path / "val.txt").write_text("the end")
    (tmp_path / "train.bin").write_bytes(bytes(2 * 256))
    (tmp_path / "val.bin").write_bytes(bytes(2 * 65))
    (tmp_path / "tokenizer").mkdir()
    vocabulary = {
        "model": {"vocab": {"a": 0, "b": 1}},
        "added_tokens": [{"id": 511, "content": "<|end|>"}],
    }
    (tmp_path / "tokenizer" / "tokenizer.json").write_text(json.dumps(vocabulary))
    return tmp_path


@pytest.mark.usefixtures("files")
def test_files_that_fit_are_accepted() -> None:
    config.load(GOOD | {"run": ["texts", "tokens", "hubbed"]})


@pytest.mark.parametrize(
    ("run", "file", "content", "line"),
    [
        ("tokens", "train.bin", None, "datasets.raw.train: no file 'train.bin'"),
        (
            "tokens",
            "train.bin",
            b"",
            "datasets.raw.train: train.bin is empty; give a file of little-endian uint16 tokens",
        ),
        (
            "tokens",
            "val.bin",
            bytes(131),
            "datasets.raw.validation: val.bin has an odd number of bytes (131), but a token has two (little-endian uint16)",
        ),
        (
            "tokens",
            "train.bin",
            bytes(510),
            "datasets.raw.train: train.bin has 255 tokens; one step of training.tiny needs 256",
        ),
        (
            "tokens",
            "val.bin",
            bytes(128),
            "datasets.raw.validation: val.bin has 64 tokens; the longest length of evaluation.tiny needs 65",
        ),
        (
            "texts",
            "train/a.txt",
            None,
            "datasets.books.train: train/*.txt: no such file; give a text file or a pattern that matches some",
        ),
        (
            "texts",
            "val.txt",
            b"",
            "datasets.books.validation: all its files are empty; give files with text",
        ),
        (
            "texts",
            "tokenizer/tokenizer.json",
            None,
            "datasets.books.tokenizer.path: no tokenizer.json in './tokenizer'; give a directory that has one or a hub id",
        ),
        (
            "texts",
            "tokenizer/tokenizer.json",
            b"{",
            "datasets.books.tokenizer.path: tokenizer/tokenizer.json is not a tokenizer of the tokenizers library",
        ),
        (
            "texts",
            "tokenizer/tokenizer.json",
            b'{"model": {"vocab": [["a", 0.0]]}, "added_tokens": [{"id": 512}]}',
            "models.tiny.vocab_size: 512 is too small; tokenizer/tokenizer.json has 513 token ids",
        ),
    ],
)
def test_a_file_that_does_not_fit(
    files: Path, run: str, file: str, content: bytes | None, line: str
) -> None:
    (files / file).unlink() if content is None else (files / file).write_bytes(content)
    config.load(GOOD)
    assert mistakes(GOOD | {"run": run}) == [line]


@pytest.mark.usefixtures("files")
def test_a_local_copy_of_a_hub_dataset_must_be_there() -> None:
    raw = edited("datasets/web/path", "./copy") | {"run": ["hubbed"]}
    assert mistakes(raw) == [
        "datasets.web.path: no directory './copy'; give an existing one or a hub id"
    ]


def test_real_data(real_data: Path) -> None:
    neox = {"path": str(real_data / "neox")}
    books = {
        "source": "text",
        "train": f"{real_data}/books/train/*.txt",
        "validation": f"{real_data}/books/**/*.txt",
        "tokenizer": neox,
    }
    hub = {"source": "hub", "path": str(real_data / "tinystories"), "tokenizer": neox}
    raw = edited("datasets", GOOD["datasets"] | {"books": books, "web": hub}) | {
        "run": "texts,hubbed"
    }
    assert mistakes(raw) == [
        f"models.tiny.vocab_size: 512 is too small; {real_data}/neox/tokenizer.json has 50277 token ids"
    ]
    config.load(edited("models/tiny/vocab_size", 50277, raw))


# --- junk ----------------------------------------------------------------------------------------------------------------------

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.binary(),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.text() | st.integers() | st.none(), children, max_size=3)
    ),
    max_leaves=5,
)
PLACES = [
    (*parents, key)
    for parents, section in [((), GOOD)]
    + [((top,), GOOD[top]) for top in GOOD if top != "run"]
    + [((top, name), GOOD[top][name]) for top in GOOD if top != "run" for name in GOOD[top]]
    for key in section
]


@hypothesis_settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(PLACES), JUNK | st.sampled_from(["demo", ["geo"], [1, 2], "auto", {}])
        ),
        min_size=1,
        max_size=3,
    )
)
@example([(("run",), [[], b""])])
def test_junk_is_a_user_error_at_worst(edits: list[tuple[tuple[str, ...], Any]]) -> None:
    raw = copy.deepcopy(GOOD)
    for (*parents, last), value in edits:
        section = raw
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section[last] = value
    try:
        json.dumps(config.load(raw), allow_nan=False)
    except UserError as error:
        assert all(": " in line and line == line.strip() for line in str(error).split("\n"))  # noqa: PT017


# --- frozen settings -----------------------------------------------------------------------------------------------------------


def run_json(raw: dict[str, Any], spectrum: str = "hybrid") -> str:
    return config.as_json(config.run_settings(config.load(raw), "demo", spectrum, 42))


def reordered(value: Any) -> Any:
    """The same configuration with the keys of every mapping the other way round."""
    if isinstance(value, dict):
        return {key: reordered(item) for key, item in reversed(value.items())}
    return value


def test_frozen_settings_ignore_key_order_number_types_and_defaults_written_out() -> None:
    frozen = run_json(GOOD)
    assert "\n" not in frozen
    assert run_json(reordered(GOOD)) == frozen
    assert run_json(edited("spectra/hybrid/a/theta", 10000.0)) == frozen
    assert run_json(edited("models/tiny/hidden_size", 16.0)) == frozen
    assert run_json(edited("training/tiny/betas", [0.9, 0.95])) == frozen
    assert run_json(config.load(GOOD)) == frozen


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("training/tiny/log_every", 1),
        ("experiments/demo/description", "another question"),
        ("experiments/demo/seeds", [42]),
        ("experiments/demo/contrasts", ["poly"]),
        ("evaluation/tiny/chunks", 3),
        ("training/tiny/retrieval_share", 0),
        ("spectra/geo/theta", 10000),
        ("run", ["other"]),
    ],
)
def test_what_does_not_matter_to_a_run_is_not_in_its_settings(path: str, value: Any) -> None:
    assert run_json(edited(path, value)) == run_json(GOOD)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("training/tiny/learning_rate", 1.0e-3),
        ("training/tiny/precision", "fp32"),
        ("models/tiny/num_hidden_layers", 2),
        ("spectra/hybrid/alpha", 0.3),
        ("spectra/hybrid/b/p", 4),
    ],
)
def test_what_matters_to_a_run_is_in_its_settings(path: str, value: Any) -> None:
    assert run_json(edited(path, value)) != run_json(GOOD)


def test_frozen_spectra_hold_the_numbers_that_they_leave_to_the_experiment() -> None:
    """seq_len is 32 and head_dim 8; the library itself keeps what is left open."""
    loaded = config.load(
        edited(
            "spectra/hybrid/b", {"family": "truncate", "of": {"family": "evq_cosh", "theta": 10}}
        )
    )
    tau = 8 / 32**0.5
    frozen = {
        name: config.run_settings(loaded, "demo", name, 7)["spectrum"]
        for name in ("evq", "cut", "hybrid")
    }
    assert frozen["evq"] == {"name": "evq", "family": "evq_cosh", "theta": 500000.0, "tau": tau}
    assert frozen["cut"] == {
        "name": "cut",
        "family": "truncate",
        "of": {"family": "geometric", "theta": 5e5},
        "length": 32,
    }
    assert frozen["hybrid"]["b"] == {
        "family": "truncate",
        "of": {"family": "evq_cosh", "theta": 10.0, "tau": tau},
        "length": 32,
    }
    assert config.experiment_settings(loaded, "demo")["spectra"][2] == frozen["hybrid"]
    assert loaded["spectra"]["evq"]["tau"] is None
    longer = config.load(edited("training/tiny/seq_len", 64))
    assert config.run_settings(longer, "demo", "evq", 7)["spectrum"]["tau"] == 1.0
    given = config.load(edited("spectra/evq/tau", 2.0))
    assert config.run_settings(given, "demo", "evq", 7)["spectrum"]["tau"] == 2.0


def test_run_settings_hold_these_keys() -> None:
    frozen = config.run_settings(config.load(GOOD), "demo", "poly", 7)
    assert set(frozen) == {"recipe", "experiment", "seed", "spectrum", "model", "training"}
    assert (frozen["recipe"], frozen["experiment"], frozen["seed"]) == (config.RECIPE, "demo", 7)
    assert frozen["spectrum"] == {
        "name": "poly",
        "family": "anchored_poly",
        "theta": 500000.0,
        "p": 3.9,
        "omf": 0.3,
    }
    assert "log_every" not in frozen["training"]
    assert frozen["training"]["learning_rate"] == 0.003
    options = {
        "log_every": 10,
        "checkpoint_minutes": 10.0,
        "checkpoint_steps": None,
        "tensorboard": "auto",
        "gpus_per_run": 1,
    }
    assert config.run_options(config.load(GOOD), "demo") == options
    assert not options.keys() & frozen["training"].keys()


def test_evaluation_and_experiment_settings() -> None:
    loaded = config.load(GOOD)
    assert config.evaluation_settings(loaded, "demo") == {
        "lengths": [32, 64],
        "protocols": ["first_chunks", "full"],
        "chunks": 10,
        "remaps": ["none"],
    }
    frozen = config.experiment_settings(loaded, "other")
    assert [spectrum["name"] for spectrum in frozen["spectra"]] == ["geo", "own"]
    assert (frozen["baseline"], frozen["contrasts"], frozen["equivalence_margin"]) == (
        "own",
        ["geo"],
        0.01,
    )
    assert (frozen["head_dim"], frozen["train_length"]) == (8, 32)


def test_runs_are_all_spectra_with_all_seeds() -> None:
    assert config.runs(config.load(GOOD), "demo") == [
        (name, seed) for seed in (42, 7) for name in ("geo", "poly", "hybrid")
    ]


@pytest.mark.parametrize(
    ("dataset", "part", "expected"),
    [
        (
            "toy",
            "train",
            {
                "split": "train",
                "tokens": 4096,
                "source": {"source": "synthetic", "seed": 0, "split": "train"},
            },
        ),
        (
            "toy",
            "tokenizer",
            {
                "train": 10000,
                "vocab_size": 300,
                "source": {"source": "synthetic", "seed": 0, "split": "train"},
            },
        ),
        (
            "web",
            "validation",
            {
                "split": "validation",
                "tokens": None,
                "source": {
                    "source": "hub",
                    "path": "some/where",
                    "revision": None,
                    "text_column": "text",
                    "split": "validation",
                },
            },
        ),
        ("web", "tokenizer", {"path": "some/tokenizer", "revision": None}),
        (
            "books",
            "train",
            {
                "split": "train",
                "tokens": None,
                "source": {
                    "source": "text",
                    "files": ["train/*.txt"],
                    "separator": None,
                    "text_column": "text",
                },
            },
        ),
        (
            "raw",
            "validation",
            {
                "split": "validation",
                "tokens": None,
                "source": {"source": "tokens", "file": "val.bin", "vocab_size": 64},
            },
        ),
    ],
)
def test_data_settings(dataset: str, part: Any, expected: dict[str, Any]) -> None:
    assert config.data_settings(config.load(GOOD), dataset, part) == expected


def test_tokens_have_no_tokenizer() -> None:
    with pytest.raises(UserError, match=r"^datasets\.raw: its source is tokens"):
        config.data_settings(config.load(GOOD), "raw", "tokenizer")


@pytest.mark.usefixtures("files")
def test_raw_files_are_the_users_own() -> None:
    loaded = config.load(GOOD)
    assert config.raw_files(loaded, "books", "train") == ["train/a.txt"]
    assert config.raw_files(loaded, "raw", "validation") == ["val.bin"]
    assert (
        config.raw_files(loaded, "toy", "train") == config.raw_files(loaded, "web", "train") == []
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nrun: [demo\nb: 2", "config.yaml:3: not valid YAML ("),
        ("models:\n\ttiny: 1\n", "config.yaml:2: not valid YAML (found character"),
        ("a: 1\nb: 2\na: 3\n", "config.yaml:3: a is given twice"),
        (
            "spectra:\n  geo: {theta: 1}\n  geo: {theta: 2}\n",
            "config.yaml:3: spectra.geo is given twice",
        ),
        ("list:\n  - {key: 1, key: 2}\n", "config.yaml:2: list.key is given twice"),
        ("a: \x00", "config.yaml: not valid YAML"),
    ],
)
def test_yaml_itself_is_checked_with_line_numbers(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        config_text.check([tmp_path / "config.yaml"])
    line = str(caught.value).removeprefix(f"{tmp_path}/")
    assert line.startswith(expected)
    assert "\n" not in line


def test_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"run: [d\xe9mo]")
    with pytest.raises(UserError, match=r"config\.yaml: not UTF-8 at byte 7; save it as UTF-8"):
        config_text.check([tmp_path / "config.yaml"])


def test_merges_aliases_and_the_shipped_file_repeat_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "a: &a {x: 1, self: *a}\nb: {<<: *a, x: 2}\nc: [*a, *a]\n"
    )
    config_text.check([tmp_path / "config.yaml", ROOT / "config.yaml"])
