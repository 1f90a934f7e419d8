"""What a call of Snakemake was asked to make again, and whether its targets are there."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.settings.types import DAGSettings

from rope_spectra.planning import call
from rope_spectra.runtime.errors import UserError
from support.checkout import snakemake

SNAKEFILE = """
from rope_spectra.planning import call
from rope_spectra.runtime.errors import or_exit

rule all:
    input: "a.txt", "b.txt"

rule both:
    output: "a.txt", "b.txt"
    shell: "touch {output}"

onsuccess:
    Path("b.txt").unlink()
    or_exit(call.check_targets, workflow)
"""


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, []),
        ({"targets": {"results/a.csv"}}, []),
        ({"forcerun": {"train", "results/a.csv"}}, ["results/a.csv", "train"]),
        ({"forcetargets": True, "targets": {"results/a.csv"}}, ["results/a.csv"]),
        ({"forceall": True, "forcerun": {"train"}}, ["*"]),
        ({"force_incomplete": True}, []),
    ],
)
def test_what_is_forced(settings: dict, expected: list[str]) -> None:
    assert json.loads(call.forced(DAGSettings(**settings))) == expected


def test_commands_that_run_no_jobs_force_nothing() -> None:
    assert json.loads(call.forced(None)) == []


def workflow(*targets: str, storage: str | None = None, **asked: object) -> SimpleNamespace:
    dag = SimpleNamespace(derived_targetfiles=set(targets), targetjobs=[], targetrules=[])
    return SimpleNamespace(
        dag=dag,
        dag_settings=DAGSettings(**asked),
        storage_settings=SimpleNamespace(default_storage_provider=storage),
    )


def test_targets_that_are_there_are_fine(tmp_path: Path) -> None:
    call.check_targets(workflow(str(tmp_path)))


def test_a_missing_target_is_named_with_the_remedy(tmp_path: Path) -> None:
    targets = [str(tmp_path / name) for name in ("b.csv", "a.csv", "c.csv")]
    with pytest.raises(UserError, match=r"a\.csv and 2 more: .*same command again") as caught:
        call.check_targets(workflow(*targets))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["until", "omit_from"])
def test_a_part_of_the_way_promises_no_targets(part: str) -> None:
    call.check_targets(workflow("missing.csv", **{part: {"train"}}))


def test_an_object_storage_is_not_looked_at() -> None:
    call.check_targets(workflow("missing.csv", storage="s3"))


@pytest.mark.parametrize("target", ["all", "both"])
def test_a_lost_target_of_a_real_call_fails_it(tmp_path: Path, target: str) -> None:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    done = snakemake(tmp_path, target, "--cores", "1", ok=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("b.txt: asked for and not there")
    assert "Traceback" not in done.stderr
