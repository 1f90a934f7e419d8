"""status over heartbeats, logs and folders that anybody may have written."""

import contextlib
import io
import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rope_spectra import status
from rope_spectra.artifacts import layout
from rope_spectra.monitor import facts
from rope_spectra.runtime import heartbeat
from rope_spectra.runtime.heartbeat import Heartbeat
from support.control import control_characters

RUN = {"experiment": "demo", "spectrum": "geo", "seed": "1"}
EVIL = "\x1b]0;pwned\x07\x1b[2J\x9b31m\u202etxt\r\x00\x7f"
NOW = time.time()
BEAT = {
    "state": "failed",
    "error": "no space",
    "step": "train",
    "started": NOW - 60,
    "updated": NOW,
    "pid": os.getpid(),
    "host": "node07",
    "device": "cuda:0",
    "cuda_visible_devices": "0",
    "label": "step",
    "done": 3,
    "total": 10,
    "unit": "steps",
    "rate": 1.5,
    "left_s": 4.0,
    "note": "loss 3.2",
}
ODD = [None, True, -1, 0, 10**30, -(10**400), 1e308, float("nan"), float("inf"), "", EVIL, [], {}]


def leave(results: Path, job: str, beat: bytes, log: bytes = b"") -> Path:
    """A heartbeat and a log as anybody could have left them; the path of the log."""
    path = layout.within(results, layout.log(f"{job}/demo/geo/seed1"))
    path.parent.mkdir(parents=True, exist_ok=True)
    heartbeat.path(path).write_bytes(beat)
    path.write_bytes(log)
    config = layout.within(results, layout.RUN_CONFIG.format(**RUN))
    config.parent.mkdir(parents=True, exist_ok=True)
    config.touch()
    return path


def said(results: Path, *options: str) -> str:
    """The output of status, which ends with status 0 or this fails."""
    output = io.StringIO()
    with (
        patch("sys.argv", ["status", "--results", str(results), *options]),
        patch.object(facts, "snakemake_runs", lambda _: False),
        patch.object(facts.gpu_use, "query", list),
        contextlib.redirect_stdout(output),
        contextlib.chdir(results),
    ):
        status.main()
    return output.getvalue()


def check(results: Path) -> None:
    """All forms of status end well and show no control character."""
    for option in ("--once", "--json"):
        assert not control_characters(said(results, option)), option
    with tempfile.TemporaryDirectory() as folder:
        said(results, "--svg", f"{folder}/a.svg")
        assert not control_characters(Path(folder, "a.svg").read_text())


