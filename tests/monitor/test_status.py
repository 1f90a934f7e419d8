"""Heartbeats and the view of them: every state, and a real Snakemake run watched from outside."""

import argparse
import contextlib
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from rope_spectra import status
from rope_spectra.artifacts import layout
from rope_spectra.config import files as config_files
from rope_spectra.config.load import load
from rope_spectra.monitor import gpu_use, view
from rope_spectra.monitor.facts import Status, look
from rope_spectra.monitor.gpu_use import Gpu
from rope_spectra.monitor.state import Part
from rope_spectra.runtime import cli, heartbeat, progress
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.heartbeat import Heartbeat, Position
from support import searched, small_experiment
from support.checkout import ROOT, SNAKEMAKE

RUN = {"experiment": "demo", "spectrum": "geo", "seed": 1}
STEPS = {
    "label": "step",
    "done": 300,
    "total": 762,
    "unit": "steps",
    "rate": 16.0,
    "left_s": 29.0,
    "note": "loss 3.21",
}
HERE, MINUTE = socket.gethostname(), 60.0

WATCHED = """
run: [good, bad, long]
experiments:
  good: &good
    {dataset: small, model: tiny, training: good, evaluation: good,
     spectra: [geo_500k], seeds: [1], baseline: geo_500k}
  bad: {<<: *good, training: bad}
  long: {<<: *good, training: long}
datasets:
  small:
    {source: synthetic, train_tokens: 20_000, validation_tokens: 3_000,
     tokenizer: {train: 50_000, vocab_size: 300}}
training:
  good: &quick
    {tokens: 8_192, seq_len: 64, batch_size: 8, learning_rate: 3.0e-3, precision: fp32,
     compile: false, log_every: 1}
  bad: {<<: *quick, learning_rate: 1.0e+30, grad_clip: 1.0e+30}
  long: {<<: *quick, tokens: 20_000, seq_len: 16, batch_size: 1}
evaluation:
  good: {lengths: [64, 256], chunks: 2}
"""


def touch(results: Path, *paths: str, **wildcards: Any) -> None:
    for path in paths:
        file = layout.within(results, path.format(**RUN | wildcards))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")


def leave_heartbeat(results: Path, job: str, age: float = 1.0, **facts: Any) -> None:
    """A heartbeat as a job of that name would have left it `age` seconds ago."""
    log = layout.within(results, layout.log(job))
    log.parent.mkdir(parents=True, exist_ok=True)
    now = time.time() - age
    beat = {
        "state": "running",
        "error": None,
        "pid": os.getpid(),
        "host": HERE,
        "started": now,
        "updated": now,
        "device": None,
    }
    heartbeat.path(log).write_text(json.dumps(beat | {"step": "train"} | facts))


def run_of(results: Path) -> Part:
    """The part of the one run in `results`."""
    touch(results, layout.RUN_CONFIG)
    (experiment,) = look(results, None).experiments
    return next(part for part in experiment.parts if part.kind == "run")


def text_of(results: Path) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(view.screen(look(results, None)))
    return console.export_text()


def gone_process() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_without_heartbeats_files_alone_tell_what_is_done(tmp_path: Path) -> None:
    assert (run_of(tmp_path).state, run_of(tmp_path).rule) == ("waiting", "train")
    touch(tmp_path, layout.RUN, layout.TRAIN_LOG)
    assert (run_of(tmp_path).state, run_of(tmp_path).rule) == ("waiting", "evaluate")
    touch(tmp_path, layout.EVAL, layout.EVAL_NLL)
    assert run_of(tmp_path).state == "done"


def test_a_living_process_is_running_with_what_it_says(tmp_path: Path) -> None:
    leave_heartbeat(tmp_path, "train/demo/geo/seed1", age=3, **STEPS)
    part = run_of(tmp_path)
    assert (part.state, part.rule) == ("running", "train")
    assert part.age_s == pytest.approx(3, abs=2)
    text = text_of(tmp_path)
    assert "step 300/762 (39 %), 16 steps/s, 26 s left, loss 3.21" in text
    assert f"process {os.getpid()} on {HERE}, last heartbeat 3 s ago" in text


