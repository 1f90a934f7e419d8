"""Each mistake is one line that names the key, says what is wrong and what would be right."""

import copy
import datetime
import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rope_spectra.config.load import load
from rope_spectra.config.sections import Config
from rope_spectra.runtime import messages
from rope_spectra.runtime.errors import UserError
from support.configs import A_SPECTRUM, GOOD, REMOVED, Renamed, edited, mistakes

# path of the edit, value; then of the line: its key, what is wrong, what would be right
MISTAKES: list[tuple[str, Any, str, str, str]] = [
    ("run", [], "run", "empty", "demo, other, hubbed, texts, tokens"),
    ("run", "", "run", "empty", "demo, other, hubbed, texts, tokens"),
    ("run", None, "run", "empty", "demo, other, hubbed, texts, tokens"),
    ("run", REMOVED, "config", "missing key 'run'", ""),
    ("run", ["dmeo"], "run", "unknown", "'demo'"),
    ("run", "demo,zzz", "run", "unknown", "demo, other, hubbed, texts, tokens"),
    ("run", ["demo", "demo"], "run", "given twice", "it once"),
    ("run", {"demo": 1}, "run", "mapping of keys to values is given", "a list"),
    ("run", 7, "run", "whole number, not", "[7]"),
    ("run", [7], "run[0]", "whole number, not", "quotes"),
    ("experiments", Renamed("experimets"), "config", "unknown key 'experimets'", "'experiments'"),
    ("datasets", REMOVED, "config", "missing key 'datasets'", ""),
    ("spectra", None, "spectra", "empty", "a mapping"),
    ("models", [], "models", "a list is given", "a mapping of keys to values"),
    ("experiments/demo/spectra", ["geoo"], "experiments.demo.spectra", "unknown", "'geo'"),
    ("experiments/demo/spectra", [], "experiments.demo.spectra", "empty", "1"),
    ("experiments/demo/spectra", "geo", "experiments.demo.spectra", "is text", "[geo]"),
    (
        "experiments/demo/spectra",
        ["geo", "geo"],
        "experiments.demo.spectra",
        "given twice",
        "it once",
    ),
    (
        "experiments/demo/primary",
        {"length": 128},
        "experiments.demo.primary.length",
        "128 is not among evaluation.tiny.lengths",
        "add it",
    ),
    (
        "experiments/demo/primary",
        {"length": 32},
        "experiments.demo.primary.length",
        "not beyond the training length 32",
        "metric: ppl",
    ),
    (
        "experiments/demo/primary",
        {"length": 64, "contrasts": ["pol"]},
        "experiments.demo.primary.contrasts",
        "not among its contrasts",
        "'poly'",
    ),
    (
        "experiments/demo/looks",
        [2, 3],
        "experiments.demo.looks",
        "at 3 seeds, and 2 serve verdicts",
        "end with 2",
    ),
    ("experiments/demo/looks", [2, 2], "experiments.demo.looks", "given twice", "it once"),
    (
        "experiments/demo/hypotheses",
        {"h": {"source": "us", "claim": "poly beats geo"}},
        "experiments.demo.hypotheses.h.claim",
        "'poly beats geo' is no claim",
        "a better than b",
    ),
    (
        "experiments/demo/hypotheses",
        {"h": {"claim": "poly better than geo"}},
        "experiments.demo.hypotheses.h",
        "missing key 'source'",
        "predicts it",
    ),
    (
        "experiments/demo/hypotheses",
        {"h": {"source": "us", "diagnostic": "critical_dimension"}},
        "experiments.demo.hypotheses.h",
        "missing key 'sign'",
        "rank correlation",
    ),
    (
        "experiments/demo/hypotheses",
        {"h": {"source": "us", "diagnostic": "critical_dimensions", "sign": "negative"}},
        "experiments.demo.hypotheses.h.diagnostic",
        "is none",
        "'critical_dimension'",
    ),
    (
        "experiments/demo/hypotheses",
        {"h": {"source": "us", "claim": "pol better than geo"}},
        "experiments.demo.hypotheses.h.claim",
        "not among its spectra",
        "'poly'",
    ),
    (
        "experiments/demo/hypotheses",
        {"h": {"source": "us", "claim": "geo+yarn worse than geo"}},
        "experiments.demo.hypotheses.h.claim",
        "is not evaluated",
        "none",
    ),
    (
        "experiments/demo/hypotheses",
        {"h": {"source": "us", "claim": "geo equivalent to geo"}},
        "experiments.demo.hypotheses.h.claim",
        "compared with itself",
        "name two",
    ),
    (
        "experiments/demo/hypotheses",
        {"h": {"source": "us", "claim": "poly better than geo", "length": 128}},
        "experiments.demo.hypotheses.h.length",
        "128 is not among evaluation.tiny.lengths",
        "add it",
    ),
    (
        "experiments/demo/hypotheses",
        {"h": {"source": "us", "claim": "poly better than geo", "measure": "retrieval"}},
        "experiments.demo.hypotheses.h.measure",
        "nothing is retrieved",
        "add retrieval to evaluation.tiny",
    ),
    (
        "experiments/demo/hypotheses",
        {
            "h": {
                "source": "us",
                "claim": "poly better than geo",
                "measure": "degradation",
                "length": 32,
            }
        },
        "experiments.demo.hypotheses.h.length",
        "not beyond the training length 32",
        "measure: ppl",
    ),
    (
        "experiments/demo/stopped",
        {"geo": 1},
        "experiments.demo.stopped",
        "is the baseline",
        "leave it out",
    ),
    (
        "experiments/demo/stopped",
        {"poly": 1},
        "experiments.demo.stopped",
        "can stop at a look before the last only",
        "none is declared",
    ),
    (
        "spectra/poly",
        {"family": "geometric", "theta": 500000},
        "experiments.demo.contrasts",
        "'poly' and 'geo' are the same spectrum",
        "leave one out",
    ),
    (
        "experiments/demo/seeds",
        [1.5],
        "experiments.demo.seeds[0]",
        "is a number, not",
        "a whole number",
    ),
    ("experiments/demo/seeds", [1, "42"], "experiments.demo.seeds[1]", "is text", "42"),
    (
        "experiments/demo/seeds",
        [True],
        "experiments.demo.seeds[0]",
        "truth value",
        "a whole number",
    ),
    ("experiments/demo/seeds", [-1], "experiments.demo.seeds[0]", "too small", "0"),
    ("experiments/demo/seeds", [2**63], "experiments.demo.seeds[0]", "too large", str(2**63 - 1)),
    ("experiments/demo/seeds", [1, 1.0], "experiments.demo.seeds", "given twice", "it once"),
    ("experiments/demo/seeds", [], "experiments.demo.seeds", "empty", "1"),
    ("experiments/demo/seeds", 42, "experiments.demo.seeds", "whole number, not", "[42]"),
    (
        "experiments/demo/seeds",
        Renamed("sedes"),
        "experiments.demo",
        "unknown key 'sedes'",
        "'seeds'",
    ),
    ("experiments/demo/baseline", "poli", "experiments.demo.baseline", "not among", "'poly'"),
    (
        "experiments/demo/baseline",
        "sig",
        "experiments.demo.baseline",
        "not among",
        "geo, poly, hybrid",
    ),
    ("experiments/demo/baseline", REMOVED, "experiments.demo", "missing key 'baseline'", ""),
    (
        "experiments/demo/contrasts",
        ["own"],
        "experiments.demo.contrasts",
        "not among",
        "geo, poly, hybrid",
    ),
    (
        "experiments/demo/contrasts",
        ["geo"],
        "experiments.demo.contrasts",
        "with itself",
        "leave it out",
    ),
    ("experiments/demo/dataset", "toys", "experiments.demo.dataset", "unknown", "'toy'"),
    ("experiments/demo/model", "huge", "experiments.demo.model", "unknown", "tiny"),
    ("experiments/demo/training", "tinny", "experiments.demo.training", "unknown", "'tiny'"),
    (
        "experiments/demo/evaluation",
        350,
        "experiments.demo.evaluation",
        "whole number, not",
        "quotes",
    ),
    ("experiments/demo/dataset", None, "experiments.demo.dataset", "empty", "text"),
    (
        "experiments/data",
        GOOD["experiments"]["demo"],
        "experiments",
        "cannot be a name",
        "choose another",
    ),
    (
        "experiments/logs",
        GOOD["experiments"]["demo"],
        "experiments",
        "cannot be a name",
        "choose another",
    ),
    ("spectra/figures", A_SPECTRUM, "spectra", "cannot be a name", "choose another"),
    ("experiments/-x", GOOD["experiments"]["demo"], "experiments", "cannot be a name", "use up to"),
    ("spectra/a b", A_SPECTRUM, "spectra", "cannot be a name", "use up to"),
    ("spectra/a..b", A_SPECTRUM, "spectra", "cannot be a name", "use up to"),
    ("spectra/a\n", A_SPECTRUM, "spectra", "cannot be a name", "use up to"),
    ("spectra/\u00e9", A_SPECTRUM, "spectra", "cannot be a name", "use up to"),
    ("models/..", GOOD["models"]["tiny"], "models", "cannot be a name", "use up to"),
    ("training/.hidden", GOOD["training"]["tiny"], "training", "cannot be a name", "use up to"),
    ("datasets/", GOOD["datasets"]["toy"], "datasets", "cannot be a name", "use up to"),
    (
        "datasets/toy/source",
        "synthetik",
        "datasets.toy.source",
        "unknown value",
        "'synthetic'",
    ),
    ("datasets/toy/source", REMOVED, "datasets.toy", "missing key 'source'", ""),
    ("datasets/toy/source", Renamed("sorce"), "datasets.toy", "unknown key 'sorce'", "'source'"),
    ("datasets/toy/seed", "0", "datasets.toy.seed", "is text", "0"),
    ("datasets/toy/train_tokens", None, "datasets.toy.train_tokens", "empty", "a whole number"),
    ("datasets/toy/train_tokens", REMOVED, "datasets.toy", "missing key 'train_tokens'", ""),
    ("datasets/toy/train_tokens", 100, "datasets.toy.train_tokens", "too small", "256"),
    ("datasets/toy/train_tokens", "4e3", "datasets.toy.train_tokens", "is text", "4000"),
    ("datasets/toy/validation_tokens", 64, "datasets.toy.validation_tokens", "too small", "65"),
    ("datasets/web/validation_tokens", 0, "datasets.web.validation_tokens", "too small", "1"),
    ("datasets/toy/tokenizer", REMOVED, "datasets.toy", "missing key 'tokenizer'", ""),
    (
        "datasets/toy/tokenizer",
        "gpt2",
        "datasets.toy.tokenizer",
        "is text",
        "a mapping of keys to values",
    ),
    (
        "datasets/toy/tokenizer/train",
        Renamed("trian"),
        "datasets.toy.tokenizer",
        "unknown key 'trian'",
        "'train'",
    ),
    (
        "datasets/toy/tokenizer/path",
        "x",
        "datasets.toy.tokenizer",
        "unknown key 'path'",
        "train, vocab_size",
    ),
    (
        "datasets/toy/tokenizer/vocab_size",
        255,
        "datasets.toy.tokenizer.vocab_size",
        "too small",
        "256",
    ),
    ("datasets/toy/tokenizer/vocab_size", 600, "models.tiny.vocab_size", "too small", "600"),
    (
        "datasets/web/tokenizer/path",
        Renamed("pth"),
        "datasets.web.tokenizer",
        "unknown key 'pth'",
        "'path'",
    ),
    ("datasets/web/path", "", "datasets.web.path", "cannot be a path", "hub id"),
    ("datasets/web/revision", 1234567, "datasets.web.revision", "whole number, not", "quotes"),
    ("datasets/web/train_split", ["train"], "datasets.web.train_split", "a list is given", "text"),
    ("datasets/books/train", [], "datasets.books.train", "empty", "1"),
    ("datasets/books/train", 3, "datasets.books.train[0]", "whole number, not", "quotes"),
    ("datasets/books/separator", "", "datasets.books.separator", "empty", "null"),
    ("datasets/books/separator", "\ud83d", "datasets.books.separator", "half a", "whole one"),
    (
        "datasets/books/retrieval_sentence",
        "Key \ud83d {value}",
        "datasets.books.retrieval_sentence",
        "half a character",
        "whole one",
    ),
    ("datasets/raw/vocab_size", 65537, "datasets.raw.vocab_size", "too large", "65536"),
    ("datasets/raw/vocab_size", 513, "models.tiny.vocab_size", "too small", "513"),
    (
        "datasets/raw/separator",
        None,
        "datasets.raw",
        "unknown key 'separator'",
        "train_tokens, validation_tokens, source, train, validation, vocab_size",
    ),
    ("models/tiny/head_dim", 15, "models.tiny.head_dim", "odd", ""),
    ("models/tiny/head_dim", 0, "models.tiny.head_dim", "too small", "2"),
    ("models/tiny/head_dim", "16", "models.tiny.head_dim", "is text", "16"),
    ("models/tiny/head_dim", 10, "spectra.own.inv_freq", "4 numbers", "5"),
    ("models/tiny/vocab_size", 65537, "models.tiny.vocab_size", "too large", "65536"),
    ("models/tiny/vocab_size", 256, "models.tiny.vocab_size", "too small", "300"),
    ("models/tiny/num_layers", 2, "models.tiny", "unknown key 'num_layers'", "'num_hidden_layers'"),
    (
        "models/tiny/num_hidden_layers",
        1.5,
        "models.tiny.num_hidden_layers",
        "is a number, not",
        "a whole number",
    ),
    ("models/tiny/hidden_size", REMOVED, "models.tiny", "missing key 'hidden_size'", ""),
    ("models/tiny/rms_norm_eps", 0, "models.tiny.rms_norm_eps", "too small", "0"),
    ("training/tiny", None, "training.tiny", "empty", "a mapping"),
    (
        "training/tiny/learning_rate",
        Renamed("learning_rat"),
        "training.tiny",
        "unknown key 'learning_rat'",
        "'learning_rate'",
    ),
    (
        "training/tiny/batch_size",
        Renamed("batch"),
        "training.tiny",
        "unknown key 'batch'",
        "'batch_size'",
    ),
    (
        "training/tiny/warmup_frac",
        0.1,
        "training.tiny",
        "unknown key 'warmup_frac'",
        "'warmup_fraction'",
    ),
    ("training/tiny/learning_rate", "6e-4", "training.tiny.learning_rate", "is text", "6.0e-4"),
    ("training/tiny/learning_rate", "fast", "training.tiny.learning_rate", "is text", "a number"),
    (
        "training/tiny/learning_rate",
        math.nan,
        "training.tiny.learning_rate",
        "infinite or undefined",
        "a number",
    ),
    (
        "training/tiny/learning_rate",
        math.inf,
        "training.tiny.learning_rate",
        "infinite or undefined",
        "a number",
    ),
    ("training/tiny/learning_rate", True, "training.tiny.learning_rate", "truth value", "a number"),
    (
        "training/tiny/learning_rate",
        datetime.date(2024, 1, 1),
        "training.tiny.learning_rate",
        "a date",
        "a number",
    ),
    ("training/tiny/warmup_fraction", 1, "training.tiny.warmup_fraction", "too large", "1"),
    ("training/tiny/retrieval_share", 1.5, "training.tiny.retrieval_share", "too large", "1"),
    (
        "evaluation/tiny/retrieval",
        {"trials": 5},
        "evaluation.tiny.retrieval.trials",
        "too small",
        "10",
    ),
    (
        "evaluation/tiny/retrieval",
        {"distractors": 32},
        "evaluation.tiny.retrieval.distractors",
        "too large",
        "31",
    ),
    (
        "evaluation/tiny/retrieval",
        {"trial": 50},
        "evaluation.tiny.retrieval",
        "unknown key 'trial'",
        "'trials'",
    ),
    ("training/tiny/betas", [0.9], "training.tiny.betas", "given", "2"),
    ("training/tiny/betas", [0.9, 0.95, 0.99], "training.tiny.betas", "given", "2"),
    ("training/tiny/betas", [0.9, 1], "training.tiny.betas[1]", "too large", "1"),
    (
        "training/tiny/micro_batch_size",
        3,
        "training.tiny.micro_batch_size",
        "does not divide",
        "a divisor",
    ),
    ("training/tiny/runs_per_gpu", 9, "training.tiny.runs_per_gpu", "too large", "8"),
    ("training/tiny/gpus_per_run", 3, "training.tiny.gpus_per_run", "does not divide", "a divisor"),
    (
        "training/tiny/micro_batch_size",
        "atuo",
        "training.tiny.micro_batch_size",
        "unknown value",
        "auto",
    ),
    ("training/tiny/micro_batch_size", 0, "training.tiny.micro_batch_size", "too small", "1"),
    ("training/tiny/precision", "fp16", "training.tiny.precision", "unknown value", "bf16, fp32"),
    (
        "training/tiny/precision",
        "bf16_products",
        "training.tiny.precision",
        "is for a CPU",
        "device: cpu",
    ),
    ("training/tiny/compile", "true", "training.tiny.compile", "is text", "it"),
    ("training/tiny/compile", 1, "training.tiny.compile", "unknown value", "auto, true, false"),
    (
        "training/tiny/deterministic",
        "yes",
        "training.tiny.deterministic",
        "is text",
        "true or false",
    ),
    ("training/tiny/tokens", 255, "training.tiny.tokens", "less than one step", "256"),
    ("training/tiny/tokens", "5e7", "training.tiny.tokens", "is text", "50000000"),
    ("evaluation/tiny/lengths", [1], "evaluation.tiny.lengths[0]", "too small", "2"),
    ("evaluation/tiny/lengths", [64, 64], "evaluation.tiny.lengths", "given twice", "it once"),
    ("evaluation/tiny/lengths", [2000, 32], "datasets.toy.validation_tokens", "too small", "2001"),
    (
        "evaluation/tiny/protocols",
        ["first_chunk"],
        "evaluation.tiny.protocols[0]",
        "unknown value",
        "first_chunks, full",
    ),
    ("evaluation/tiny/lengths", [], "evaluation.tiny.lengths", "empty", "1"),
    (
        "evaluation/tiny/remaps",
        ["yran"],
        "evaluation.tiny.remaps[0]",
        "unknown remap 'yran'",
        "'yarn'",
    ),
    ("evaluation/tiny/remaps", ["yarn@0"], "evaluation.tiny.remaps[0]", "factor", "yarn@8"),
    ("evaluation/tiny/remaps", ["pi", "pi@x"], "evaluation.tiny.remaps[1]", "factor", "pi@8"),
    ("evaluation/tiny/remaps", ["yarn@8"] * 2, "evaluation.tiny.remaps", "given twice", "once"),
    ("evaluation/tiny/remaps", [8], "evaluation.tiny.remaps[0]", "whole number, not", "text"),
    (
        "experiments/demo/contrasts",
        ["poly vs own"],
        "experiments.demo.contrasts",
        "not among",
        "geo, poly, hybrid",
    ),
    (
        "experiments/demo/contrasts",
        ["poly+yarn"],
        "experiments.demo.contrasts",
        "not evaluated",
        "none",
    ),
    (
        "experiments/demo/contrasts",
        ["poly vs poly+none"],
        "experiments.demo.contrasts",
        "with itself",
        "leave it out",
    ),
    (
        "experiments/demo/contrasts",
        ["poly", "poly vs hybrid"],
        "experiments.demo.contrasts",
        "two others",
        "it once",
    ),
    (
        "experiments/demo/selection",
        {"seeds": [1]},
        "experiments.demo.selection.seeds",
        "not among",
        "it",
    ),
    (
        "experiments/demo/selection",
        {"seeds": [42, 7]},
        "experiments.demo.selection.seeds",
        "no seed",
        "others",
    ),
    (
        "experiments/demo/selection",
        {"seeds": [42], "blocks": 1},
        "experiments.demo.selection.blocks",
        "too large",
        "1",
    ),
    ("experiments/demo/selection", {}, "experiments.demo.selection", "missing key 'seeds'", ""),
    (
        "evaluation/tiny/equivalence_margin",
        1,
        "evaluation.tiny.equivalence_margin",
        "too large",
        "1",
    ),
    ("spectra/geo/family", "geometrik", "spectra.geo.family", "unknown value", "'geometric'"),
    (
        "spectra/geo/family",
        "explicit",
        "spectra.geo.family",
        "unknown value",
        "geometric, anchored_poly, sigmoid, mix, values, midpoint, evq_cosh, truncate, ntk,"
        " log_spaced, llama3, longrope, nope, partial, stilled, taper, resonance",
    ),
    ("spectra/geo/family", 5, "spectra.geo.family", "unknown value", "geometric, anchored_poly"),
    ("spectra/geo/family", Renamed("famly"), "spectra.geo", "unknown key 'famly'", "'family'"),
    ("spectra/geo/theta", 1, "spectra.geo.theta", "too small", "1"),
    ("spectra/geo/theta", REMOVED, "spectra.geo", "missing key 'theta'", ""),
    ("spectra/geo/omf", 0.3, "spectra.geo", "unknown key 'omf'", "family, label, theta"),
    ("spectra/poly/p", 0, "spectra.poly.p", "too small", "0"),
    ("spectra/sig/steepnes", 8, "spectra.sig", "unknown key 'steepnes'", "'steepness'"),
    ("spectra/hybrid/alpha", 1.5, "spectra.hybrid.alpha", "too large", "1"),
    ("spectra/hybrid/a", REMOVED, "spectra.hybrid", "missing key 'a'", ""),
    ("spectra/hybrid/b", "poly", "spectra.hybrid.b", "is text", "a mapping of keys to values"),
    ("spectra/hybrid/a/theta", "1e5", "spectra.hybrid.a.theta", "is text", "1.0e+5"),
    ("spectra/geo/theta", "train_length*0", "spectra.geo.theta", "is text", "train_length*4"),
    ("spectra/geo/theta", "train_length/64", "spectra.geo.theta", "is not above 1", "larger"),
    (
        "spectra/hybrid/a",
        {"family": "partial", "share": 0.5, "of": {"family": "values", "inv_freq": [1, 0.5, 0.1]}},
        "spectra.hybrid.a.of.inv_freq",
        "3 numbers",
        "2 pairs of models.tiny rotate",
    ),
    (
        "spectra/hybrid/a",
        {"family": "longrope", "theta": 100, "factors": [1, 2]},
        "spectra.hybrid.a.factors",
        "2 numbers",
        "4",
    ),
    (
        "spectra/hybrid/a",
        {"family": "stilled", "share": 1.5, "of": {"family": "nope"}},
        "spectra.hybrid.a.share",
        "too large",
        "1",
    ),
    (
        "spectra/hybrid/a",
        {"family": "llama3", "theta": 100, "high_freq_factor": 1},
        "spectra.hybrid.a",
        "high_freq_factor: 1 is too small",
        "above low_freq_factor, 1",
    ),
    (
        "spectra/hybrid/a",
        {"family": "values", "inv_freq": [1]},
        "spectra.hybrid.a.inv_freq",
        "1 numbers",
        "4",
    ),
    ("spectra/evq/tau", 0, "spectra.evq.tau", "too small", "1e-06"),
    ("spectra/evq/tau", 101, "spectra.evq.tau", "too large", "100"),
    ("spectra/cut/length", 0, "spectra.cut.length", "too small", "1"),
    (
        "spectra/cut/length",
        64.5,
        "spectra.cut.length",
        "is a number, not",
        "a whole number or null",
    ),
    ("spectra/cut/of", "geo", "spectra.cut.of", "is text", "a mapping of keys to values"),
    ("spectra/cut/of/theta", 1, "spectra.cut.of.theta", "too small", "1"),
    ("spectra/whole/of", REMOVED, "spectra.whole", "missing key 'of'", ""),
    (
        "spectra/hybrid/a",
        {"family": "truncate", "of": {"family": "values", "inv_freq": [1]}},
        "spectra.hybrid.a.of.inv_freq",
        "1 numbers",
        "4",
    ),
    ("spectra/slow/factor", 0.5, "spectra.slow.factor", "too small", "1"),
    ("spectra/slow/factor", REMOVED, "spectra.slow", "missing key 'factor'", ""),
    ("spectra/own/inv_freq", [1, -0.5, 0, 0], "spectra.own.inv_freq[1]", "too small", "0"),
    ("spectra/own/inv_freq", [1, "1e-6", 0, 0], "spectra.own.inv_freq[1]", "is text", "1.0e-6"),
    ("spectra/geo", [1], "spectra.geo", "a list is given", "a mapping of keys to values"),
]