JSON = st.recursive(
    st.sampled_from(ODD) | st.text() | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
ANY_BEAT = st.builds(
    lambda changes, left_out: {k: v for k, v in (BEAT | changes).items() if k not in left_out},
    st.dictionaries(st.sampled_from([*BEAT, "position"]), JSON, max_size=4),
    st.sets(st.sampled_from([*BEAT]), max_size=2),
).map(lambda beat: json.dumps(beat).encode())
ANY_LOG = st.binary() | st.text(st.characters(categories=("C", "Z", "L"))).map(
    lambda text: text.encode(errors="surrogatepass")
)


@settings(max_examples=60)
@given(train=ANY_BEAT | st.binary(), evaluate=ANY_BEAT, log=ANY_LOG)
def test_no_heartbeat_or_log_breaks_status_or_reaches_the_terminal(
    train: bytes, evaluate: bytes, log: bytes
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        leave(Path(folder), "train", train, log)
        leave(Path(folder), "evaluate", evaluate, log)
        check(Path(folder))


@pytest.mark.parametrize("key", BEAT)
def test_every_odd_value_of_a_heartbeat_is_survived(tmp_path: Path, key: str) -> None:
    for value in ODD:
        leave(tmp_path, "train", json.dumps(BEAT | {key: value}).encode())
        check(tmp_path)


def test_an_odd_detail_does_not_hide_that_a_job_has_failed(tmp_path: Path) -> None:
    odd = {"done": "many", "total": [], "device": 7, "cuda_visible_devices": {}, "step": 1}
    log = leave(tmp_path, "train", json.dumps(BEAT | odd).encode())
    beat = heartbeat.read(log)
    assert isinstance(beat, Heartbeat)
    assert (beat.state, beat.error) == ("failed", "no space")
    assert (beat.position, beat.device) == (None, None)


def test_escape_sequences_are_shown_as_text(tmp_path: Path) -> None:
    (tmp_path / f"evil{EVIL[:9]}").mkdir()
    leave(tmp_path, "train", json.dumps(BEAT | {"error": None}).encode(), EVIL.encode())
    assert r"\x1b]0;pwned\x07\x1b[2J\x9b31m\u202etxt" in said(tmp_path, "--once").replace("\n", "")


def deep(path: Path) -> None:
    path.write_text("[" * 100_000)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def link(path: Path) -> None:
    path.unlink()
    path.with_name("private").write_text(json.dumps(BEAT | {"error": "private"}))
    path.symlink_to("private")


def unreadable(path: Path) -> None:
    path.chmod(0)


def large(path: Path) -> None:
    path.write_text(json.dumps(BEAT | {"note": "x" * 10**7}))


@pytest.mark.parametrize("damage", [deep, pipe, folder, device, link, unreadable, large])
@pytest.mark.parametrize("what", ["heartbeat", "log", "manifest", "eval"])
def test_whatever_lies_in_the_place_of_a_file_is_survived(
    tmp_path: Path, what: str, damage: Callable[[Path], Any]
) -> None:
    log = leave(tmp_path, "train", json.dumps(BEAT | {"error": None}).encode(), b"last line\n")
    paths = {
        "heartbeat": heartbeat.path(log),
        "log": log,
        "manifest": layout.within(tmp_path, layout.MANIFEST.format(dataset="toy", split="train")),
        "eval": layout.within(tmp_path, layout.EVAL.format(**RUN)),
    }
    path = paths[what]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    damage(path)
    shown = said(tmp_path, "--once")
    assert "geo seed1" in shown
    assert "private" not in shown
    check(tmp_path)


def test_a_file_in_the_place_of_a_folder_and_odd_seeds_are_survived(tmp_path: Path) -> None:
    leave(tmp_path, "train", json.dumps(BEAT).encode())
    for seed in ("1x", "1-repeat", "²", "1\x1b[31m", "9" * 200):
        (tmp_path / f"demo/geo/seed{seed}").mkdir()
        (tmp_path / f"demo/geo/seed{seed}/config.json").touch()
    hostile = tmp_path / "ev\x1b[31mil/a\u202eb/seed1/config.json"
    hostile.parent.mkdir(parents=True)
    hostile.touch()
    (tmp_path / "data").touch()
    check(tmp_path)
    assert r"ev\x1b[31mil" in said(tmp_path, "--once")


def test_a_store_that_is_none_is_survived(tmp_path: Path) -> None:
    leave(tmp_path, "train", json.dumps(BEAT).encode())
    store = tmp_path / ".kept"
    (store / "runs").mkdir(parents=True)
    (store / "runs" / ("0" * 64)).write_text("a file")
    (store / "index").write_text('{"runs": {}}')
    check(tmp_path)
    pipe(store / "index")
    check(tmp_path)


def test_a_time_in_the_future_is_no_sign_of_life(tmp_path: Path) -> None:
    beat = BEAT | {"state": "running", "updated": NOW + 1e7}
    leave(tmp_path, "train", json.dumps(beat).encode())
    assert "maybe dead, was training" in said(tmp_path, "--once")


def test_only_colors_of_our_own_reach_a_terminal(tmp_path: Path) -> None:
    leave(tmp_path, "train", json.dumps(BEAT | {"error": EVIL, "note": EVIL}).encode(), b"x")
    with patch.dict(os.environ, {"FORCE_COLOR": "1", "TERM": "xterm-256color"}):
        shown = said(tmp_path, "--once")
    assert "\x1b[" in shown
    assert not control_characters(re.sub(r"\x1b\[[0-9;]*m", "", shown))