def test_a_process_that_is_gone_is_dead_and_not_running(tmp_path: Path) -> None:
    leave_heartbeat(tmp_path, "train/demo/geo/seed1", pid=gone_process(), **STEPS)
    layout.within(tmp_path, layout.log("train/demo/geo/seed1")).write_text(
        "geo on cpu\nstep 300/762\n"
    )
    part = run_of(tmp_path)
    assert (part.state, part.error) == ("dead", "step 300/762")
    assert "is gone; last heartbeat" in text_of(tmp_path)


def test_another_process_with_the_same_number_does_not_count(tmp_path: Path) -> None:
    age = time.time() - psutil.Process().create_time() + 100
    leave_heartbeat(tmp_path, "train/demo/geo/seed1", age=age)
    assert run_of(tmp_path).state == "dead"


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    leave_heartbeat(tmp_path, "train/demo/geo/seed1", pid=process.pid)
    assert run_of(tmp_path).state == "dead"
    process.wait()


@pytest.mark.parametrize(("minutes", "state"), [(2, "running"), (12, "stale")])
def test_on_another_machine_the_age_of_the_heartbeat_decides(
    tmp_path: Path, minutes: int, state: str
) -> None:
    leave_heartbeat(
        tmp_path, "train/demo/geo/seed1", age=minutes * MINUTE, host="node07", pid=1, **STEPS
    )
    assert run_of(tmp_path).state == state
    if state == "stale":
        assert "maybe dead, was training" in text_of(tmp_path)
        assert "process 1 on node07, last heartbeat 12 min ago" in text_of(tmp_path)


def test_a_failure_is_shown_with_its_reason_until_the_files_are_made(tmp_path: Path) -> None:
    leave_heartbeat(
        tmp_path,
        "train/demo/geo/seed1",
        age=5,
        state="failed",
        error="training diverged: the loss is nan",
    )
    assert (run_of(tmp_path).state, run_of(tmp_path).error) == (
        "failed",
        "training diverged: the loss is nan",
    )
    assert "log: " in text_of(tmp_path)
    touch(tmp_path, layout.RUN, layout.TRAIN_LOG, layout.EVAL, layout.EVAL_NLL)
    assert run_of(tmp_path).state == "done"


def test_a_deleted_result_is_waited_for_again(tmp_path: Path) -> None:
    leave_heartbeat(tmp_path, "train/demo/geo/seed1", state="done")
    assert run_of(tmp_path).state == "waiting"


def test_a_damaged_heartbeat_counts_as_none(tmp_path: Path) -> None:
    leave_heartbeat(tmp_path, "train/demo/geo/seed1")
    heartbeat.path(layout.within(tmp_path, layout.log("train/demo/geo/seed1"))).write_text(
        '{"state": "run'
    )
    assert run_of(tmp_path).state == "waiting"


def test_a_finished_run_shows_its_perplexity_at_the_longest_length(tmp_path: Path) -> None:
    touch(tmp_path, layout.RUN, layout.TRAIN_LOG, layout.EVAL, layout.EVAL_NLL)
    rows = [
        "none,first_chunks,1024,11.0,2.4,9,1",
        "none,full,128,5.0,1.6,9,1",
        "none,full,1024,9.77,2.28,9,1",
    ]
    eval_csv = layout.within(tmp_path, layout.EVAL.format(**RUN))
    eval_csv.write_text("\n".join(["remap,protocol,length,ppl,nll,tokens,chunks", *rows]) + "\n")
    assert run_of(tmp_path).facts == {"ppl": 9.77, "length": 1024, "protocol": "full"}
    assert "PPL 9.77 at 1024" in text_of(tmp_path)