def test_no_two_spectra_are_equivalent_in_retrieval() -> None:
    probed = edited("evaluation/tiny/retrieval", {"trials": 20})
    claim = {"source": "us", "claim": "poly equivalent to geo", "measure": "retrieval"}
    lines = mistakes(edited("experiments/demo/hypotheses", {"h": claim}, probed))
    own = [line for line in lines if line.startswith("experiments.demo.hypotheses.h.claim")]
    assert len(own) == 1
    assert "retrieval has no margin" in own[0]


@pytest.mark.parametrize(
    ("path", "value", "key", "kind", "remedy"),
    MISTAKES,
    ids=[f"{number}-{path}" for number, (path, *_) in enumerate(MISTAKES)],
)
def test_a_mistake_is_one_line_that_names_the_key(
    path: str, value: Any, key: str, kind: str, remedy: str
) -> None:
    [line] = mistakes(edited(path, value))
    assert line.startswith(f"{key}: ")
    assert kind in line
    assert remedy in line


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("run", ["dmeo"], "run: unknown experiment 'dmeo'; did you mean 'demo'?"),
        (
            "training/tiny/learning_rate",
            "6e-4",
            "training.tiny.learning_rate: '6e-4' is text, not a number; in YAML write 6.0e-4",
        ),
        (
            "spectra/geo/theta",
            REMOVED,
            "spectra.geo: missing key 'theta': Base of the rotary frequencies, above 1;"
            " train_length is seq_len of the experiment, and train_length*4 or train_length/4 goes"
            " with it",
        ),
        (
            "models/tiny/vocab_size",
            256,
            "models.tiny.vocab_size: 256 is too small; datasets.toy has 300 token ids",
        ),
    ],
)
def test_the_lines_read_as_sentences(path: str, value: Any, line: str) -> None:
    assert mistakes(edited(path, value)) == [line]


