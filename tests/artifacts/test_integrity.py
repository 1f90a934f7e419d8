"""Damaged files are found before they are used; a failed step leaves what was there before."""

import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rope_spectra.analysis import lineage
from rope_spectra.artifacts import files, seal
from rope_spectra.config.design import Design
from rope_spectra.config.sections import RunOptions
from rope_spectra.data import cache as tokens
from rope_spectra.data import shards, tokenizers
from rope_spectra.data.sources import SplitSettings, TokenizerFile
from rope_spectra.runtime.errors import UserError
from rope_spectra.training import checkpoint
from rope_spectra.training.record import MODEL, check_run, read_run
from support import small_experiment as small
from support.checkout import snakemake
from support.damage import damages
from support.data_steps import step

DATA, RUN = Path("results/data/toy"), Path("results/small/geo/seed1")
DESIGN = Path("results/small/experiment.json")
REMEDY = re.compile(r"delete (it|the folder|results)|run snakemake|the keys are|run the data steps")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Design]:
    """The design of a finished experiment in results/ of the working directory."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("integrity"))
    try:
        yield small.make_experiment()
    finally:
        os.chdir(before)


# --- every byte -----------------------------------------------------------------------------------


def read_model() -> None:
    check_run(RUN, read_run(RUN), MODEL)


def read_cache(split: str) -> None:
    tokens.open_tokens(DATA / f"{split}.npy", tokens.read_manifest(DATA / f"{split}.json"))


def read_shards(split: str) -> None:
    folder = DATA / "shards" / split
    settings = seal.load_settings(DATA / f"{split}.config.json", SplitSettings)
    for _ in shards.read_shards(folder, shards.read_index(folder, settings)):
        pass


def read_tables(design: Design) -> None:
    lineage.check(design)


def readers(design: Design) -> dict[Path, Callable[[], Any]]:
    """The way each file of results/ that a step reads is read before it is used."""
    of_run = ("config.json", "run.json", "train.csv", "eval.csv", "eval.npz", "eval.json")
    return {
        DATA / "tokenizer.config.json": lambda: seal.load_settings(
            DATA / "tokenizer.config.json", TokenizerFile
        ),
        DATA / "train.config.json": lambda: seal.load_settings(
            DATA / "train.config.json", SplitSettings
        ),
        DATA / "tokenizer/tokenizer.json": lambda: tokenizers.load_tokenizer(
            DATA / "tokenizer/tokenizer.json"
        ),
        DATA / "tokenizer/token_bytes.npy": lambda: tokenizers.check_record(
            DATA / "tokenizer/token_bytes.npy"
        ),
        DATA / "tokenizer/record.json": lambda: tokenizers.load_tokenizer(
            DATA / "tokenizer/tokenizer.json"
        ),
        DATA / "shards/train/00000.bin": partial(read_shards, "train"),
        DATA / "shards/train/index.json": partial(read_shards, "train"),
        DATA / "train.npy": partial(read_cache, "train"),
        DATA / "train.json": partial(read_cache, "train"),
        DATA / "validation.npy": partial(read_cache, "validation"),
        DATA / "validation.json": partial(read_cache, "validation"),
        Path("results/small/options.json"): lambda: seal.load_settings(
            Path("results/small/options.json"), RunOptions
        ),
        DESIGN: lambda: seal.load_settings(DESIGN, Design),
        RUN / "model.safetensors": read_model,
        **{
            RUN / name: lambda: lineage.read_evaluations(design, [("poly", 1), ("geo", 1)])
            for name in of_run
        },
        **{
            Path("results/small") / name: partial(read_tables, design)
            for name in ("evaluation.json", "tables.json", "runs.csv", "summary.csv")
        },
    }


def test_every_damage_is_found_and_the_message_says_what_to_do(experiment: Design) -> None:
    """More than 500 damages to all kinds of files that a step reads: each is a one-line error."""
    choose, tried, missed = random.Random(2024), 0, []
    for path, read in readers(experiment).items():
        whole = path.read_bytes()
        read()
        for name, damaged in damages(whole, choose):
            path.write_bytes(damaged)
            tried += 1
            try:
                read()
                missed.append(f"{path}, {name}: not found")
            except UserError as error:
                if (
                    "\n" in str(error)
                    or path.name not in str(error)
                    or not REMEDY.search(str(error))
                ):
                    missed.append(f"{path}, {name}: {error}")
        path.write_bytes(whole)
        read()
    assert not missed
    assert tried > 500


def test_a_damaged_training_state_is_never_resumed(tmp_path: Path) -> None:
    path, choose = tmp_path / "checkpoint.pt", random.Random(1)
    checkpoint.save_state(path, {"identity": "this", "step": 3, "rows": list(range(50))})
    whole = path.read_bytes()
    assert checkpoint.load_state(path, "this")["step"] == 3
    for _, damaged in damages(whole, choose):
        path.write_bytes(damaged)
        with pytest.raises(checkpoint.UnusableState):
            checkpoint.load_state(path, "this")
    path.write_bytes(whole)
    with pytest.raises(checkpoint.UnusableState, match="other settings or other data"):
        checkpoint.load_state(path, "that")


def commands() -> dict[str, list[object]]:
    """The real steps, by what they read first."""
    cache = ("--output", "new/train.npy", "--manifest", "new/train.json")
    figures = ("--output", "new/figures", "--spectra-csv", "new/spectra.csv")
    tables = ("--csv", "new/summary.csv", "--md", "new/summary.md")
    frozen = ("--settings", DATA / "train.config.json")
    tokenizer = ("--tokenizer", DATA / "tokenizer/tokenizer.json")
    return {
        "tokenizer": [
            *("--settings", DATA / "tokenizer.config.json"),
            *("--output", "new/t.json", "--token-bytes", "new/b.npy"),
        ],
        "tokenize": [*frozen, *tokenizer, "--output", "new/shards"],
        "memmap_cache": [*frozen, "--shards", DATA / "shards/train", *cache],
        "train": [*small.train_arguments(RUN)[:-4], "--output", "new/run"],
        "evaluate": [*small.evaluate_arguments(RUN), "--output", "new/run"],
        "aggregate": ["--definition", DESIGN, "--runs", "new/runs.csv", *tables[:2]],
        "page": [
            *("--definition", DESIGN, "--summary", "results/small/summary.csv"),
            *("--output", "new/summary.md"),
        ],
        "figures": ["--definition", DESIGN, *figures],
        "summary": ["--experiments", "results/small/summary.csv", *tables],
        "published": [
            *("--experiment", "350m_final", "--runs", "results/small/runs.csv"),
            *("--csv", "new/p.csv", "--figure", "new/p.svg"),
        ],
    }


READ_BY = {
    "tokenizer": [DATA / "tokenizer.config.json"],
    "tokenize": [
        DATA / "train.config.json",
        DATA / "tokenizer/tokenizer.json",
        DATA / "tokenizer/record.json",
    ],
    "memmap_cache": [
        DATA / "train.config.json",
        DATA / "shards/train/index.json",
        DATA / "shards/train/00000.bin",
    ],
    "train": [
        RUN / "config.json",
        Path("results/small/options.json"),
        DATA / "train.json",
        DATA / "train.npy",
    ],
    "evaluate": [
        *(RUN / name for name in ("config.json", "run.json", "model.safetensors")),
        *(
            DATA / name
            for name in ("validation.json", "validation.npy", "tokenizer/token_bytes.npy")
        ),
        Path("results/small/evaluation.json"),
    ],
    "aggregate": [
        DESIGN,
        *(RUN / name for name in ("config.json", "run.json", "train.csv")),
        *(RUN / name for name in ("eval.csv", "eval.npz", "eval.json")),
    ],
    "figures": [
        DESIGN,
        *(RUN / name for name in ("train.csv", "eval.npz", "eval.json")),
        *(Path("results/small") / name for name in ("tables.json", "runs.csv", "summary.csv")),
    ],
    "page": [DESIGN, Path("results/small/summary.csv"), Path("results/small/tables.json")],
    "summary": [Path("results/small/summary.csv"), Path("results/small/tables.json")],
    "published": [Path("results/small/runs.csv"), Path("results/small/tables.json")],
}


@pytest.mark.parametrize("module", READ_BY)
def test_each_step_refuses_what_it_reads_and_publishes_nothing(
    experiment: Design, module: str
) -> None:
    """The steps themselves make these checks: one flipped bit in each file that a step reads."""
    for path in READ_BY[module]:
        whole = path.read_bytes()
        path.write_bytes(
            whole[: len(whole) // 2]
            + bytes([whole[len(whole) // 2] ^ 1])
            + whole[len(whole) // 2 + 1 :]
        )
        try:
            status, lines = small.step(module, *commands()[module])
        finally:
            path.write_bytes(whole)
        errors = [line for line in lines if line.startswith("error: ")]
        assert status == 1, path
        assert len(errors) == 1, lines
        assert path.name in errors[0]
        assert REMEDY.search(errors[0]), errors
        left = (
            [file for file in Path("new").rglob("*") if file.is_file()]
            if Path("new").exists()
            else []
        )
        assert not left


# --- disks ----------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own, which can be filled and made read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(disk: Path) -> Callable[[], None]:
    """Fill the disk to its last block; what it returns makes space again."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes(shutil.disk_usage(disk).free))
    return ballast.unlink