@pytest.mark.parametrize(("height", "is_folded"), [(30, False), (10, True)])
def test_finished_runs_share_a_line_where_the_terminal_is_low(
    tmp_path: Path, height: int, is_folded: bool
) -> None:
    for seed in range(6):
        touch(
            tmp_path,
            layout.RUN_CONFIG,
            layout.RUN,
            layout.TRAIN_LOG,
            layout.EVAL,
            layout.EVAL_NLL,
            seed=seed,
        )
    console = Console(width=80, height=height, record=True, file=io.StringIO())
    console.print(status._fitting(look(tmp_path, None), console))
    text = console.export_text()
    assert ("done     6 runs: geo seed0, geo seed1 ..." in text) == is_folded
    assert ("geo seed5" in text) != is_folded
    assert len(text.splitlines()) < height


def test_much_that_no_experiment_has_is_worth_a_line(tmp_path: Path) -> None:
    entry = tmp_path / ".kept/runs" / ("0" * 64)
    entry.mkdir(parents=True)
    (tmp_path / ".kept/index").write_text('{"runs": {}}')
    weights = entry / "model.safetensors"
    weights.touch()
    assert "rope-spectra kept" not in text_of(tmp_path)
    os.truncate(weights, 3 * 10**9)  # takes no space
    assert "3.0 GB are of kept results that no experiment has: rope-spectra kept" in text_of(
        tmp_path
    )
    os.link(weights, tmp_path / "in_use")
    assert "rope-spectra kept" not in text_of(tmp_path)


def test_the_repeats_of_a_noise_floor_are_listed(tmp_path: Path) -> None:
    small = small_experiment.EXPERIMENT
    changed = small["experiments"]["small"] | {"noise_floor": 2}
    config = load(small | {"experiments": {"small": changed}})
    (experiment,) = look(tmp_path, config).experiments
    names = [part.name for part in experiment.parts if part.kind == "run"]
    assert names[-2:] == ["geo seed1-repeat1", "geo seed1-repeat2"]
    assert len(names) == 2 * 2 + 2


def test_a_search_is_shown_with_its_candidates_and_its_best(tmp_path: Path) -> None:
    leave_heartbeat(tmp_path, "propose/s/round0", state="failed", error="optuna is missing")
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(view.screen(look(tmp_path, searched.config_of())))
    text = console.export_text()
    assert re.search("failed +candidates +while choosing the candidates", text)
    assert re.search("waiting +best spectrum", text)


def step(tmp_path: Path, main: Any, *arguments: str) -> Heartbeat | None:
    """Run a step within this process as its module would; its last heartbeat."""

    def parsed() -> None:
        main(cli.parse(cli.parser("doc"), ["--log", str(tmp_path / "a.log"), *arguments]))

    with contextlib.suppress(SystemExit, KeyboardInterrupt, RuntimeError):
        cli.run(parsed)
    return heartbeat.read(tmp_path / "a.log")


def fail_with(error: BaseException) -> Any:
    def main(_: Any) -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "state", "error"),
    [
        pytest.param(lambda _: None, "done", None, id="end"),
        pytest.param(fail_with(SystemExit(0)), "done", None, id="exit-0"),
        pytest.param(
            fail_with(UserError("a.npy: damaged")), "failed", "a.npy: damaged", id="user-error"
        ),
        pytest.param(
            fail_with(OSError(28, "No space left on device", "a.npy")),
            "failed",
            "a.npy: No space left on device",
            id="disk",
        ),
        pytest.param(
            fail_with(RuntimeError("out of memory\nat 0x0")),
            "failed",
            "RuntimeError: out of memory",
            id="crash",
        ),
        pytest.param(
            fail_with(SystemExit(128 + signal.SIGTERM)), "stopped", "by SIGTERM", id="sigterm"
        ),
        pytest.param(fail_with(SystemExit(255)), "failed", "exit status 255", id="exit-255"),
        pytest.param(fail_with(KeyboardInterrupt()), "stopped", "by Ctrl-C", id="ctrl-c"),
    ],
)
def test_a_step_says_how_it_ended(tmp_path: Path, main: Any, state: str, error: str | None) -> None:
    beat = step(tmp_path, main)
    assert (beat.state, beat.error) == (state, error)


