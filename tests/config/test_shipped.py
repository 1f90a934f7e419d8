"""The shipped config.yaml is the study, and what goes beyond it."""

import math

import pytest
import yaml

from rope_spectra.config import frozen
from rope_spectra.config.load import load
from rope_spectra.config.search import SearchPart
from rope_spectra.training.record import DataFacts, identity
from support.configs import SHIPPED

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


def test_shipped_config_loads_and_runs_the_demo() -> None:
    loaded = load(SHIPPED).content()
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
    assert load(SHIPPED | {"run": experiment}).run == [experiment]


def test_search_is_the_22_spectra_of_the_study_and_its_halves_share_the_two_controls() -> None:
    experiments = load(SHIPPED).content()["experiments"]
    assert experiments["unified_search"]["spectra"] == SEARCH
    assert len(set(SEARCH)) == 22
    half_a, half_b = (experiments[f"unified_search_split_{half}"]["spectra"] for half in "ab")
    assert (half_a, half_b) == (SEARCH[:12], SEARCH[:2] + SEARCH[12:])


def test_seeds_baselines_and_contrasts_of_the_study() -> None:
    loaded = load(SHIPPED).content()["experiments"]
    # Those that select: test_experiments.py. The frontier is no part of the study.
    experiments = {
        name: parts
        for name, parts in loaded.items()
        if not parts["selection"] and not name.startswith("frontier")
    }
    assert {name: parts["seeds"] for name, parts in experiments.items()} == {
        "demo": [42, 123, 7, 17, 97, 999],
        "unified_search": [42],
        "unified_search_split_a": [42],
        "unified_search_split_b": [42],
        "unified_search_3cfg_3seed": [42, 123, 7],
        "350m_final": [42],
    }
    assert {parts["baseline"] for parts in experiments.values()} == {"geo_500k"}
    search = load(SHIPPED).experiments["unified_search_3cfg_3seed"]
    assert search.declared_contrasts == [
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
    loaded = load(SHIPPED).content()
    experiment = loaded["experiments"]["unified_search" if name == "50m" else "350m_final"]
    training, dataset = (
        loaded["training"][experiment["training"]],
        loaded["datasets"][experiment["dataset"]],
    )
    tokens = min(real_tokens, dataset["train_tokens"], training["tokens"] or math.inf)
    assert tokens // training["seq_len"] == rows
    assert rows // training["batch_size"] == steps


def test_models_and_recipe_of_the_study() -> None:
    loaded = load(SHIPPED).content()
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


# Spectra that others train with have the names that others gave them.
OF_OTHERS = {
    "half_truncated",
    "partial_25",
    "partial_10",
    "cope_soft_10k",
    "cope_hard_10k",
    "p_rope",
    "llama3",
    "nanochat",
    "nope",
}


def test_names_of_spectra_say_their_parameters() -> None:
    for name, spectrum in load(SHIPPED).content()["spectra"].items():
        if name in OF_OTHERS:
            continue
        theta = next(
            part["theta"]
            for part in (spectrum, spectrum.get("a"), spectrum.get("of"))
            if part and "theta" in part
        )
        if isinstance(theta, str):
            share = {"": "", "*4": "4", "*16": "16", "/4": "0.25"}
            expected = f"geo_{share[theta.removeprefix('train_length')]}L"
        elif name.startswith("mix_"):
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


def test_the_experiments_on_the_toy_share_half_of_their_runs() -> None:
    """Counted as docs/reliability.md does: a run by its settings and data, not by its names."""
    config = load(SHIPPED)
    found = [
        identity(
            frozen.run_settings(config, name, spectrum, seed),
            DataFacts(sha256=experiment.dataset, tokens=0),
        )
        for name, experiment in config.experiments.items()
        if experiment.dataset == "toy-stories" and not isinstance(experiment, SearchPart)
        for spectrum, seed in frozen.runs(config, name)
    ]
    assert (len(found), len(set(found))) == (149, 74)