def make_read_only(disk: Path) -> Callable[[], None]:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    return lambda: subprocess.run(["mount", "-o", "remount,rw", disk], check=True)


def outputs(disk: Path) -> dict[str, list[object]]:
    """The steps that write much, each with all it writes on that disk."""
    run = disk / "run"
    files = ("--settings", DATA / "train.config.json")
    return {
        "tokenize": [
            *files,
            *("--tokenizer", DATA / "tokenizer/tokenizer.json", "--output", disk / "shards"),
        ],
        "memmap_cache": [
            *(*files, "--shards", DATA / "shards/train"),
            *("--output", disk / "t.npy", "--manifest", disk / "t.json"),
        ],
        "train": [*small.train_arguments(RUN)[:-4], "--output", run, "--threads", 1],
        "evaluate": [*small.evaluate_arguments(RUN), "--output", run],
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "ballast"
    }


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(fill, "No space left on device"), (make_read_only, "Read-only file system")],
)
@pytest.mark.parametrize("module", ["tokenize", "memmap_cache", "train", "evaluate"])
def test_a_disk_that_takes_nothing_more_is_one_line_and_loses_nothing(
    experiment: Design,
    disk: Path,
    module: str,
    spoil: Callable[[Path], Callable[[], None]],
    reason: str,
) -> None:
    """In an empty folder and over earlier results; tokenize never writes over shards."""
    for _ in range(1 if module == "tokenize" else 2):
        before = contents(disk)
        repair = spoil(disk)
        status, lines = small.step(module, *outputs(disk)[module])
        errors = [line for line in lines if line.startswith("error: ")]
        assert (status, len(errors)) == (1, 1), lines
        assert str(disk) in errors[0]
        assert reason in errors[0]
        assert contents(disk) == before
        repair()
        assert small.step(module, *outputs(disk)[module])[0] == 0
        assert contents(disk)


