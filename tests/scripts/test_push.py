"""scripts/commit_and_push.sh against a real bare remote; both scripts with a wrong command line."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from rope_spectra.artifacts import layout
from support.artifacts import BIG, RUN, SMALL, arrays, call, checkout, refusal, small_results, write

IDENTITY = {
    f"GIT_{role}_{what}": "tester@example.org"
    for role in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}
ENVIRONMENT = {
    **IDENTITY,
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}
# Put together here, so that no line of this file looks like one.
SECRETS = [
    "hf_" + 34 * "a",
    "ghp_" + 36 * "b",
    "AKIA" + 16 * "C",
    "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
]
RESULTS = sorted([*SMALL, f"{RUN}/eval.npz"])


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env=ENVIRONMENT
    ).stdout


def push(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return call(project, "commit_and_push.sh", *arguments, **ENVIRONMENT)


def published(project: Path) -> list[str]:
    """The results that the remote has."""
    names = git(project.parent / "remote.git", "ls-tree", "-r", "-z", "--name-only", "main").split(
        "\0"
    )
    return sorted(name for name in names if name.startswith("results/"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a pushed commit and results that git ignores, next to its bare remote."""
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", "remote.git")
    project = checkout(tmp_path / "project")
    write(project, {".gitignore": "/results/\n", "README.md": "study\n"})
    git(project, "init", "--quiet", "--initial-branch=main")
    git(project, "remote", "add", "origin", str(tmp_path / "remote.git"))
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message=start")
    git(project, "push", "--quiet", "--set-upstream", "origin", "main")
    return small_results(project)


def test_the_results_are_published_and_nothing_else(project: Path) -> None:
    done = push(project, "Results of the toy experiment")
    assert done.returncode == 0, done.stderr
    assert published(project) == RESULTS
    assert (
        git(project, "log", "-1", "--format=%s", "origin/main").strip()
        == "Results of the toy experiment"
    )
    assert not git(project, "status", "--short")


def test_all_that_the_workflow_writes_is_published_but_for_weights_tokens_and_tokenizers(
    project: Path,
) -> None:
    """A new file of the workflow is in the list of scripts/artifacts.sh or left out on purpose."""
    names = {
        "dataset": "d",
        "part": "train",
        "split": "train",
        "experiment": "e",
        "spectrum": "s",
        "seed": "1",
        "figure": "f",
    }
    patterns = {
        value
        for key, value in vars(layout).items()
        if isinstance(value, str) and not key.startswith("_")
    }
    paths = {pattern.format(**names) for pattern in patterns if pattern.startswith("results/")}
    left_out = {
        layout.MODEL,
        layout.TOKENS,
        layout.TOKENIZER,
        layout.TOKEN_BYTES,
        layout.TOKENIZER_RECORD,
        layout.SHARDS,
    }
    left_out |= {layout.HF, layout.CURVES}
    logs = {
        layout.log("summary"),
        layout.log("train/e/s/seed1"),
        layout.benchmark("train/e/s/seed1"),
    }
    wanted = paths - {pattern.format(**names) for pattern in left_out} | logs
    write(project, {path: arrays() if path.endswith(".npz") else "{}" for path in wanted})
    done = push(project, "--dry-run", "message")
    assert done.returncode == 0, done.stderr
    assert {line.split("\t")[1] for line in done.stdout.splitlines()} >= wanted


def test_nothing_changed_is_no_commit(project: Path) -> None:
    push(project, "first")
    before = git(project, "rev-parse", "HEAD")
    done = push(project, "second")
    assert done.returncode == 0
    assert "nothing to publish" in done.stderr
    assert git(project, "rev-parse", "HEAD") == before


def test_a_commit_that_could_not_be_pushed_is_pushed_the_next_time(project: Path) -> None:
    hook = project.parent / "remote.git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    assert "origin refused the push" in refusal(push(project, "first"))
    hook.unlink()
    assert push(project, "again").returncode == 0
    assert published(project) == RESULTS


def test_a_dry_run_says_what_would_be_published_and_changes_nothing(project: Path) -> None:
    done = push(project, "--dry-run", "message")
    assert done.returncode == 0
    assert sorted(line.split("\t")[1] for line in done.stdout.splitlines()) == RESULTS
    assert not git(project, "diff", "--cached", "--name-only")
    assert git(project, "rev-parse", "HEAD") == git(project, "rev-parse", "origin/main")


