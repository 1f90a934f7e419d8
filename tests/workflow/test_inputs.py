"""Inputs that Snakemake hands over: each has a plan, or is one line and no traceback."""

from pathlib import Path

import pytest

from support.checkout import snakemake

SHORT = """
run: [short]
experiments:
  short: {dataset: short, model: tiny, training: quick, evaluation: quick,
          spectra: [geo_500k], seeds: [1], baseline: geo_500k}
datasets:
  short: {source: text, train: a.txt, validation: b.txt, tokenizer: {train: 1000, vocab_size: 400}}
"""


@pytest.fixture(scope="module")
def project(fresh: Path) -> Path:
    """A checkout with texts of which the second is too short for a length of 256."""
    (fresh / "a.txt").write_text("once upon a time " * 1000)
    (fresh / "b.txt").write_text("the end")
    (fresh / "short.yaml").write_text(SHORT)
    (fresh / "octal.yaml").write_text("\nexperiments: {quick: {seeds: [010]}}\n")
    return fresh


@pytest.mark.parametrize(
    ("typed", "planned"),
    [
        ("training={quick: {learning_rate: 1e-3, tokens: 30_000}}", "seed1/model.safetensors"),
        ("experiments={quick: {seeds: [007, 8]}}", "seed7/model.safetensors"),
    ],
)
def test_what_is_typed_is_planned(project: Path, typed: str, planned: str) -> None:
    done = snakemake(project, "-n", "--configfile", "quick.yaml", "--config", typed)
    assert f"results/quick/geo_500k/{planned}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("quick.yaml", "--config", "training={quick: {learning_rate: fast}}"),
            "training.quick.learning_rate: 'fast' is text, not a number",
        ),
        (("quick.yaml", "octal.yaml"), "octal.yaml:2: YAML reads 010 as 8 (octal); write 10,"),
        (
            ("quick.yaml", "short.yaml"),
            "datasets.short.validation: the text has 7 bytes; the longest length of"
            " evaluation.quick needs 257 tokens",
        ),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(
    project: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = snakemake(project, "-n", "--configfile", *arguments, ok=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert sum(said in line for line in done.stderr.splitlines()) == 1


def test_lengths_none_of_which_is_beyond_training_are_said(project: Path) -> None:
    typed = "evaluation={quick: {lengths: [64]}}"
    done = snakemake(project, "-n", "--configfile", "quick.yaml", "--config", typed)
    assert "evaluation.quick.lengths: none is beyond the training length 64" in done.stderr
