"""The workflow on a real Slurm: `make test-slurm` installs one and runs this.

A training nears its time limit, its retry is cancelled, and the attempt after that resumes from the
state that the two have saved.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import psutil
import pytest

from support.checkout import ROOT, SNAKEMAKE, snakemake

pytestmark = pytest.mark.slow
SCRIPT = ROOT / "tests/slurm/start.sh"
LONG = "results/long/geo_500k/seed1"
# In the log of a training: it has trained a step.
TRAINED = r" step (\d+)/"
# It has resumed at a saved step and trained one more.
RESUMED = r"resuming at step (\d+)(?=.* step \d+/)"

CONFIG = """
run: [short, long]
experiments:
  short:
    {dataset: text, model: tiny, training: short, evaluation: short,
     spectra: [geo_500k, hybrid_a0.2_t100k], seeds: [1], baseline: geo_500k}
  long:
    {dataset: text, model: long, training: long, evaluation: short,
     spectra: [geo_500k], seeds: [1], baseline: geo_500k}
  shared:
    {dataset: text, model: tiny, training: shared, evaluation: short,
     spectra: [geo_500k, hybrid_a0.2_t100k], seeds: [2, 3], baseline: geo_500k}
datasets:
  text: {source: synthetic, train_tokens: 410_000, validation_tokens: 3_000,
         tokenizer: {train: 50_000, vocab_size: 300}}
models:
  long: {hidden_size: 128, num_hidden_layers: 4, num_attention_heads: 4, head_dim: 32,
         intermediate_size: 384, vocab_size: 300}
training:
  short: &short {tokens: 8_192, seq_len: 64, batch_size: 16, learning_rate: 3.0e-3,
                 precision: fp32, compile: false, log_every: 1}
  long: {<<: *short, tokens: 400_000, batch_size: 8}
  shared: {<<: *short, runs_per_gpu: 4}
evaluation:
  short: {lengths: [64, 128], chunks: 4}
"""
# As a user calls it, but impatient: Slurm is soon asked for states, and a first attempt has a
# minute. Slurm checks its limits every 30 s and signals at the last check that is early enough: 25
# to 55 s after the start.
IMPATIENT = [
    *(SNAKEMAKE, "--workflow-profile", "profiles/slurm", "--configfile", "slurm.yaml"),
    *("--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "10"),
    *("--set-threads", "train=1", "evaluate=1"),
]
COMMAND = [
    *IMPATIENT,
    *(
        "--set-resources",
        "train:runtime=1 if attempt == 1 else 30",
        "train:slurm_extra='--signal=TERM@5'",
    ),
]


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    if (
        os.getuid()
        or not shutil.which("slurmctld")
        or not find_spec("snakemake_executor_plugin_slurm")
    ):
        pytest.skip(
            "needs root, slurm-wlm, munge and the Slurm executor; `make test-slurm` installs them"
        )
    started = subprocess.run([SCRIPT, "start"], capture_output=True, text=True, timeout=120)
    if "is of another Slurm" in started.stderr:
        pytest.skip("this machine has a Slurm of its own")
    assert started.returncode == 0, started.stderr
    yield
    subprocess.run([SCRIPT, "stop"], check=True, timeout=60)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("workflow", "profiles", "envs"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "slurm.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def resumed_at(slurm: None, project: Path) -> list[int]:
    """The whole workflow, its long training interrupted twice; the steps at which it went on."""
    with (project / "output").open("w") as output:
        snakemake = subprocess.Popen(COMMAND, cwd=project, stdout=output, stderr=subprocess.STDOUT)
    try:
        step_in_log(project, snakemake, TRAINED)
        suspended(project).wait(timeout=120)
        first = step_in_log(project, snakemake, RESUMED)
        suspended(project)
        subprocess.run(["scancel", job_of_the_long_training()], check=True)
        second = step_in_log(project, snakemake, RESUMED, after=first)
        snakemake.wait(timeout=300)
    finally:
        snakemake.terminate()
    assert snakemake.returncode == 0, (project / "output").read_text()[-4000:]
    return [first, second]


def suspended(project: Path) -> psutil.Process:
    """The process of the long training, stopped so that it is not done before Slurm's signal.

    The signal wakes it.
    """
    (process,) = (
        process
        for process in psutil.process_iter(["cmdline", "cwd"])
        if process.info["cwd"] == str(project)
        and {"rope_spectra.train", LONG} <= set(process.info["cmdline"])
    )
    process.suspend()
    return process


def step_in_log(project: Path, snakemake: subprocess.Popen, pattern: str, after: int = 0) -> int:
    """Wait until the log of the long training shows a step after `after`; returns that step.

    The first group of the pattern is the number of the step.
    """
    log = project / "results/logs/train/long/geo_500k/seed1.log"
    for _ in range(3000):
        text = log.read_text() if log.exists() else ""
        if (found := re.search(pattern, text, flags=re.DOTALL)) and int(found[1]) > after:
            return int(found[1])
        assert snakemake.poll() is None, (project / "output").read_text()[-4000:]
        time.sleep(0.1)
    raise AssertionError(f"the training does not get on: {text}")


def jobs() -> pd.DataFrame:
    """Slurm's jobs with their states, finished ones included."""
    columns = ["JobID", "State", "tres-per-job", "TimeLimit", "Comment"]
    asked = ",".join(f"{column}:|" for column in columns)
    listing = subprocess.check_output(
        ["squeue", "--states=all", "--noheader", f"--Format={asked}"], text=True
    )
    rows = [line.rstrip("|").split("|") for line in listing.splitlines()]
    return pd.DataFrame(rows, columns=["id", "state", "gpus", "limit", "rule"])


