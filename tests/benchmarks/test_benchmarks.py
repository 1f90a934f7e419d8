"""The benchmarks run end to end on tiny settings; no test asserts a speed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rope_spectra.data import synthetic
from support.checkout import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import common

import workflow


def benchmark(name: str, output: Path, *options: str | Path) -> dict[str, Any]:
    """The JSON that the benchmark writes; its table is Markdown."""
    command = [
        sys.executable,
        ROOT / "benchmarks" / f"{name}.py",
        "--rounds",
        "1",
        "--output",
        output,
        *options,
    ]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "\n| side " in "\n" + done.stdout
    written = json.loads(output.read_text())
    assert written["benchmark"] == name
    assert {"processor", "cores", "versions"} <= written["machine"].keys()
    return written["results"]


def test_sides_take_turns_and_ratios_are_those_of_each_round(
    capsys: pytest.CaptureFixture[str],
) -> None:
    order: list[str] = []
    speeds = {"plain": iter([1.0, 2.0, 4.0]), "ours": iter([3.0, 4.0, 16.0])}

    def side(name: str) -> dict[str, float]:
        order.append(name)
        return {"rate": next(speeds[name])}

    results = common.compare({name: lambda name=name: side(name) for name in speeds}, rounds=3)
    assert order == ["plain", "ours", "ours", "plain", "plain", "ours"]
    assert [results["ours"][key]["rate"] for key in ("median", "least", "most", "ratio")] == [
        4.0,
        3.0,
        16.0,
        3.0,
    ]
    assert results["plain"]["ratio"] == {"rate": 1.0}
    assert (
        common.table(results, {"rate": "per s"}, {"rate": "x plain"}).splitlines()[-1]
        == "| ours  |     4 |   3.00x |"
    )


def test_rows_of_every_run_follow_one_heading_and_name_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")
    for speed in ("10", "11"):
        common.append_rows(["side", "rate"], [["ours", speed]])
    heading, _, *lines = (tmp_path / "results" / "table.md").read_text().splitlines()
    assert heading.split() == ["|", "machine", "|", "side", "|", "rate", "|"]
    machine = common.machine()
    assert [line.split()[-2] for line in lines] == ["10", "11"]
    assert all(machine["processor"] in line and machine["isa"] in line for line in lines)


def test_a_failed_command_is_no_measurement() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)ended with status 3.*a reason"):
        common.measure_command([sys.executable, "-c", "print('a reason'); exit(3)"])


@pytest.mark.parametrize(
    ("jobs", "seconds"),
    [([], 0), ([(1, 3)], 2), ([(1, 3), (2, 5)], 4), ([(2, 5), (1, 3), (2, 3), (9, 10)], 5)],
    ids=["none", "one", "overlapping", "apart and within"],
)
def test_time_in_which_several_jobs_ran_counts_once(
    jobs: list[tuple[float, float]], seconds: float
) -> None:
    assert workflow.covered(jobs) == seconds


@pytest.mark.slow
def test_tokenization_is_compared_on_the_text_that_is_given(tmp_path: Path) -> None:
    stories = [
        synthetic.story(0, "validation", index).strip() for index in range(20)
    ]  # as they are read
    (tmp_path / "stories.txt").write_text("<|endoftext|>".join(stories), encoding="utf-8")
    results = benchmark(
        "tokenization", tmp_path / "out.json", "--text", tmp_path / "stories.txt", "--repeat", "3"
    )
    assert results["documents"] == 60
    assert results["megabytes"] == pytest.approx(
        3 * sum(len(story.encode()) for story in stories) / 1e6
    )
    assert len(results["sides"]) == 3
    assert all(side["median"]["megabytes_per_s"] > 0 for side in results["sides"].values())


@pytest.mark.slow
def test_the_workflow_is_compared_with_a_bare_one(tmp_path: Path) -> None:
    results = benchmark("workflow", tmp_path / "out.json", "--runs", "25", "--only", "dry_run")
    assert results["dry_run"]["runs"] > 25
    assert results["dry_run"]["sides"].keys() == {"bare", "ours"}


@pytest.mark.slow
def test_the_starts_of_jobs_are_compared_with_that_of_torch(tmp_path: Path) -> None:
    results = benchmark("workflow", tmp_path / "out.json", "--rounds", "1", "--only", "starts")
    assert results.keys() == {"starts"}
    assert results["starts"].keys() == {"import torch", "train", "evaluate"}