def test_a_run_of_several_gpus_shares_none() -> None:
    raw = edited("training/tiny/runs_per_gpu", 2, edited("training/tiny/gpus_per_run", 2))
    [line] = mistakes(raw)
    assert line.startswith("training.tiny.runs_per_gpu: ")
    assert line.endswith("leave it out")


def test_every_mistake_is_reported_at_once() -> None:
    raw = edited("training/tiny/learning_rate", "fast", edited("models/tiny/head_dim", 15))
    assert len(mistakes(raw)) == 2


def test_an_empty_config_names_all_missing_keys() -> None:
    assert [line.split("'")[1] for line in mistakes({})] == [
        name for name, field in Config.model_fields.items() if field.is_required()
    ]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_hint_for_a_number_in_text_is_that_number_in_yaml(number: float) -> None:
    for text in (repr(number), f"{number:e}", f"{number:.17g}"):
        hint = messages.number_hint(text, whole=False)
        assert yaml.safe_load(hint.removeprefix("; in YAML write ")) == float(text)


@pytest.mark.usefixtures("files")
def test_files_that_fit_are_accepted() -> None:
    load(GOOD | {"run": ["texts", "tokens", "hubbed"]})


@pytest.mark.parametrize(
    ("run", "file", "content", "key", "words"),
    [
        ("tokens", "train.bin", None, "datasets.raw.train", ["no file"]),
        ("tokens", "train.bin", b"", "datasets.raw.train", ["empty", "uint16"]),
        ("tokens", "val.bin", bytes(131), "datasets.raw.validation", ["odd size", "uint16"]),
        ("tokens", "train.bin", bytes(510), "datasets.raw.train", ["255", "needs 256"]),
        ("tokens", "val.bin", bytes(128), "datasets.raw.validation", ["64", "needs 65"]),
        ("texts", "train/a.txt", None, "datasets.books.train", ["no such file", "pattern"]),
        (
            "texts",
            "val.txt",
            b"",
            "datasets.books.validation",
            ["all its files are empty", "files with text"],
        ),
        (
            "texts",
            "tokenizer/tokenizer.json",
            None,
            "datasets.books.tokenizer.path",
            ["no tokenizer.json", "hub id"],
        ),
        (
            "texts",
            "tokenizer/tokenizer.json",
            b"{",
            "datasets.books.tokenizer.path",
            ["not a tokenizer"],
        ),
        (
            "texts",
            "tokenizer/tokenizer.json",
            b'{"model": {"vocab": [["a", 0.0]]}, "added_tokens": [{"id": 512}]}',
            "models.tiny.vocab_size",
            ["513"],
        ),
    ],
)
def test_a_file_that_does_not_fit(
    files: Path, run: str, file: str, content: bytes | None, key: str, words: list[str]
) -> None:
    (files / file).unlink() if content is None else (files / file).write_bytes(content)
    load(GOOD)
    [line] = mistakes(GOOD | {"run": run})
    assert line.startswith(f"{key}: ")
    assert [word for word in words if word not in line] == []


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
        "validation": f"{real_data}/books/validation/*.txt",
        "tokenizer": neox,
    }
    hub = {"source": "hub", "path": str(real_data / "tinystories"), "tokenizer": neox}
    raw = edited("datasets", GOOD["datasets"] | {"books": books, "web": hub}) | {
        "run": "texts,hubbed"
    }
    assert mistakes(raw) == [
        f"models.tiny.vocab_size: 512 is too small; {real_data}/neox/tokenizer.json has"
        " 50277 token ids"
    ]
    load(edited("models/tiny/vocab_size", 50277, raw))


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
            section[last] = copy.deepcopy(value)
    try:
        json.dumps(load(raw).content(), allow_nan=False)
    except UserError as error:
        assert all(": " in line and line == line.strip() for line in str(error).split("\n"))  # noqa: PT017
