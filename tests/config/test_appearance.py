"""Labels and places of spectra: equal in all experiments, and no part of what is trained."""

import copy

import pytest

from rope_spectra.config import frozen
from rope_spectra.config.appearance import COLORS, Appearance, appearance, places
from rope_spectra.config.load import load
from support.configs import GOOD, SHIPPED, edited, mistakes

LABEL = "Geometric, θ = 500 000"
LABELLED = edited("spectra/geo/label", LABEL)


def test_a_label_changes_nothing_that_jobs_of_training_or_tables_read() -> None:
    plain, labelled = load(GOOD), load(LABELLED)
    for experiment in plain.experiments:
        assert frozen.design(labelled, experiment) == frozen.design(plain, experiment)
        for run in frozen.runs(plain, experiment):
            settings = frozen.run_settings(plain, experiment, *run)
            assert frozen.run_settings(labelled, experiment, *run) == settings
            assert "label" not in settings.content()["spectrum"]


def test_a_label_stands_for_the_name_under_a_remap_too() -> None:
    shown = appearance(load(LABELLED), "demo")
    assert [shown.shown(arm) for arm in ("geo", "geo+yarn@8", "poly", "poly+yarn")] == [
        LABEL,
        f"{LABEL} + yarn@8",
        "poly",
        "poly+yarn",
    ]
    assert Appearance().shown("geo+yarn") == "geo+yarn"


@pytest.mark.parametrize("label", ["", "  ", "two\nlines", "a\x1b[2J", "x" * 61])
def test_a_label_is_a_short_line(label: str) -> None:
    [mistake] = mistakes(edited("spectra/geo/label", label))
    assert "spectra.geo.label: " in mistake
    assert "in one line" in mistake


@pytest.mark.parametrize("owner", ["poly", "hybrid"])
def test_a_label_stands_for_one_spectrum(owner: str) -> None:
    """Not for another one's label or name."""
    both = edited("spectra/hybrid/label", "mine", LABELLED)
    wanted = {"poly": "poly", "hybrid": "mine"}[owner]
    assert mistakes(edited("spectra/geo/label", wanted, both)) == [
        f"spectra.{'geo' if owner == 'poly' else 'hybrid'}.label: {wanted!r} stands for"
        f" {'poly' if owner == 'poly' else 'geo'}; choose another"
    ]


def test_a_spectrum_has_one_place_in_all_experiments_and_shares_it_with_no_other() -> None:
    config = load(SHIPPED)
    of_all = places(config)
    assert len(set(of_all.values())) == len(of_all)
    for experiment in config.experiments:
        own = appearance(config, experiment).places
        assert own == {arm: of_all[arm] for arm in own}
    assert of_all["geo_500k"] == 0


def test_spectra_that_are_compared_differ_in_color_while_there_are_enough() -> None:
    config = load(SHIPPED)
    for name, experiment in config.experiments.items():
        arms = appearance(config, name).places
        colors = {place % COLORS for place in arms.values()}
        assert len(colors) == min(len(arms), COLORS), (name, experiment.spectra)


def test_places_depend_on_no_order_of_keys_and_hardly_on_what_is_added() -> None:
    """Snakemake puts what --configfile and --config give before the rest."""
    before = places(load(SHIPPED))
    turned = SHIPPED | {"spectra": dict(reversed(SHIPPED["spectra"].items()))}
    assert places(load(turned)) == before
    longer = copy.deepcopy(SHIPPED)
    longer["spectra"] = {"a_new_one": {"family": "nope"}, **longer["spectra"]}
    own = {"spectra": ["geo_500k", "a_new_one", "hybrid_a0.2_t100k"]}
    longer["experiments"]["own"] = longer["experiments"]["demo"] | own
    after = places(load(longer))
    main = ["geo_500k", "hybrid_a0.2_t100k", "geo_10k", "geo_100k", "geo_L"]
    assert [after[name] for name in main] == [before[name] for name in main]
    assert len({after[name] % COLORS for name in own["spectra"]}) == 3
