"""Targets that no configuration can mean, and runs that no experiment has."""

import asyncio
from pathlib import Path

import pytest
import yaml

from rope_spectra.config.load import load
from rope_spectra.config.sections import Config
from rope_spectra.planning import targets
from rope_spectra.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
RUN = "results/demo/geo_500k/seed42"


@pytest.fixture(scope="module")
def config() -> Config:
    return load(yaml.safe_load((ROOT / "config.yaml").read_text()), {})


@pytest.mark.parametrize(
    ("target", "mistake", "remedy"),
    [
        ("demo", "an experiment is no target", "--config run=demo"),
        ("results/demo", "an experiment is no target", "--config run=demo"),
        ("results/search_small", "an experiment is no target", "--config run=search_small"),
        ("results/dmo/summary.csv", "unknown experiment 'dmo'", "'demo'"),
        ("results/unheard/figures/spectra.svg", "unknown experiment 'unheard'", "--configfile"),
        ("results/demo/geo_50k/seed42/eval.csv", "unknown spectrum 'geo_50k'", "'geo_500k'"),
        ("results/demo/unheard/seed42/hf", "unknown spectrum 'unheard'", "--configfile"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_target(
    config: Config, target: str, mistake: str, remedy: str
) -> None:
    with pytest.raises(UserError) as caught:
        targets.check(config, ["results/summary.csv", target])
    assert str(caught.value).startswith(f"{target}: {mistake}; ")
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "target",
    [
        "results/summary.md",
        "results/data/unheard/train.npy",
        "results/demo/figures/column/ppl_by_length.pdf",
        "results/search_small/summary.md",
        "results/search_small/round0/a_candidate/seed42/eval.csv",
        f"{RUN}/eval.csv",
        f"{RUN}-repeat1/eval.csv",
        "mine/unheard/seed1/eval.csv",
        "../elsewhere",
    ],
)
def test_what_may_be_there_is_left_to_snakemake(config: Config, target: str) -> None:
    targets.check(config, [target])


@pytest.mark.parametrize("run", ["geo_500k/seed99", "geo_10k/seed42", "geo_500k/seed42-repeat1"])
def test_a_run_that_no_table_will_have_is_remarked_on(config: Config, run: str) -> None:
    [line] = targets.remarks(config, [f"{RUN}/eval.csv", f"results/demo/{run}/eval.csv"])
    assert line.startswith(f"results/demo/{run}/eval.csv: ")
    assert "no table" in line


def test_the_last_configuration_that_was_read_judges(config: Config) -> None:
    """Snakemake reads the Snakefile once, a test or a notebook several times."""
    begun = []

    class Plan:
        def __init__(self, *targets: str) -> None:
            self.targetfiles = set(targets)

        async def init(self, progress: bool) -> None:
            begun.append((self, progress))

    targets.see(Plan, config.model_copy(update={"experiments": {}}))
    targets.see(Plan, config)
    good = Plan(f"{RUN}/eval.csv")
    asyncio.run(good.init(progress=True))
    with pytest.raises(SystemExit, match="unknown experiment 'dmo'"):
        asyncio.run(Plan("results/dmo/summary.csv").init(progress=True))
    assert begun == [(good, True)]