def test_a_file_where_a_folder_should_be_is_named(experiment: Design, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("in the way")
    status, lines = small.step(
        "evaluate", *small.evaluate_arguments(RUN), "--output", tmp_path / "run"
    )
    assert status == 1
    assert lines[-1] == f"error: {tmp_path / 'run'}: File exists"


# --- two at once ----------------------------------------------------------------------------------


def tokenizing(output: Path) -> list[str]:
    settings, tokenizer = DATA / "train.config.json", DATA / "tokenizer/tokenizer.json"
    return step("tokenize", settings=settings, tokenizer=tokenizer, output=output)


def test_a_second_tokenizer_waits_for_the_first_and_takes_its_work(
    experiment: Design, tmp_path: Path
) -> None:
    """This process plays the first one: it holds the folder and finishes while the second waits."""
    output = tmp_path / "shards"
    command = tokenizing(output)
    with files.locked(tmp_path / "shards.partial") as waited:
        assert not waited
        second = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None
        assert "another process is at work in" in second.stderr.readline()
        shutil.copytree(DATA / "shards/train", output)
        (tmp_path / "shards.partial").rmdir()
    _, said = second.communicate(timeout=60)
    assert second.returncode == 0
    assert "the other process has finished" in said
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]


def test_two_tokenizers_at_once_write_what_one_writes(experiment: Design, tmp_path: Path) -> None:
    command = [*tokenizing(tmp_path / "shards"), "--shard-tokens", "100"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert 0 in [process.returncode for process in both], said
    for process, lines in zip(both, said, strict=True):  # the second may also come when all is done
        assert (
            process.returncode == 0 or "already holds shards; delete it to make them again" in lines
        )
    written = b"".join(path.read_bytes() for path in sorted((tmp_path / "shards").glob("*.bin")))
    assert written == b"".join(
        path.read_bytes() for path in sorted((DATA / "shards/train").glob("*.bin"))
    )
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]


@pytest.mark.slow
def test_a_second_snakemake_is_refused_and_one_that_ignores_the_lock_does_no_harm(
    finished: Path, tmp_path: Path
) -> None:
    """Two at once in one folder; the same command again ends with the undisturbed result."""
    expected = (finished / "results/summary.csv").read_bytes()
    project = tmp_path / "project"
    shutil.copytree(finished, project, ignore=shutil.ignore_patterns("results", ".snakemake"))
    program = str(Path(sys.executable).with_name("snakemake"))
    command = [program, "--configfile", "quick.yaml", "--cores", "1"]
    first = subprocess.Popen(
        command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not list(project.glob(".snakemake/locks/*")):
        assert first.poll() is None
        time.sleep(0.1)
    refused = snakemake(project, "--configfile", "quick.yaml", ok=False)
    assert refused.returncode == 1
    assert "Directory cannot be locked" in refused.stderr
    second = subprocess.Popen(
        [*command, "--nolock"], cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for process in (first, second):
        process.wait(timeout=400)
    snakemake(project, "--configfile", "quick.yaml")
    assert (project / "results/summary.csv").read_bytes() == expected
    assert not [path for path in project.rglob("*") if ".tmp." in path.name]