def job_of_the_long_training() -> str:
    table = jobs()
    (job,) = table.loc[
        (table["state"] == "RUNNING") & table["rule"].str.contains("rule_train_wildcards_long"),
        "id",
    ]
    return job


def test_a_training_goes_on_after_its_time_limit_and_after_scancel(
    resumed_at: list[int], project: Path
) -> None:
    after_limit, after_cancel = resumed_at
    assert 0 < after_limit < after_cancel
    steps = pd.read_csv(project / LONG / "train.csv")["step"]
    assert list(steps) == list(range(400_000 // 64 // 8))
    states = (
        jobs()
        .loc[lambda table: table["rule"].str.contains("rule_train_wildcards_long")]
        .sort_values("id", key=pd.to_numeric)
    )
    assert list(states["limit"]) == ["1:00", "30:00", "30:00"]
    assert states["state"].iloc[1:].tolist() == ["CANCELLED", "COMPLETED"]


def test_the_whole_chain_ran_on_slurm(resumed_at: list[int], project: Path) -> None:
    summary = pd.read_csv(project / "results/summary.csv")
    assert set(summary["experiment"]) == {"short", "long"}
    rules = jobs()["rule"].str.extract(r"rule_(\w+?)_wildcards")[0]
    assert set(rules) == {
        "tokenizer",
        "tokenize_train",
        "tokenize_val",
        "memmap_cache",
        "train",
        "evaluate",
    }


def test_gpu_rules_alone_ask_for_a_gpu(resumed_at: list[int]) -> None:
    table = jobs()
    on_gpu = table["rule"].str.contains("rule_(?:train|evaluate)_wildcards_(?:short|long)")
    assert set(table.loc[on_gpu, "gpus"]) == {"gres:gpu:1"}
    assert not set(table.loc[~on_gpu, "gpus"]) & {"gres:gpu:1"}


@pytest.mark.usefixtures("slurm")
def test_a_site_gets_arrays_of_jobs_with_its_kind_of_node_and_shares_of_a_gpu(
    project: Path,
) -> None:
    asked = [
        f"{rule}:{resource}"
        for rule in ("train", "evaluate")
        for resource in ("gpu=0", "gres=shard:1", "constraint=h100")
    ]
    # An array has the jobs that are ready at once: so all trainings are.
    ready = ("--until", "run_config", "run_options", "memmap_cache")
    here = ("--cores", "2", "--configfile", "slurm.yaml", "--config", "run=shared")
    snakemake(project, *here, *ready)
    arrays = ("--config", "run=shared", "--slurm-array-jobs", "train,evaluate")
    done = subprocess.run(
        [*IMPATIENT, *arrays, "--set-resources", *asked],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    columns = ("JobArrayID", "tres-per-node", "Feature", "Name", "Comment")
    listing = subprocess.check_output(
        [
            *("squeue", "--states=all", "--noheader"),
            "--Format=" + ",".join(f"{column}:|" for column in columns),
        ],
        text=True,
    )
    rows = [line.split("|")[:5] for line in listing.splitlines()]
    train = [row for row in rows if row[4].startswith("rule_train_wildcards_shared")]
    assert sorted(row[0].partition("_")[2] for row in train) == ["1", "2", "3", "4"]
    assert len({row[0].partition("_")[0] for row in train}) == 1
    assert {tuple(row[1:3]) for row in train} == {("gres:shard:1", "h100")}
    assert all(row[3].startswith("rope-spectra_") for row in train)
    assert (project / "results/shared/summary.md").exists()


def test_a_machine_without_sbatch_is_told_so_in_one_line(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not find_spec("snakemake_executor_plugin_slurm"):
        pytest.skip("needs the Slurm executor; `make test-slurm` installs it")
    for command in ("bash", "env", "which"):
        (tmp_path / command).symlink_to(shutil.which(command))
    monkeypatch.setenv("PATH", str(tmp_path))
    command = [SNAKEMAKE, "results/data/text/tokenizer/tokenizer.json", *COMMAND[1:]]
    done = subprocess.run(
        [*command, "--forceall"], cwd=project, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "executor: slurm needs sbatch, which is not on this machine;"
    )
    assert "Traceback" not in done.stderr