def test_a_step_tells_its_progress_and_its_device(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    clock = iter(
        [0.0, 100.0, 101.0, 103.0]
    )  # made, then updates; the second one comes too early to be told
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))

    def main(_: Any) -> None:
        heartbeat.set_device("cuda:0 NVIDIA H200")
        steps = progress.Progress("step", 762, "steps")
        for done in (100, 110, 150):
            steps.update(done, "loss 3.21")

    beat = step(tmp_path, main)
    rate = pytest.approx(150 / 103)
    left = pytest.approx((762 - 150) / (150 / 103))
    assert beat.position == Position.model_construct(
        label="step", done=150, total=762, unit="steps", note="loss 3.21", rate=rate, left_s=left
    )
    assert (beat.device, beat.cuda_visible_devices) == ("cuda:0 NVIDIA H200", "3")


def test_the_file_is_one_flat_mapping(tmp_path: Path) -> None:
    """Other programs read it: these are its keys."""
    keys = {"state", "error", "step", "started", "updated", "pid", "host"}
    keys |= {"device", "cuda_visible_devices"}
    file = tmp_path / "a.progress.json"
    step(tmp_path, lambda _: None)
    assert json.loads(file.read_text()).keys() == keys
    step(tmp_path, lambda _: progress.Progress("step", 762, "steps").update(100))
    assert json.loads(file.read_text()).keys() == keys | STEPS.keys() | {"each"}


def test_the_rate_is_that_of_the_latest_heartbeats(monkeypatch) -> None:
    """A slow start is forgotten: 100 s for the first step, then a step per 2 s."""
    clock = iter([0.0, *(100.0 + 2 * index for index in range(40))])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    told: list[Position] = []
    monkeypatch.setattr(progress.heartbeat, "beat", told.append)
    steps = progress.Progress("step", 1000, "steps")
    for done in range(1, 41):
        steps.update(done)
    assert told[0].rate == pytest.approx(0.01)
    assert told[-1].rate == pytest.approx(0.5)
    assert told[-1].left_s == pytest.approx(960 / 0.5)


def test_a_heartbeat_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    def main(_: Any) -> None:
        shutil.rmtree(tmp_path / "logs")
        (tmp_path / "logs").write_text("no folder any more")
        progress.Progress("step", 3, "steps").update(1)

    cli.run(lambda: main(cli.parse(cli.parser("doc"), ["--log", str(tmp_path / "logs/a.log")])))


