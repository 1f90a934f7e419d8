"""Searches: the experiments that follow from one, and mistakes, each in one line at the start."""

import json
from importlib.machinery import ModuleSpec
from typing import Any

import pytest

from rope_spectra.artifacts import seal
from rope_spectra.config import frozen, parts, search_checks
from rope_spectra.config.candidates import Candidate, Candidates
from rope_spectra.config.load import load
from rope_spectra.rope.families import NamedSpectrum, Values
from rope_spectra.runtime.errors import UserError
from support.searched import CONFIG, config_of


@pytest.fixture(autouse=True)
def _with_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_checks, "find_spec", lambda name: ModuleSpec(name, None))


def test_a_round_is_an_experiment_with_its_share_of_the_training() -> None:
    config = config_of()
    assert config.built == ["s/round0", "s/round1", "s/round2", "s/confirmation"]
    assert config.tabulated == ["s/confirmation"]
    assert [config.training_of(name).tokens for name in config.built] == [8192, 8192, 16384, 32768]
    last = config.experiments["s/round2"]
    assert last.spectra == ["geo_10k", "c00", "c01"]
    assert len(last.runs) == 6
    assert frozen.design(config, "s/round2").phase_of(2) == "selection"


def test_the_confirmation_compares_with_the_best_on_the_other_half_of_the_text() -> None:
    design = frozen.design(config_of(), "s/confirmation")
    names = [spectrum.name for spectrum in design.spectra]
    assert names == ["best", "second", "geo_500k", "geo_10k"]
    assert (design.baseline, design.contrasts) == ("best+none", ["geo_500k+none"])
    assert [design.phase_of(seed) for seed in design.seeds] == ["confirmation"] * 2
    assert design.blocks_of("confirmation", 10) == slice(5, 10)


def test_a_step_follows_from_the_rounds_before_it_alone() -> None:
    config, longer = config_of(), config_of(confirmation__seeds=[11, 13], rounds__2__seeds=[1, 3])
    second = parts.step(config, "s/round1")
    assert [each.design.experiment for each in second.earlier] == ["s/round0"]
    assert (second.names, second.new) == (["c00", "c01", "c02", "c03"], 2)
    assert second == parts.step(longer, "s/round1")
    last = parts.step(config, "s/confirmation")
    assert (last.names, last.new, len(last.earlier)) == (["best", "second"], 0, 3)


def test_a_filled_candidate_is_frozen_as_a_spectrum_of_values() -> None:
    config = config_of()
    numbers = [1.0, 0.25, 1e-7, 0.0] * 4
    found = Candidates(
        search="s",
        basis="",
        candidates=[Candidate(name="c00", proposal=3, point={"knot0": 0.5}, inv_freq=numbers)],
    )
    settings = frozen.run_settings(config, "s/round0", "c00", 1)
    text = seal.dumps(found.fill(json.loads(json.dumps(settings.content()))))
    values = NamedSpectrum(name="c00", shape=Values(family="values", inv_freq=numbers))
    expected = settings.model_copy(update={"spectrum": values})
    assert text == seal.dumps(expected.content())
    with pytest.raises(UserError, match="c01: not among the candidates"):
        found.fill(frozen.run_settings(config, "s/round0", "c01", 1).content())


def test_a_place_of_a_candidate_has_no_frequencies() -> None:
    spectrum = frozen.named_spectrum(config_of(), "s/round0", "c00")
    with pytest.raises(UserError, match="has yet to propose"):
        spectrum.inv_freq(32)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"baseline": "geo_11k"}, "searches.s.baseline: unknown spectrum 'geo_11k'"),
        ({"model": "huge"}, "searches.s.model: unknown model 'huge'"),
        ({"sampler": "grid"}, "searches.s.sampler: unknown value 'grid'; choose from"),
        ({"space__wavelength": [64, 64]}, "searches.s.space.wavelength: 64 is not below 64"),
        ({"space__stilled": [0.5, 0.1]}, "searches.s.space.stilled: 0.5 is above 0.1"),
        ({"space__stilled": [0.0, 0.8]}, "searches.s.space.knots: 5 knots for 3 rotary pairs"),
        ({"objective__length": 128}, "searches.s.objective.length: 128 is not among"),
        ({"objective__length": 64}, "searches.s.objective.length: 64 is not beyond"),
        ({"objective__metric": "retrieval"}, "searches.s.objective.metric: retrieval is not"),
        ({"rounds__1__candidates": 5}, "searches.s.rounds.1.candidates: 5 after 4"),
        ({"rounds__1__proposals": 5}, "searches.s.rounds.1.proposals: 5 of 4"),
        ({"sampler": "cmaes"}, "searches.s.rounds.1.proposals: 2 new candidates, but cmaes"),
        ({"rounds__0__proposals": 2}, "searches.s.rounds.0.proposals: all candidates"),
        ({"rounds__1__share": 0.125}, "searches.s.rounds.1.share: 0.125 after 0.25"),
        ({"rounds__0__seeds": [1, 2]}, "searches.s.rounds.1.seeds: 1 after 2"),
        ({"rounds__0__share": 0.01}, "searches.s.rounds.0.share: 0.01 of 32768 tokens"),
        ({"confirmation__seeds": [2, 11]}, "searches.s.confirmation.seeds: 2 is a seed of a round"),
        ({"confirmation__spectra": ["best"]}, "searches.s.confirmation.spectra: unknown spectrum"),
        ({"training": "long"}, "searches.s.training: long trains on 50000 tokens"),
        ({"training": "all"}, "searches.s.rounds: a share of the training needs a number"),
        (
            {"sampler": "cmaes", "objective__metric": ["degradation", "retrieval"]},
            "searches.s.objective.metric: retrieval is not",
        ),
    ],
)
def test_a_mistake_in_a_search_is_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as mistake:
        config_of(**changes)
    assert str(mistake.value).startswith(said), str(mistake.value)


def test_a_search_that_runs_needs_the_library_of_its_sampler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search_checks, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"searches\.s\.sampler: random needs optuna"):
        config_of()


def test_a_search_has_a_name_of_its_own() -> None:
    experiment = {key: CONFIG["searches"]["s"][key] for key in ("dataset", "model", "training")}
    experiment |= {"evaluation": "toy", "spectra": ["geo_10k"], "seeds": [1], "baseline": "geo_10k"}
    with pytest.raises(UserError, match=r"searches\.s: 's' is an experiment too"):
        load({**CONFIG, "experiments": {"s": experiment}})