def test_a_first_push_to_an_empty_remote(project: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", "empty.git")
    git(project, "remote", "set-url", "origin", str(tmp_path / "empty.git"))
    git(project, "update-ref", "-d", "refs/remotes/origin/main")
    assert push(project, "message").returncode == 0
    assert git(tmp_path / "empty.git", "rev-list", "--count", "main").strip() == "2"


def test_hostile_names_are_names(project: Path) -> None:
    names = [
        "a b.csv",
        "a\nb.csv",
        "-rf.csv",
        "*.csv",
        "$(touch gone).csv",
        "héhé.csv",
        ":(top)x.csv",
        "q'\".csv",
    ]
    hostile = [f"results/exp/{name}" for name in names]
    write(project, dict.fromkeys([*hostile, f"{RUN}/what-the-star-would-match.csv"], "a,b\n"))
    assert push(project, "message").returncode == 0
    assert published(project) == sorted(RESULTS + hostile)
    assert not list(project.rglob("gone"))


def test_links_are_left_out(project: Path, tmp_path: Path) -> None:
    write(tmp_path, {"private.csv": "mine\n"})
    (project / "results/exp/link.csv").symlink_to(tmp_path / "private.csv")
    (project / "results/other").symlink_to(tmp_path)
    done = push(project, "message")
    assert done.returncode == 0
    assert "skipped: results/exp/link.csv: a link" in done.stderr
    assert published(project) == RESULTS


RENAMED = {
    f"{RUN}/eval.csv": (8).to_bytes(8, "little") + b'{"a":1} ' + bytes(64),
    f"{RUN}/train.csv": b"\x93NUMPY\x01\x00" + bytes(64),
    "results/exp/tokens.csv": np.arange(200, dtype="<u2").tobytes(),
    "results/exp/summary.md": b"PK\x03\x04archive/data.pkl\x80\x02}q\x00.",
    f"{RUN}/eval.npz": arrays(weight=np.ones(9)),
    "results/exp/long.csv": b"1234567\n" * 2**17 * 6,
    "results/data/toy/train.json": b"\xff\xfe{}",
}


def test_weights_and_tokens_by_another_name_are_refused(project: Path) -> None:
    write(project, RENAMED)
    done = push(project, "message")
    assert refusal(done) == "nothing was committed"
    refused = [
        line.split(": ")[1] for line in done.stderr.splitlines() if line.startswith("refused: ")
    ]
    assert sorted(refused) == sorted(RENAMED)
    assert not git(project, "diff", "--cached", "--name-only")
    assert not published(project)


def test_secrets_are_refused_and_not_shown(project: Path) -> None:
    logs = {
        f"results/logs/{number}.log": f"12:00:00 token {secret}\n"
        for number, secret in enumerate(SECRETS)
    }
    write(project, logs)
    done = push(project, "message")
    assert refusal(done) == "nothing was committed"
    for name, line in logs.items():
        assert f"refused: {name}: staged, holds a secret" in done.stderr
        assert line.split()[-1] not in done.stderr + done.stdout
    assert not published(project)


def test_what_is_staged_and_no_result_is_refused(project: Path) -> None:
    names = sorted([*(f"{RUN}/{name}" for name in BIG), "results/data/toy/train.npy", "README.md"])
    write(project, {"README.md": "changed"})
    git(project, "add", "--force", *names)
    done = push(project, "message")
    assert "unstage" in refusal(done)
    for name in names:
        assert f"refused: {name}: staged, but not one of the results" in done.stderr
    assert not published(project)
    assert sorted(git(project, "diff", "--cached", "--name-only").split()) == names, (
        "the index is as it was"
    )


def test_a_staged_weight_under_an_allowed_name_is_refused_though_the_file_is_fixed(
    project: Path,
) -> None:
    write(project, {f"{RUN}/eval.csv": b"\x93NUMPY" + bytes(9)})
    git(project, "add", "--force", f"{RUN}/eval.csv")
    (project / RUN / "eval.csv").write_text("length,ppl\n")
    assert "unstage" in refusal(push(project, "message"))


def test_commits_that_the_push_would_send_along_are_looked_through(project: Path) -> None:
    """Also when a later commit takes the files away again: the push would send both."""
    big = b"1234567\n" * 2**17 * 6
    bad = {
        "a.safetensors": b"x",
        "model": b"\x80\x02}q\x00.",
        "notes.txt": SECRETS[0].encode(),
        "big.txt": big,
    }
    write(project, bad)
    git(project, "add", *bad)
    git(project, "commit", "--quiet", "--message=oops")
    git(project, "rm", "--quiet", *bad)
    git(project, "commit", "--quiet", "--message=away")
    done = push(project, "message")
    assert "take it out of these commits" in refusal(done)
    for name in bad:
        assert f"refused: {name}: in a commit that is not pushed yet" in done.stderr
    assert not published(project)


def test_a_link_that_is_staged_is_refused(project: Path) -> None:
    (project / "results/exp/link.csv").symlink_to("/etc/passwd")
    git(project, "add", "--force", "results/exp/link.csv")
    done = push(project, "message")
    assert "unstage it" in refusal(done)
    assert "results/exp/link.csv: staged, a link" in done.stderr


def test_diverged_history_is_refused_and_never_forced(project: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "remote.git", "other")
    git(tmp_path / "other", "commit", "--quiet", "--allow-empty", "--message=theirs")
    git(tmp_path / "other", "push", "--quiet")
    theirs = git(tmp_path / "remote.git", "rev-parse", "main")
    for ours in ("behind", "diverged"):
        assert "has commits that are not here" in refusal(push(project, "message")), ours
        git(project, "commit", "--quiet", "--allow-empty", "--message=ours")
    assert git(tmp_path / "remote.git", "rev-parse", "main") == theirs


def test_without_a_remote_a_branch_or_a_repository_it_says_so(
    project: Path, tmp_path: Path
) -> None:
    git(project, "switch", "--quiet", "--detach")
    assert "HEAD is detached" in refusal(push(project, "message"))
    git(project, "switch", "--quiet", "main")
    git(project, "remote", "set-url", "origin", str(tmp_path / "nowhere"))
    assert "cannot fetch from origin" in refusal(push(project, "message"))
    git(project, "remote", "remove", "origin")
    assert "no remote origin" in refusal(push(project, "message"))
    inside = checkout(project / "inside")
    assert "not a git repository of its own" in refusal(push(inside, "message"))


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("commit_and_push.sh", [], "give one message"),
        ("commit_and_push.sh", ["two", "words"], "give one message"),
        ("commit_and_push.sh", [" \n"], "the message is empty"),
        ("commit_and_push.sh", ["--force", "message"], "--force: no such option"),
        ("commit_and_push.sh", ["--max-size", "lots", "message"], "--max-size lots: not a size"),
        ("pull_artifacts.sh", [], "give the host and the path"),
        ("pull_artifacts.sh", ["host"], "give the host and the path"),
        ("pull_artifacts.sh", ["host", ""], "give the host and the path"),
        ("pull_artifacts.sh", ["host;id", "path"], r"host\;id: not a host"),
        (
            "pull_artifacts.sh",
            ["user@-oProxyCommand=id", "path"],
            "user@-oProxyCommand=id: not a host",
        ),
        ("pull_artifacts.sh", ["-oProxyCommand=id", "path"], "-oProxyCommand=id: no such option"),
        ("pull_artifacts.sh", ["--port", "x", "host", "path"], "--port x: not a number"),
        (
            "pull_artifacts.sh",
            ["-i", "/nowhere", "host", "path"],
            "--identity /nowhere: no such file",
        ),
        ("pull_artifacts.sh", ["host", "path", "--port"], "--port: lacks its value"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    tmp_path: Path, script: str, arguments: list[str], message: str
) -> None:
    assert refusal(call(checkout(tmp_path / "here"), script, *arguments)).startswith(message)


@pytest.mark.parametrize("script", ["commit_and_push.sh", "pull_artifacts.sh"])
def test_help_shows_how_to_call_it(tmp_path: Path, script: str) -> None:
    done = call(checkout(tmp_path / "here"), script, "--help")
    assert done.returncode == 0
    assert f"  scripts/{script} [options] " in done.stdout
    assert "set -euo" not in done.stdout
