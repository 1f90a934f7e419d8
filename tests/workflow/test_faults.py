"""Steps that meet a fault at each of their renames and fsyncs, and are called again afterwards."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from rope_spectra.config import appearance, frozen
from rope_spectra.config.load import load
from support import faults
from support.checkout import fresh_checkout, snakemake
from support.small_experiment import EXPERIMENT, freeze

pytestmark = pytest.mark.slow

CONFIG = EXPERIMENT | {
    "experiments": {"small": EXPERIMENT["experiments"]["small"] | {"seeds": [1], "noise_floor": 1}},
    "datasets": {
        "toy": {
            **{"source": "synthetic", "train_tokens": 20_000, "validation_tokens": 3_000},
            "tokenizer_check": None,
            "tokenizer": {"train": 300_000, "vocab_size": 512},
        }
    },
    "models": {"toy": EXPERIMENT["models"]["toy"] | {"vocab_size": 512}},
    "training": {
        "toy": EXPERIMENT["training"]["toy"]
        | {"seq_len": 64, "tokens": 10_240, "checkpoint_steps": 5, "retrieval_share": 0.5}
    },
    "evaluation": {"toy": {"lengths": [64, 128], "chunks": 2, "retrieval": {"trials": 10}}},
}
TARGETS = ["all", "results/small/geo/seed1/hf"]
STEPS = [
    *(
        "run_config",
        "tokenizer",
        "tokenize_train",
        "memmap_cache",
        "sentence",
        "train",
        "evaluate",
        "export",
    ),
    *("aggregate", "noise_floor", "retrieval", "figures", "interactive", "page", "summary"),
]
# These look into the store first.
ADOPTING = ["tokenizer", "train", "evaluate"]


class Made:
    """An experiment made step by step, with the folder before the first job of each rule."""

    def __init__(self, folder: Path, jobs: list[faults.Job]) -> None:
        self.folder = folder
        self.jobs: dict[str, faults.Job] = {}
        work = folder / "work"
        config = load(CONFIG)
        freeze(work / "results/small/experiment.json", frozen.design(config, "small"))
        freeze(work / "results/small/appearance.json", appearance.appearance(config, "small"))
        for job in jobs:
            if job.rule not in self.jobs:
                self.jobs[job.rule] = job
                shutil.copytree(work, self.before(job.rule))
            status, messages = faults.run(job, work)
            assert status == 0, messages

    def before(self, rule: str) -> Path:
        return self.folder / f"before-{rule}"

    def again(self, before: Path) -> Path:
        """The folder to work in, as that one was."""
        work = self.folder / "work"
        shutil.rmtree(work)
        shutil.copytree(before, work)
        return work


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("faults")
    reason = faults.why_no_faults(folder)
    if reason:
        pytest.skip(reason)
    project = fresh_checkout(folder / "project")
    (project / "config.yaml").write_text(json.dumps(CONFIG))
    dry_run = snakemake(project, "-n", "-p", *TARGETS).stdout
    return Made(folder, list(faults.jobs(dry_run)))


def results(folder: Path) -> dict[str, object]:
    """What a job leaves, without times and speeds."""
    found: dict[str, object] = {}
    for path in sorted((folder / "results").rglob("*")):
        name = str(path.relative_to(folder / "results"))
        if name.startswith(("logs", "tensorboard")) or path.is_dir():
            continue
        if path.name == "run.json":
            found[name] = json.loads(path.read_bytes())["identity"]
        elif path.name == "train.csv":
            found[name] = pd.read_csv(path).drop(columns="tokens_per_s").to_csv()
        elif path.suffix == ".safetensors":
            # Its header holds two keys of metadata in an order that changes.
            found[name] = path.read_bytes().partition(b"}}")[2]
        elif path.name in ("declaration.json", "tables.json"):
            found[name] = re.sub('"(time|sealed|seal)": ".*?"', "", path.read_text())
        else:
            found[name] = path.read_bytes()
    return found


def test_every_rule_that_runs_a_step_is_among_them(made: Made) -> None:
    same_steps = {"data_config", "run_options", "evaluation_config", "tokenize_val"}
    assert made.jobs.keys() == same_steps | set(STEPS)


@pytest.mark.parametrize("rule", STEPS)
def test_a_step_goes_on_after_a_fault_at_any_rename_or_fsync(made: Made, rule: str) -> None:
    check_every_fault(made, made.jobs[rule], made.before(rule))


@pytest.mark.parametrize("rule", ADOPTING)
def test_an_adoption_goes_on_after_a_fault_at_any_rename_or_fsync(made: Made, rule: str) -> None:
    job = made.jobs[rule]
    work = made.again(made.before(rule))
    faults.run(job, work)
    faults.remove_outputs(job, work)
    before = made.before(f"{rule}-kept")
    shutil.copytree(work, before)
    check_every_fault(made, job, before)


def check_every_fault(made: Made, job: faults.Job, before: Path) -> None:
    """Meet each fault at each call, and after a failure do what Snakemake does: call again."""
    work = made.again(before)
    calls = faults.record(job, work)
    assert calls
    expected = results(work)
    for number, call in enumerate(calls):
        # Drawing takes seconds, so each of its calls meets one of the faults, in turn.
        is_slow = job.rule == "figures"
        for fault in [faults.FAULTS[number % 3]] if is_slow else faults.FAULTS:
            work = made.again(before)
            status, messages = faults.run_with_fault(job, work, call, fault)
            where = f"{fault} at {call}: {messages}"
            check_end(status, messages, call, fault, where)
            if status:
                faults.remove_outputs(job, work)
                status, messages = faults.run(job, work)
                assert status == 0, f"after {where}{messages}"
            found = results(work)
            different = {name for name, _ in expected.items() ^ found.items()}
            if "not kept" in messages:
                different = {name for name in different if not name.startswith(".kept/")}
            assert not different, f"after {where}{messages}"
    print(f"{job.rule}: {len(calls)} calls")


def check_end(status: int, messages: str, call: faults.Call, fault: str, where: str) -> None:
    """A kill, or one line and exit status 1.

    A heartbeat that cannot be written stops nobody, and neither does the store: a link that is
    refused becomes a copy, and what cannot be kept is just not there for other experiments.
    """
    if "SIGKILL" in fault:
        assert status == -9, where
    elif ".progress.json" in call.text or ".kept/" in call.text:
        assert status == 0, where
    else:
        assert status == 1, where
        assert "Traceback" not in messages, where
        assert len([line for line in messages.splitlines() if "error: " in line]) == 1, where
