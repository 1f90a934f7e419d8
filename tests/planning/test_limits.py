"""The requests of jobs to a cluster: enough for the study, and more at each retry."""

import gzip
import json
import os
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.config.load import load
from rope_spectra.config.search import SearchPart
from rope_spectra.config.sections import Config
from rope_spectra.model.config import ModelConfig
from rope_spectra.model.llama import Llama
from rope_spectra.planning import estimates, limits
from rope_spectra.runtime import heartbeat
from rope_spectra.runtime.errors import UserError
from support.checkout import ROOT

RAW = yaml.safe_load((ROOT / "config.yaml").read_text())
CONFIG = load(RAW)
LARGE = RAW["datasets"]["tinystories"] | {"path": "some/where", "train_tokens": 10_000_000_000}
REQUESTS = (limits.train_minutes, limits.train_mb, limits.evaluate_minutes, limits.evaluate_mb)


@given(
    st.fixed_dictionaries(
        {
            "hidden_size": st.integers(1, 64),
            "num_hidden_layers": st.integers(1, 3),
            "num_attention_heads": st.integers(1, 4),
            "head_dim": st.sampled_from([2, 8, 16]),
            "intermediate_size": st.integers(1, 64),
            "vocab_size": st.integers(1, 300),
        }
    )
)
def test_parameters_are_those_of_the_model(sizes: dict[str, int]) -> None:
    config = ModelConfig(**sizes)
    built = Llama(config, torch.ones(config.pairs))
    assert config.num_parameters == sum(weight.numel() for weight in built.parameters())
    width = config.num_attention_heads * config.head_dim
    attention = 12 * config.num_hidden_layers * width * 128
    assert 3 * config.forward_flop(128) == 6 * config.num_parameters + attention


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda function: function.__name__)
def test_a_retry_asks_for_more_and_a_larger_model_too(request_) -> None:
    experiments = ("demo", "unified_search_3cfg_3seed", "350m_final")
    for attempt in (1, 2, 3):
        asked = [request_(CONFIG, experiment, attempt) for experiment in experiments]
        assert asked == sorted(asked)
        assert all(
            request_(CONFIG, name, attempt + 1) > before
            for name, before in zip(experiments, asked, strict=True)
        )


def test_the_trainings_of_the_study_fit_into_their_time() -> None:
    """On an A100 its own loop took 218 to 237 minutes for 454M parameters."""
    assert 237 < limits.train_minutes(CONFIG, "350m_final", 1) < 24 * 60


def test_several_gpus_ask_for_less_time_and_more_memory() -> None:
    preset = RAW["training"]["350m"] | {"gpus_per_run": 4}
    several = load(RAW | {"training": RAW["training"] | {"350m": preset}})
    minutes = [limits.train_minutes(config, "350m_final", 1) for config in (several, CONFIG)]
    assert minutes == sorted(set(minutes))
    assert limits.train_mb(several, "350m_final", 1) == 4 * limits.train_mb(CONFIG, "350m_final", 1)


def test_runs_that_share_a_gpu_ask_for_more_time() -> None:
    preset = RAW["training"]["50m"] | {"runs_per_gpu": 4}
    shared = load(RAW | {"training": RAW["training"] | {"50m": preset}})
    for minutes in (limits.train_minutes, limits.evaluate_minutes):
        alone = minutes(CONFIG, "unified_search", 1) - limits._START_MINUTES
        assert minutes(shared, "unified_search", 1) - limits._START_MINUTES > 2 * alone


def test_more_text_asks_for_more_time() -> None:
    large = load(RAW | {"datasets": RAW["datasets"] | {"tinystories": LARGE}})
    for minutes in (limits.tokenize_minutes, limits.cache_minutes):
        assert minutes(large, "tinystories", "train", 1) > minutes(
            CONFIG, "tinystories", "train", 1
        )


def test_slurm_is_refused_where_it_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    limits.check_commands("local")
    with pytest.raises(
        UserError, match=r"^executor: slurm needs sbatch, which is not on this machine; "
    ):
        limits.check_commands("slurm")
    (tmp_path / "sbatch").touch(mode=0o755)
    limits.check_commands("slurm")


