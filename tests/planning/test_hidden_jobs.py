"""Snakemake plans what is missing behind a file that others take as `ancient`."""

import subprocess
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
    shell: "echo {params.text} > {output}; {config[then]}"

rule train:
    input: ancient("options.txt")
    output: "run.txt"
    shell: "cp {input} {output}"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose options are made and whose run is not."""
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    run(tmp_path, "options.txt", configuration=("text=old",))
    return tmp_path


def run(
    project: Path, *arguments: str, configuration: tuple[str, ...], ok: bool = True
) -> subprocess.CompletedProcess[str]:
    options = ("--cores", "1", "--rerun-incomplete", "--config", "then=true", *configuration)
    return snakemake(project, *arguments, *options, ok=ok)


def plan(project: Path, *configuration: str) -> dict[str, int]:
    return job_counts(run(project, "-n", configuration=configuration).stdout)


def test_a_changed_option_hides_no_missing_run(project: Path) -> None:
    assert plan(project, "text=new", "see=1") == {"all": 1, "options": 1, "train": 1}
    # If this fails, Snakemake has been repaired, and the module is no longer needed.
    assert plan(project, "text=new") == {"options": 1}


def test_a_changed_option_makes_no_finished_run_again(project: Path) -> None:
    run(project, configuration=("text=old", "see=1"))
    assert plan(project, "text=new", "see=1") == {"options": 1}


def test_a_kill_while_options_are_written_hides_no_missing_run(project: Path) -> None:
    (project / "options.txt").unlink()
    # Snakemake notes that a job has begun just after it has.
    kill = "then='sleep 2; kill -9 $PPID'"
    killed = run(project, "options.txt", configuration=("text=old", kill), ok=False)
    assert killed.returncode < 0
    assert (project / "options.txt").exists()
    assert plan(project, "text=old", "see=1") == {"all": 1, "options": 1, "train": 1}
