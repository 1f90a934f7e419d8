"""The store of finished results: whole entries, links, one maker at a time, what is collected."""

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rope_spectra.artifacts import files, kept
from rope_spectra.artifacts.kept import Kind, Store
from rope_spectra.runtime.errors import UserError

KEY = hashlib.sha256(b"content").hexdigest()


def key_of(record: Path) -> str:
    """The key of the records of these tests: the hash of their text."""
    if not record.read_bytes():
        raise UserError(f"{record}: damaged")
    return files.sha256(record)


def place_again(entry: Path, record: Path) -> None:
    kept.place(entry / "run.json", record, as_link=False)
    kept.place(entry / "model", record.with_name("model"), as_link=True)


RUNS = Kind(
    name="runs",
    record="results/{experiment}/{spectrum}/seed{seed}/run.json",
    files=lambda record: {"run.json": record, "model": record.with_name("model")},
    key=key_of,
    restore=place_again,
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    return Store(Path("results/.kept"))


def make_run(name: str, text: str = "settings") -> Path:
    """A finished run; its record."""
    folder = Path("results") / name
    folder.mkdir(parents=True)
    (folder / "model").write_text(f"weights of {text}")
    (folder / "run.json").write_text(text)
    return folder / "run.json"


def keep(store: Store, record: Path) -> str:
    key = RUNS.key(record)
    store.keep("runs", key, RUNS.files(record))
    return key


def test_what_is_kept_is_found_and_takes_no_space(store: Store) -> None:
    record = make_run("demo/geo/seed1")
    assert store.find("runs", RUNS.key(record)) is None
    key = keep(store, record)
    entry = store.find("runs", key)
    assert entry is not None
    assert (entry / "model").samefile(record.with_name("model"))


def test_a_result_made_again_replaces_the_kept_one(store: Store) -> None:
    record = make_run("demo/geo/seed1")
    key = keep(store, record)
    (entry,) = (store.root / "runs").iterdir()
    before = entry.stat().st_ino
    keep(store, record)
    assert entry.stat().st_ino == before, "the same files were kept again"
    files.write_text(record.with_name("model"), "other bits")
    store.keep("runs", key, RUNS.files(record))
    assert [path.name for path in (store.root / "runs").iterdir()] == [key]
    assert (entry / "model").read_text() == "other bits"


def test_without_hard_links_it_keeps_copies(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    record = make_run("demo/geo/seed1")
    entry = store.find("runs", keep(store, record))
    assert entry is not None
    assert (entry / "model").read_text() == "weights of settings"
    assert not (entry / "model").samefile(record.with_name("model"))


def test_a_failure_leaves_the_kept_result(store: Store) -> None:
    record = make_run("demo/geo/seed1")
    key = keep(store, record)
    missing = {"run.json": record, "model": record.with_name("gone")}
    with pytest.raises(FileNotFoundError):
        store.keep("runs", key, missing)
    assert [path.name for path in (store.root / "runs").iterdir()] == [key]


def test_of_two_that_keep_a_result_at_once_both_end_well(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = make_run("demo/geo/seed1")
    rename = Path.rename

    def after_the_other(path: Path, target: Path) -> Path:
        if path.name == RUNS.key(record):  # nothing to be moved aside, until a moment later
            path.mkdir()
            for name, file in RUNS.files(record).items():
                kept.link(file, path / name)
            raise FileNotFoundError
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", after_the_other)
    key = keep(store, record)
    assert [path.name for path in (store.root / "runs").iterdir()] == [key]


def test_a_key_cannot_lead_elsewhere(store: Store) -> None:
    for key in ("../../other", "", KEY.upper(), KEY + "/x"):
        with pytest.raises(UserError, match="no SHA-256"):
            store.find("runs", key)


def test_a_placed_file_shares_its_time_only_as_a_link(store: Store) -> None:
    record = make_run("demo/geo/seed1")
    entry = store.find("runs", keep(store, record))
    assert entry is not None
    for as_link in (True, False):
        target = Path("elsewhere/model")
        kept.place(entry / "model", target, as_link)
        assert target.read_text() == "weights of settings"
        assert target.samefile(entry / "model") is as_link
    assert [path.name for path in Path("elsewhere").iterdir()] == ["model"]


def test_only_one_process_makes_a_result_and_a_signal_ends_the_wait(
    store: Store, tmp_path: Path
) -> None:
    program = (
        "import logging; from pathlib import Path; from rope_spectra.artifacts.kept import Store\n"
        "logging.basicConfig(level=logging.INFO)\n"
        f"with Store(Path('results/.kept')).only_once('runs', '{KEY}', 'a run'):\n"
        "    print('mine', flush=True)\n"
    )

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    with store.only_once("runs", KEY, "a run"):
        first, second = start(), start()
        for process in (first, second):
            assert process.stderr is not None
            assert "waiting: another process is making a run" in process.stderr.readline()
        first.send_signal(signal.SIGTERM)
        assert first.wait(10) == -signal.SIGTERM
        with store.only_once("runs", hashlib.sha256().hexdigest(), "another"):
            pass
    assert second.communicate(timeout=10)[0] == "mine\n"
    assert list((store.root / "locks").iterdir()) == []


def made(store: Store, record: Path, is_forced: bool = False, damaged: bool = False) -> list[str]:
    """The steps that it took to have a result: adopted, made, or both."""
    steps: list[str] = []

    def adopt(entry: Path) -> None:
        steps.append("adopt")
        if damaged:
            raise UserError(f"{entry}: damaged; delete it")

    store.make_once(
        "runs",
        KEY,
        RUNS.files(record),
        adopt=adopt,
        make=lambda: steps.append("make"),
        what="a run",
        is_forced=is_forced,
    )
    return steps


def test_a_result_is_made_once_unless_it_is_forced_or_damaged(store: Store) -> None:
    record = make_run("demo/geo/seed1")
    assert made(store, record) == ["make"]
    assert made(store, record) == ["adopt"]
    assert made(store, record, is_forced=True) == ["make"]
    assert made(store, record, damaged=True) == ["adopt", "make"]
    assert made(store, record) == ["adopt"]


def test_a_failure_to_keep_is_no_failure_to_make(store: Store) -> None:
    assert made(store, Path("results/demo/geo/seed9/run.json")) == ["make"]
    assert store.find("runs", KEY) is None


def test_it_collects_what_is_finished_and_reads_it_once(store: Store) -> None:
    first = make_run("demo/geo/seed1")
    make_run("other/geo/seed1")  # the same content under another name
    make_run("demo/geo/seed2", "other seed")
    make_run("demo/geo/seed3", "no weights").with_name("model").unlink()
    make_run("demo/geo/seed4", "")
    read: list[Path] = []

    def counting(record: Path) -> str:
        read.append(record)
        return key_of(record)

    kind = Kind("runs", RUNS.record, RUNS.files, counting, RUNS.restore)
    store.collect(Path("results"), [kind])
    assert len(read) == 5
    assert len(list((store.root / "runs").iterdir())) == 2
    store.collect(Path("results"), [kind])
    assert len(read) == 6, "only the damaged one is looked at again"
    os.utime(first)
    store.collect(Path("results"), [kind])
    assert len(read) == 8
    (store.root / "index").write_text("damaged")
    store.collect(Path("results"), [kind])
    assert len(read) == 13


def test_a_record_with_a_key_that_leads_elsewhere_is_not_collected(store: Store) -> None:
    make_run("demo/geo/seed1")
    kind = Kind("runs", RUNS.record, RUNS.files, lambda _: "../../elsewhere", RUNS.restore)
    assert store.collect(Path("results"), [kind]) == {"runs": {}}
    assert not (store.root / "runs").exists()


def test_what_has_gone_since_comes_back_with_its_time(store: Store) -> None:
    record = make_run("demo/geo/seed1")
    whole = make_run("demo/geo/seed2", "left alone")
    gone = make_run("demo/geo/seed3", "deleted by the user")
    os.utime(record, (1e9, 1e9))
    store.collect(Path("results"), [RUNS])
    record.unlink()
    record.with_name("model").unlink()
    shutil.rmtree(gone.parent)
    seen = whole.stat().st_mtime_ns
    assert store.restore([RUNS]) == [record]
    assert record.read_text() == "settings"
    assert record.stat().st_mtime == 1e9
    assert record.with_name("model").exists()
    assert whole.stat().st_mtime_ns == seen
    assert not gone.exists()
    assert store.restore([RUNS]) == []


def test_usage_names_what_no_experiment_has(store: Store) -> None:
    record = make_run("demo/geo/seed1")
    other = make_run("demo/geo/seed2", "another")
    key = RUNS.key(other)
    store.collect(Path("results"), [RUNS])
    other.unlink()
    (use,) = store.usage(Path("results"), [RUNS])
    assert use.unused == [], "its folder is there: a job may be about to make it again"
    shutil.rmtree(other.parent)
    (use,) = store.usage(Path("results"), [RUNS])
    assert [entry.name for entry in use.unused] == [key]
    assert (use.kind, use.count) == ("runs", 2)
    assert use.unused_size == len("another") + len("weights of another")
    assert use.size == use.unused_size + len("settings") + len("weights of settings")
    assert store.leftover_size() == use.unused_size
    keep(store, make_run("demo/geo/seed3", "made since then"))
    assert store.leftover_size() == use.unused_size
    assert record.exists()


def test_it_knows_what_was_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    output = Path("results/demo/geo/seed1/run.json")
    monkeypatch.delenv(kept.FORCED, raising=False)
    assert not kept.is_forced("train", output)
    for forced, expected in [("[]", False), ('["evaluate"]', False), ('["train"]', True)]:
        monkeypatch.setenv(kept.FORCED, forced)
        assert kept.is_forced("train", output) is expected
    monkeypatch.setenv(kept.FORCED, f'["{output}"]')
    assert kept.is_forced("train", output)
    monkeypatch.setenv(kept.FORCED, '["*"]')
    assert kept.is_forced("evaluate")