def test_only_the_first_rank_has_a_heartbeat(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    monkeypatch.setenv("RANK", "1")
    assert step(tmp_path, lambda _: None) is None


GPU_IDLE, GPU_BUSY = Gpu(0, "NVIDIA H200", 0, 500, 143771), Gpu(0, "NVIDIA H200", 97, 22630, 143771)


def running(kind: str, rule: str, **changes: Any) -> Part:
    now = time.time()
    facts = {
        "state": "running",
        "host": HERE,
        "pid": 1,
        "started": now - 500,
        "updated": now,
        "device": "cuda:0",
        "position": Position(**STEPS),
    }
    return Part(
        name="geo seed1",
        kind=kind,
        state="running",
        rule=rule,
        log="results/logs/a.log",
        age_s=0.0,
        error=None,
        heartbeat=Heartbeat(**facts | changes),
        facts={},
    )


@pytest.mark.parametrize(
    ("gpus", "parts", "meaning"),
    [
        pytest.param(
            [], [running("run", "train")], "no GPU here: .*; training on the CPU", id="none"
        ),
        pytest.param([GPU_BUSY], [running("run", "train")], "GPU at work$", id="busy"),
        pytest.param([GPU_BUSY], [], "but not for a job of this project", id="busy-for-others"),
        pytest.param(
            [GPU_IDLE],
            [running("data", "tokenize_train")],
            "idle is normal now: tokens are being written",
            id="tokens",
        ),
        pytest.param(
            [GPU_IDLE],
            [running("run", "train", device="cpu")],
            "idle is normal now: the job runs on the CPU",
            id="cpu",
        ),
        pytest.param(
            [GPU_IDLE],
            [running("run", "train")],
            "idle although geo seed1 is in train: .*results/logs/a.log",
            id="hung",
        ),
        pytest.param(
            [GPU_IDLE],
            [running("run", "train", host="node07")],
            "idle: no job is running here",
            id="elsewhere",
        ),
        pytest.param([GPU_IDLE], [], "idle: no job is running here", id="nothing"),
    ],
)
def test_what_the_use_of_the_gpu_means(gpus: list[Gpu], parts: list[Part], meaning: str) -> None:
    assert re.search(meaning, gpu_use.meaning(gpus, parts, HERE))


def test_a_gpu_that_waits_for_a_job_to_start_is_no_reason_to_worry() -> None:
    part = running("run", "train", started=time.time() - 20, position=None)
    assert "the job is starting" in gpu_use.meaning([GPU_IDLE], [part], HERE)


@pytest.mark.parametrize(
    ("script", "gpus"),
    [
        pytest.param("echo '0, NVIDIA H200, 97, 22630, 143771'", [GPU_BUSY], id="answers"),
        pytest.param("echo 'No devices were found'; exit 6", [], id="no-device"),
        pytest.param("echo '0, NVIDIA H200, [N/A], 1, 2'", [], id="not-available"),
    ],
)
def test_nvidia_smi_is_asked(tmp_path: Path, monkeypatch, script: str, gpus: list[Gpu]) -> None:
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert gpu_use.query() == gpus


@dataclass(frozen=True)
class Watched:
    """A checkout whose three experiments Snakemake has run at once.

    seen: the looks from outside while it ran; end: what `--json` says then.
    """

    folder: Path
    seen: list[Status]
    end: dict[str, Any]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    folder = tmp_path_factory.mktemp("watched")
    for name in ("workflow", "profiles", "envs"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "watched.yaml").write_text(WATCHED)
    targets = [f"results/{name}/geo_500k/seed1/eval.csv" for name in ("good", "bad", "long")]
    options = ["--cores", "1", "--resources", "gpu=1", "--configfile", "watched.yaml"]
    with (folder / "snakemake.log").open("w") as log:
        seen = watch(
            folder,
            subprocess.Popen([SNAKEMAKE, *targets, *options], cwd=folder, stdout=log, stderr=log),
        )
    done = run_command(folder, "--json", "--configfile", "watched.yaml")
    return Watched(folder, seen, json.loads(done.stdout))


def watch(folder: Path, snakemake: subprocess.Popen) -> list[Status]:
    """Look until Snakemake ends; kill the long training hard as soon as it has done a step."""
    with contextlib.chdir(folder):
        arguments = argparse.Namespace(configfile=[Path("watched.yaml")], config=[])
        config = config_files.load(arguments)
    seen = []
    while snakemake.poll() is None:
        seen.append(look(folder / "results", config))
        run = next(part for part in seen[-1].experiments[2].parts if part.kind == "run")
        beat = run.heartbeat
        if run.state == "running" and run.rule == "train" and beat and beat.position:
            os.kill(beat.pid, signal.SIGKILL)
        time.sleep(0.3)
    return seen


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rope_spectra.status", *arguments]


def run_command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=folder, capture_output=True, text=True, check=True
    )


def run_in(status: dict[str, Any], experiment: int) -> dict[str, Any]:
    parts = status["experiments"][experiment]["parts"]
    return next(part for part in parts if part["kind"] == "run")


def test_a_real_run_is_followed_from_waiting_to_done(watched: Watched) -> None:
    states = [run_in(status.model_dump(), 0)["state"] for status in watched.seen]
    assert states[0] == "waiting"
    assert "running" in states
    assert any(status.snakemake for status in watched.seen)
    run = run_in(watched.end, 0)
    assert run["state"] == "done", (watched.folder / "snakemake.log").read_text()[-3000:]
    assert run["facts"]["length"] == 256
    assert not watched.end["snakemake"]


