"""Snakemake plans what is missing behind a file that others take as `ancient`."""

from pathlib import Path

import pytest

from support.checkout import job_counts, snakemake

SNAKEFILE = """
from snakemake.dag import DAG
from rope_spectra.planning import hidden_jobs

if config.get("see"):
    hidden_jobs.see(DAG)

rule all:
    input: "run.txt"

rule options:
    output: "options.txt"
    params: text=config["text"]
    shell: "echo {params.text} > {output}"

rule train:
    input: ancient("options.txt")
    output: "run.txt"
    shell: "cp {input} {output}"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose options are made and whose run is not."""
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    snakemake(tmp_path, "options.txt", "--cores", "1", "--config", "text=old")
    return tmp_path


def plan(project: Path, *configuration: str) -> dict[str, int]:
    done = snakemake(project, "--cores", "1", "-n", "--config", *configuration)
    return job_counts(done.stdout)


def test_a_changed_option_hides_no_missing_run(project: Path) -> None:
    assert plan(project, "text=new", "see=1") == {"all": 1, "options": 1, "train": 1}
    # If this fails, Snakemake has been repaired, and the module is no longer needed.
    assert plan(project, "text=new") == {"options": 1}


def test_a_changed_option_makes_no_finished_run_again(project: Path) -> None:
    snakemake(project, "--cores", "1", "--config", "text=old", "see=1")
    assert plan(project, "text=new", "see=1") == {"options": 1}