@pytest.mark.parametrize("experiment", CONFIG.experiments)
def test_a_request_is_within_a_factor_of_three_of_the_cost(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the slowest device that cost knows, besides the start and the whole minute."""
    monkeypatch.chdir(tmp_path)
    for split in ("train", "validation"):  # of frontier_books: heads of files, and their sizes
        path = Path(f"books/{split}/a.txt.gz")
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(split.encode() * 99_999))
        os.truncate(path, 50_000_000)
    section = CONFIG.experiments[experiment]
    run = section.search if isinstance(section, SearchPart) else experiment
    config = load(RAW | {"run": [run]})
    dataset = config.experiments[experiment].dataset
    text = [
        estimates.split_tokens(config, dataset, split, Path("/nowhere"))
        for split in ("train", "validation")
    ]
    item = estimates.estimate(config, experiment, *text)
    # Of the small ones cost knows no rate: a core takes 5 to 8 s for a run of the demo (README), an
    # H200 trains the model of frontier_books at 0.64M tokens/s (docs/performance.md).
    is_on_core = config.training_of(experiment).device == "cpu"
    small = 40e9 / item.flop_per_token if is_on_core else 640_000
    on_gpu = estimates.on_gpu("a100", item.parameters, item.flop_per_token)
    hours = estimates.hours(item, on_gpu or estimates.Throughput("small", small, ""))
    for step, minutes in (
        ("training", limits.train_minutes(config, experiment, 1)),
        ("evaluation", limits.evaluate_minutes(config, experiment, 1)),
    ):
        cost = 60 * hours[step] / item.runs
        assert cost <= minutes - 20 <= 3 * cost + 1


def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **cluster: int) -> Config:
    """A library whose experiment demo reads 1.5 MB of books without a budget."""
    monkeypatch.chdir(tmp_path)
    for split in ("train", "validation"):
        Path(f"books/{split}").mkdir(parents=True)
        Path(f"books/{split}/a.txt").write_text(f"{split[:3]} " * 375_000)
    demo = RAW["experiments"]["demo"] | {"dataset": "my-books", "model": "50m"}
    changed = RAW["experiments"] | {"demo": demo}
    return load(RAW | {"experiments": changed, "cluster": cluster})


def test_a_request_follows_the_size_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without validation_tokens a billion was counted, and 1,770 minutes asked for."""
    config = books(tmp_path, monkeypatch)
    passes = estimates.evaluation_passes(config.evaluation_of("demo"), 375_000)
    flop = sum(count * config.model_of("demo").forward_flop(length) for length, count in passes)
    assert limits.evaluate_minutes(config, "demo", 1) == pytest.approx(20 + flop / 20e9 / 60, abs=1)
    assert limits.tokenize_minutes(config, "my-books", "train", 1) == 21


def test_no_job_asks_for_more_than_the_cap(tmp_path: Path, monkeypatch) -> None:
    config = books(tmp_path, monkeypatch, longest_minutes=25)
    assert limits.train_minutes(config, "demo", 3) == 25
    assert limits.evaluate_minutes(config, "demo", 3) == 25
    assert limits.cache_minutes(config, "my-books", "train", 1) == 21


def a_state(tmp_path: Path, done: int, rate: float) -> None:
    """What a training of 350m_final leaves that was stopped at step `done` of 1,000."""
    folder = tmp_path / "results/350m_final/geo_500k/seed42"
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").touch()
    log = tmp_path / "results/logs/train/350m_final/geo_500k/seed42.log"
    log.parent.mkdir(parents=True)
    position = {"label": "step", "done": done, "total": 1000, "unit": "steps", "rate": rate}
    process = {"state": "stopped", "started": 0, "updated": 1, "pid": 1, "host": "a"}
    heartbeat.path(log).write_text(json.dumps(process | position))


def test_a_training_that_resumes_asks_for_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = ("350m_final", "geo_500k", "42")
    whole = limits.train_minutes(CONFIG, "350m_final", 1, limits.resumed(*run))
    assert whole == limits.train_minutes(CONFIG, "350m_final", 1)
    a_state(tmp_path, done=750, rate=1.0)
    for attempt in (1, 2, 3):
        asked = limits.train_minutes(CONFIG, "350m_final", attempt, limits.resumed(*run))
        assert asked == pytest.approx(20 + (whole - 20) / 4, abs=1)


def test_a_slow_device_is_given_the_time_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    a_state(tmp_path, done=500, rate=0.01)
    earlier = limits.resumed("350m_final", "geo_500k", "42")
    asked = limits.train_minutes(CONFIG, "350m_final", 2, earlier)
    assert asked == 20 + 1.5 * 500 / 0.01 / 60
