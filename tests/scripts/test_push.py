"""scripts/commit_and_push.sh against a real bare remote; both scripts with a wrong command line."""

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from rope_spectra.artifacts import layout, seal
from rope_spectra.config.sections import EvaluationSettings
from rope_spectra.data.sentence import Sentence
from support import small_experiment as small
from support.artifacts import BIG, RUN, SMALL, arrays, call, checkout, refusal, small_results, write
from support.used import made_up_usage

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
SECRETS = {
    "hf_" + 34 * "a": "Hugging Face",
    "ghp_" + 36 * "b": "GitHub",
    "github_pat_" + 82 * "b": "GitHub",
    "glpat-" + 20 * "b": "GitLab",
    "AKIA" + 16 * "C": "AWS",
    "aws_secret_access_key = " + 10 * "aB/+": "AWS",
    '"SecretAccessKey": "' + 40 * "a" + '"': "AWS",
    "-----BEGIN OPENSSH " + "PRIVATE KEY-----": "private key",
    '"private_key": "-----BEGIN ' + 'PRIVATE KEY-----\\nMII"': "private key",
    '"private_key_id": "' + 40 * "0" + '"': "private key",
    "WANDB_API_KEY=" + 40 * "0": "W&B",
    "machine api.wandb.ai\n  login user\n  password " + 40 * "f": "W&B",
    "wandb_v1_" + 77 * "x": "W&B",
    "AIza" + 35 * "d": "Google",
    "GOCSPX-" + 28 * "d": "Google",
    "npm_" + 36 * "e": "npm",
    "//registry.npmjs.org/:_authToken=" + 36 * "e": "npm",
    "pypi-AgE" + 60 * "f": "PyPI",
    "DefaultEndpointsProtocol=https;AccountKey=" + 86 * "g" + "==": "Azure",
    "abc8Q~" + 34 * "h": "Azure",
    "AZURE_OPENAI_API_KEY=" + 32 * "1": "Azure",
    "https://x.blob.core.windows.net/c?sv=1&sig=" + 43 * "i": "Azure",
    "xoxb-" + 20 * "1": "Slack",
    "https://hooks.slack.com/services/T" + 8 * "0" + "/B" + 8 * "0" + "/" + 24 * "j": "Slack",
    "sk-" + 40 * "k": "language model",
    "https://user:" + "hunter2@example.org/x.git": "password in a URL",
    "postgres://:" + "p%40ss@[::1]/db": "password in a URL",
    "A100_SSH_PASS=" + "hunter2": "pull script",
    '"A100_SSH_PASS": ' + '"hunter2"': "pull script",
    "SSHPASS=" + "x": "pull script",
}
# As in results, logs and the code of this project.
NO_SECRETS = [
    "https://example.org:8443/path@2",
    "https://user@example.org/x.git",
    "https://user:$TOKEN@example.org/x.git",
    "ssh://git@example.org:22/x.git",
    "sha256 " + 64 * "0",
    "revision " + 40 * "0",
    "give --identity or set A100_SSH_PASS",
    "risk-" + 40 * "k",
    "wandb 0.19, datasets 4.0, torch 2.9",
    "aws-eu-west-1, train_tokens: 1_000_000",
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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results that the steps wrote: a run in one experiment, evaluated with the retrieval probe.

    A second run, of another seed, is evaluated without it.
    """
    folder = tmp_path_factory.mktemp("made")
    with contextlib.chdir(folder):
        design = small.make_experiment(spectra=["geo"], seeds=[1, 2])
        sentence = Path("results/data/toy/sentence.json")
        words = Sentence(before=(75, 58), after=(46,), values=tuple(range(100, 132)))
        seal.write(sentence, words.model_dump())
        probed = small.EXPERIMENT["evaluation"]["toy"] | {"retrieval": {"trials": 10}}
        settings = small.freeze(Path("results/small/probed.json"), EvaluationSettings(**probed))
        arguments = small.evaluate_arguments(small.folder_of("geo", 2))
        small.done("evaluate", *arguments, "--sentence", sentence, "--settings", settings)
        small.done("page", *small.page_arguments(design))
    return folder


def test_what_the_steps_wrote_is_published_with_every_kind_of_evaluation(
    project: Path, made: Path
) -> None:
    shutil.rmtree(project / "results")
    shutil.copytree(made / "results", project / "results")
    kept = project / "results/.kept"
    write(kept, {"evaluations/0/eval.csv": "", "x.json": "{}", "a/seed1/run.json": "{}"})
    done = push(project, "message")
    assert done.returncode == 0, done.stderr
    names = published(project)
    assert {f"results/small/geo/seed{seed}/eval.npz" for seed in (1, 2)} < set(names)
    with np.load(made / "results/small/geo/seed2/eval.npz") as arrays_of_probed:
        assert "none/32/retrieval" in arrays_of_probed
    left_out = {
        str(path.relative_to(project))
        for path in (project / "results").rglob("*")
        if path.is_file() and kept not in path.parents
    } - set(names)
    assert {re.sub(".*/", "", name) for name in left_out} == {
        *("model.safetensors", "train.npy", "validation.npy"),
        *("tokenizer.json", "token_bytes.npy", "record.json"),
        *(Path(name).name for name in left_out if "/shards/" in name),
    }
    assert not [name for name in names if "/.kept/" in name]


@pytest.mark.parametrize("hook", ["pre-commit", "post-commit"])
def test_what_a_commit_hook_changes_is_not_pushed(project: Path, hook: str) -> None:
    """Such as one that ends every file with a line, or that commits once more."""
    file = project / ".git/hooks" / hook
    more = "git -c core.hooksPath=/ commit --quiet --amend --no-edit" if "post" in hook else ""
    file.write_text(f"#!/bin/sh\necho x >> {RUN}/eval.csv; git add -f {RUN}/eval.csv\n{more}\n")
    file.chmod(0o755)
    done = push(project, "message")
    assert "nothing was pushed" in refusal(done)
    assert f"changed by a hook: {RUN}/eval.csv" in done.stderr
    assert not published(project)
    file.unlink()
    git(project, "reset", "--quiet", "--soft", "HEAD~1")
    assert push(project, "message").returncode == 0


def test_the_store_of_finished_results_is_no_result(project: Path) -> None:
    write(project, {"results/.kept/x.json": "{}"})
    git(project, "add", "--force", "results/.kept/x.json")
    done = push(project, "message")
    assert "unstage" in refusal(done)
    assert "results/.kept/x.json: staged, but not one of the results" in done.stderr


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
        "search": "e",
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
    left_out |= {layout.HF, layout.CURVES, layout.KEPT, layout.CHECKPOINT, layout.INTERACTIVE}
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


def test_arrays_of_the_tasks_and_of_the_use_of_pairs_are_published(project: Path) -> None:
    probe = "none/64/retrieval/keys"
    tasks = {probe: np.ones(9), f"{probe}/distance": np.ones(9), f"{probe}/control": np.ones(9)}
    new = {
        f"{RUN}/eval.npz": arrays(**tasks),
        f"{RUN}/usage.npz": arrays(**made_up_usage(16, pairs=4)),
    }
    write(project, new)
    done = push(project, "--dry-run", "message")
    assert done.returncode == 0, done.stderr
    assert {line.split("\t")[1] for line in done.stdout.splitlines()} >= set(new)


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
        f"results/logs/{number}.log": f"12:00:00 started\n12:00:01 with {secret} and more\n"
        for number, secret in enumerate(SECRETS)
    }
    write(project, logs)
    done = push(project, "message")
    assert refusal(done) == "nothing was committed"
    for name, (secret, kind) in zip(logs, SECRETS.items(), strict=True):
        line = next(line for line in done.stderr.splitlines() if f"refused: {name}: " in line)
        assert re.search(rf"staged, holds a secret \(an? .*{kind}.*, line 2\)", line), secret
        assert secret.split("\n")[-1].split()[-1] not in done.stderr + done.stdout
    assert not published(project)


def test_what_only_looks_like_a_secret_is_published(project: Path) -> None:
    write(project, {"results/logs/a.log": "\n".join(NO_SECRETS)})
    done = push(project, "message")
    assert done.returncode == 0, done.stderr


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
        "notes.txt": next(iter(SECRETS)).encode(),
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
