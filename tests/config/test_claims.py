"""The retrieval endpoint and the learning rates of an experiment in config.yaml and when frozen."""

from typing import Any

import pytest

from rope_spectra.config import frozen
from rope_spectra.config.load import load
from support.configs import GOOD, REMOVED, edited, mistakes

PROBED = edited("evaluation/tiny/retrieval", {}, edited("experiments/tokens", REMOVED))
CLAIMING = edited("experiments/demo/primary", {"length": 64}, PROBED)
ENDPOINT = edited("experiments/demo/retrieval", {"length": 64}, CLAIMING)
FASTER = GOOD["training"]["tiny"] | {"learning_rate": 6.0e-3}
RATES = edited(
    "experiments/faster",
    GOOD["experiments"]["demo"] | {"training": "faster"},
    edited("experiments/demo/rates", ["faster"], edited("training/faster", FASTER, CLAIMING)),
)


def test_without_the_endpoint_the_design_is_what_it_was() -> None:
    assert "retrieval_endpoint" not in frozen.design(load(CLAIMING), "demo").content()
    content = frozen.design(load(ENDPOINT), "demo").content()
    assert content["retrieval_endpoint"] == {"length": 64, "tasks": None}


def test_the_rates_of_an_experiment_are_built_and_change_no_design() -> None:
    config = load(RATES)
    assert (config.run, config.built) == (["demo"], ["demo", "faster"])
    assert frozen.design(config, "demo") == frozen.design(load(CLAIMING), "demo")


@pytest.mark.parametrize(
    ("base", "path", "value", "key", "wrong", "remedy"),
    [
        (ENDPOINT, "experiments/demo/primary", REMOVED, "retrieval", "beside", "give primary"),
        (ENDPOINT, "experiments/demo/retrieval/length", 128, "retrieval.length", "128", "add it"),
        (ENDPOINT, "evaluation/tiny/retrieval", REMOVED, "retrieval", "not measure", "give eval"),
        (
            ENDPOINT,
            "experiments/demo/retrieval/tasks",
            ["key"],
            "retrieval.tasks",
            "has no tasks",
            "leave it out",
        ),
        (RATES, "experiments/demo/rates", ["fasterr"], "rates", "'fasterr'", "'faster'"),
        (RATES, "experiments/demo/primary", REMOVED, "rates", "primary endpoint", "give primary"),
        (RATES, "training/faster/learning_rate", 3.0e-3, "rates", "rate of demo", "leave one out"),
        (RATES, "training/faster/tokens", 1024, "rates", "tokens 1024, not 2048", "rate alone"),
        (RATES, "experiments/faster/dataset", "web", "rates", "another dataset", "give it toy"),
        (RATES, "experiments/faster/spectra", ["geo", "own"], "rates", "no two", "same ones"),
        (
            edited("evaluation/short", {"lengths": [32]}, RATES),
            "experiments/faster/evaluation",
            "short",
            "rates",
            "not evaluated at 64",
            "add it to evaluation.short.lengths",
        ),
        (
            edited(
                "evaluation/firsts", {"lengths": [32, 64], "protocols": ["first_chunks"]}, RATES
            ),
            "experiments/faster/evaluation",
            "firsts",
            "rates",
            "protocol full",
            "add it to evaluation.firsts.protocols",
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_key_and_remedy(
    base: dict[str, Any], path: str, value: Any, key: str, wrong: str, remedy: str
) -> None:
    (line,) = mistakes(edited(path, value, base))
    assert line.startswith(f"experiments.demo.{key}: ")
    assert wrong in line
    assert remedy in line.split("; ")[-1]


def test_an_experiment_that_is_not_run_is_not_checked_for_its_endpoint() -> None:
    elsewhere = edited("experiments/demo/retrieval/length", 128, ENDPOINT)
    load(edited("run", ["other"], elsewhere))
