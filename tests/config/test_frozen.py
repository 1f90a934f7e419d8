"""Frozen settings: what matters to a job is in them, what does not is not."""

from typing import Any

import pytest

from rope_spectra.artifacts import seal
from rope_spectra.config import frozen
from rope_spectra.config.load import load
from rope_spectra.runtime.errors import UserError
from support.configs import GOOD, edited


def run_json(raw: dict[str, Any], spectrum: str = "hybrid") -> str:
    return seal.dumps(frozen.run_settings(load(raw), "demo", spectrum, 42).content())


def reordered(value: Any) -> Any:
    """The same configuration with the keys of every mapping the other way round."""
    if isinstance(value, dict):
        return {key: reordered(item) for key, item in reversed(value.items())}
    return value


def test_frozen_settings_ignore_key_order_number_types_and_defaults_written_out() -> None:
    expected = run_json(GOOD)
    assert "\n" not in expected
    assert run_json(reordered(GOOD)) == expected
    assert run_json(edited("spectra/hybrid/a/theta", 10000.0)) == expected
    assert run_json(edited("models/tiny/hidden_size", 16.0)) == expected
    assert run_json(edited("training/tiny/betas", [0.9, 0.95])) == expected
    assert run_json(load(GOOD).content()) == expected


def test_frozen_settings_hold_the_number_of_a_theta_by_training_length() -> None:
    length = GOOD["training"]["tiny"]["seq_len"]
    by_length = edited("spectra/hybrid/a/theta", "train_length*4")
    assert run_json(by_length) == run_json(edited("spectra/hybrid/a/theta", 4 * length))
    assert "train_length" not in run_json(by_length)


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
    loaded = load(
        edited(
            "spectra/hybrid/b", {"family": "truncate", "of": {"family": "evq_cosh", "theta": 10}}
        )
    )
    tau = 8 / 32**0.5
    spectra = {
        name: frozen.run_settings(loaded, "demo", name, 7).spectrum.content()
        for name in ("evq", "cut", "hybrid")
    }
    assert spectra["evq"] == {"name": "evq", "family": "evq_cosh", "theta": 500000.0, "tau": tau}
    assert spectra["cut"] == {
        "name": "cut",
        "family": "truncate",
        "of": {"family": "geometric", "theta": 5e5},
        "length": 32,
    }
    assert spectra["hybrid"]["b"] == {
        "family": "truncate",
        "of": {"family": "evq_cosh", "theta": 10.0, "tau": tau},
        "length": 32,
    }
    assert frozen.design(loaded, "demo").spectra[2].content() == spectra["hybrid"]
    assert loaded.spectra["evq"].tau is None
    longer = load(edited("training/tiny/seq_len", 64))
    assert frozen.run_settings(longer, "demo", "evq", 7).spectrum.shape.tau == 1.0
    given = load(edited("spectra/evq/tau", 2.0))
    assert frozen.run_settings(given, "demo", "evq", 7).spectrum.shape.tau == 2.0


def test_run_settings_hold_these_keys() -> None:
    content = frozen.run_settings(load(GOOD), "demo", "poly", 7).content()
    assert set(content) == {"recipe", "experiment", "seed", "spectrum", "model", "training"}
    assert (content["recipe"], content["experiment"], content["seed"]) == (frozen.RECIPE, "demo", 7)
    assert content["spectrum"] == {
        "name": "poly",
        "family": "anchored_poly",
        "theta": 500000.0,
        "p": 3.9,
        "omf": 0.3,
    }
    assert "log_every" not in content["training"]
    assert content["training"]["learning_rate"] == 0.003
    options = {
        "log_every": 10,
        "checkpoint_minutes": 10.0,
        "checkpoint_steps": None,
        "tensorboard": "auto",
        "gpus_per_run": 1,
    }
    assert frozen.run_options(load(GOOD), "demo").content() == options
    assert not options.keys() & content["training"].keys()


def test_evaluation_and_experiment_settings() -> None:
    loaded = load(GOOD)
    assert frozen.evaluation_settings(loaded, "demo").content() == {
        "lengths": [32, 64],
        "protocols": ["first_chunks", "full"],
        "chunks": 10,
        "remaps": ["none"],
    }
    remapped = load(edited("evaluation/tiny/remaps", ["none", "yarn_untruncated", "pi@8"]))
    assert frozen.evaluation_settings(remapped, "demo").content().keys() == {
        *("lengths", "protocols", "chunks", "remaps")
    }
    # Evaluations of a version with another definition of yarn do not pass for those of this one.
    for remaps in (["none", "yarn"], ["yarn@8"]):
        yarn = load(edited("evaluation/tiny/remaps", remaps))
        assert frozen.evaluation_settings(yarn, "demo").content()["yarn"] == "transformers"
    design = frozen.design(loaded, "other")
    assert [spectrum.name for spectrum in design.spectra] == ["geo", "own"]
    assert (design.baseline, design.contrasts, design.equivalence_margin) == (
        "own",
        ["geo"],
        0.01,
    )
    assert (design.head_dim, design.train_length) == (8, 32)


def test_runs_are_all_spectra_with_all_seeds() -> None:
    assert frozen.runs(load(GOOD), "demo") == [
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
    assert frozen.data_settings(load(GOOD), dataset, part).content() == expected


def test_tokens_have_no_tokenizer() -> None:
    with pytest.raises(UserError, match=r"^datasets\.raw: its source is tokens"):
        frozen.data_settings(load(GOOD), "raw", "tokenizer")


@pytest.mark.usefixtures("files")
def test_raw_files_are_the_users_own() -> None:
    loaded = load(GOOD)
    assert loaded.datasets["books"].split("train").local_files() == ["train/a.txt"]
    assert loaded.datasets["raw"].split("validation").local_files() == ["val.bin"]
    assert (
        loaded.datasets["toy"].split("train").local_files()
        == loaded.datasets["web"].split("train").local_files()
        == []
    )