def test_a_training_that_fails_is_shown_with_its_last_line(watched: Watched) -> None:
    run = run_in(watched.end, 1)
    assert (run["state"], run["rule"]) == ("failed", "train")
    assert run["error"].startswith("training diverged: the loss is")


def test_a_training_that_is_killed_hard_is_dead(watched: Watched) -> None:
    run = run_in(watched.end, 2)
    assert (run["state"], run["rule"]) == ("dead", "train"), (
        watched.folder / "snakemake.log"
    ).read_text()[-3000:]
    assert run["sign"]["done"] >= 1
    assert run["age_s"] > 0


def test_caches_are_shown_with_their_tokens_and_bytes(watched: Watched) -> None:
    train = next(
        part for part in watched.end["experiments"][0]["parts"] if part["name"] == "train tokens"
    )
    assert train["state"] == "done"
    assert train["facts"] == {"tokens": 20_000, "bytes_on_disk": 128 + 2 * 20_000}


def test_the_view_is_plain_text_of_80_columns_and_changes_nothing(watched: Watched) -> None:
    def files() -> list[tuple[str, int]]:
        return sorted(
            (str(path), path.stat().st_mtime_ns) for path in (watched.folder / "results").rglob("*")
        )

    before = files()
    done = run_command(watched.folder, "--configfile", "watched.yaml")
    assert files() == before
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    for words in (
        "done     geo_500k seed1",
        "failed   geo_500k seed1",
        "dead     geo_500k seed1",
        "training diverged: the loss is",
    ):
        assert words in done.stdout


def test_a_broken_configuration_hides_nothing(watched: Watched) -> None:
    (watched.folder / "broken.yaml").write_text("experiments: {good: {baseline: nothing}}\n")
    done = run_command(watched.folder, "--configfile", "watched.yaml", "broken.yaml")
    assert "experiments.good.baseline: 'nothing' is not among its spectra" in " ".join(
        done.stdout.split()
    )
    assert "failed   geo_500k seed1" in done.stdout


def test_a_named_folder_that_is_none_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for name in ("nowhere", "file"):
        monkeypatch.setattr("sys.argv", ["status", "--once", "--results", str(tmp_path / name)])
        with pytest.raises(UserError, match=f"--results: .*{name}: no such folder; give"):
            status.main()


def test_the_picture_for_the_documentation_needs_nothing_from_the_web(watched: Watched) -> None:
    run_command(watched.folder, "--svg", "status.svg", "--configfile", "watched.yaml")
    picture = (watched.folder / "status.svg").read_text()
    assert "training" in picture
    assert "url(http" not in picture


@pytest.mark.parametrize("leave", ["q", "\x03"], ids=["q", "ctrl-c"])
def test_the_live_view_follows_until_one_leaves(watched: Watched, leave: str) -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(watched.folder)
        os.execv(sys.executable, command("--configfile", "watched.yaml"))
    shown = _read_until(terminal, b"q leaves")
    os.write(terminal, leave.encode())
    shown += _read_until(terminal, None)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, shown
    assert b"\x1b[?1049h" in shown, "it draws on a screen of its own"
    assert shown.rindex(b"\x1b[?1049l") < shown.rindex(b"geo_500k seed1"), "the last look stays"
    assert b"Traceback" not in shown


def _read_until(terminal: int, words: bytes | None) -> bytes:
    """The output on a terminal until these words, or until the program has ended."""
    shown = b""
    while words is None or words not in shown:
        assert select.select([terminal], [], [], 60)[0], shown
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
    return shown


def test_it_starts_without_anything_heavy(watched: Watched) -> None:
    code = (
        "import runpy, sys; sys.argv = ['status', '--once']\n"
        "runpy.run_module('rope_spectra.status', run_name='__main__')\n"
        "heavy = {'torch', 'pandas', 'scipy', 'transformers', 'matplotlib'} & sys.modules.keys()\n"
        "print(sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=watched.folder, capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"
