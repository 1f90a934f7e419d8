"""The requests of jobs to a cluster: enough for the study, and more at each retry."""

from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.config.load import load
from rope_spectra.model.config import ModelConfig
from rope_spectra.model.llama import Llama
from rope_spectra.planning import limits
from rope_spectra.runtime.errors import UserError
from support.checkout import ROOT

RAW = yaml.safe_load((ROOT / "config.yaml").read_text())
CONFIG = load(RAW)
LARGE = RAW["datasets"]["tinystories"] | {"train_tokens": 10_000_000_000}
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
