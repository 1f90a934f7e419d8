"""scripts/pull_artifacts.sh from a real sshd on a loopback port, with keys of its own.

Slow. Skipped without sshd, ssh or rsync (Debian: openssh-server, rsync). The login by password also
needs root and sshpass.
"""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from support.artifacts import (
    RUN,
    SMALL,
    arrays,
    call,
    checkout,
    refusal,
    small_results,
    tree,
    write,
)
from support.checkout import QUICK, ROOT, job_counts, snakemake

pytestmark = pytest.mark.slow

USER = "rope-pull-test"
PASSWORD = "correct horse"
TABLES = {"all", "summary", "aggregate", "page", "figures", "published"}
TABLES |= {"appearance", "interactive"}
PULLED = sorted([*SMALL.keys() - {"results/summary.csv"}, f"{RUN}/eval.npz"])
# A second host repeats the baseline in an experiment of its own, like the halves of the study.
TWO = QUICK.replace("  quick:\n", "  quick: &quick\n", 1).replace(
    "\ndatasets:", "\n  other: {<<: *quick, spectra: [geo_500k]}\ndatasets:"
)


@dataclass
class Host:
    """An sshd that lets this user in.

    `folder` holds its keys and the ssh configuration of a client that knows it.
    """

    folder: Path
    port: int

    def pull(
        self, here: Path, there: Path | str, *options: str | Path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        arguments = [
            "-p",
            str(self.port),
            "-F",
            self.folder / "config",
            "-i",
            self.folder / "user key",
            *options,
        ]
        return call(here, "pull_artifacts.sh", *arguments, "127.0.0.1", there, **environment)

    def client(self, name: str, *lines: str) -> Path:
        """Another ssh configuration next to the usual one; its lines win."""
        path = self.folder / name
        path.write_text("\n".join([*lines, (self.folder / "config").read_text()]))
        return path


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    sshd = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
    if not (sshd and shutil.which("ssh-keygen") and shutil.which("rsync")):
        pytest.skip("sshd, ssh and rsync (Debian: openssh-server, rsync) are not installed")
    folder = tmp_path_factory.mktemp("ssh")
    for key in ("host", "other", "user key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    known = f"[127.0.0.1]:{port} "
    (folder / "known").write_text(known + (folder / "host.pub").read_text())
    (folder / "changed").write_text(known + (folder / "other.pub").read_text())
    (folder / "config").write_text(
        f"UserKnownHostsFile {folder}/known\nGlobalKnownHostsFile none\n"
        "IdentityAgent none\nIdentitiesOnly yes\n"
        "StrictHostKeyChecking no\n"  # as in the study; the script must ignore it
    )
    shutil.copy(folder / "user key.pub", folder / "authorized")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n"
        f"PidFile none\nUsePAM no\nStrictModes no\nAuthorizedKeysFile {folder}/authorized\n"
        "PermitRootLogin prohibit-password\nPasswordAuthentication yes\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(
            exist_ok=True
        )  # where sshd locks its unprivileged part in; Debian makes it at boot
    with subprocess.Popen(
        [sshd, "-D", "-e", "-f", folder / "sshd_config"], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            if not any("listening on" in line for line in process.stderr):
                pytest.fail("sshd did not start")
            yield Host(folder, port)
        finally:
            process.terminate()


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return small_results(tmp_path / "the host's checkout")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return checkout(tmp_path / "here")


def files(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder))
        for path in (folder / "results").rglob("*")
        if not path.is_dir()
    )


def checkout_of(project: Path, folder: Path, *, results: bool) -> Path:
    """A copy of a checkout with the scripts: as it is, or as if cloned."""
    left_out = {"scripts"} if results else {"scripts", "results", ".snakemake"}

    def ignored(directory: str, names: list[str]) -> set[str]:
        return left_out & set(names) if Path(directory) == project else set()

    shutil.copytree(project, folder, ignore=ignored, symlinks=True)
    return checkout(folder)


def test_after_a_pull_nothing_is_left_to_train(
    host: Host, finished: Path, fresh: Path, tmp_path: Path
) -> None:
    """Also if the host has touched its manifests since: only the host knows they are unchanged."""
    there = checkout_of(finished, tmp_path / "there", results=True)
    here = checkout_of(fresh, tmp_path / "here", results=False)
    for name in (
        "data/quick/train.json",
        "data/quick/validation.json",
        "quick/evaluation.json",
        "quick/geo_500k/seed1/config.json",
    ):
        (there / "results" / name).touch()
    assert host.pull(here, there).returncode == 0
    names = files(here)
    assert not [
        name
        for name in names
        if name.endswith((".safetensors", ".npy", "tokenizer.json")) or "/shards" in name
    ]
    assert "results/quick/geo_500k/seed2/eval.npz" in names
    assert job_counts(snakemake(here, "-n", "--configfile", "quick.yaml").stdout).keys() <= TABLES
    snakemake(here, "--configfile", "quick.yaml")
    for name in ("results/summary.csv", "results/quick/runs.csv"):
        assert (here / name).read_bytes() == (there / name).read_bytes()
    assert "Nothing to be done" in snakemake(here, "-n", "--configfile", "quick.yaml").stdout
    assert host.pull(here, there).returncode == 0
    assert "Nothing to be done" in snakemake(here, "-n", "--configfile", "quick.yaml").stdout, (
        "only logs have come again"
    )


def test_a_clone_of_published_results_trains_nothing_after_touch(
    finished: Path, fresh: Path, tmp_path: Path
) -> None:
    """git keeps no times; here the order is the worst one, and weights and caches are missing."""
    clone = checkout_of(fresh, tmp_path / "clone", results=False)
    for name in reversed(files(finished)):
        if not name.endswith((".safetensors", ".npy", "tokenizer.json")):
            write(clone, {name: (finished / name).read_bytes()})
    snakemake(clone, "--touch", "--configfile", "quick.yaml")
    assert "Nothing to be done" in snakemake(clone, "-n", "--configfile", "quick.yaml").stdout


def test_the_runs_of_two_hosts_merge_into_one_leaderboard(
    host: Host, finished: Path, fresh: Path, tmp_path: Path
) -> None:
    """B tokenizes after A has trained; both have geo_500k, and the page shows the difference."""
    here, b = (checkout_of(fresh, tmp_path / name, results=False) for name in ("here", "b"))
    for project in (here, b):
        (project / "two.yaml").write_text(TWO)
    shutil.copytree(finished / "results/data", b / "results/data")
    for path in (b / "results/data").rglob("*"):
        path.touch()
    snakemake(
        b,
        "--touch",
        "results/data/quick/train.npy",
        "results/data/quick/validation.npy",
        "--configfile",
        "two.yaml",
    )
    snakemake(b, "--configfile", "two.yaml", "--cores", "2", "--config", "run=other")
    for there in (finished, b):
        assert host.pull(here, there).returncode == 0
    both = ("--configfile", "two.yaml", "--config", "run=quick,other")
    assert job_counts(snakemake(here, "-n", *both).stdout).keys() <= TABLES
    snakemake(here, "results/summary.md", *both)
    page = (
        (here / "results/summary.md")
        .read_text()
        .partition("`full`")[2]
        .partition("`first_chunks`")[0]
    )
    rows = [
        [cell.strip() for cell in line.split("|")[1:4]]
        for line in page.splitlines()
        if line.startswith("| ")
    ][2:]
    assert [rank for rank, *_ in rows] == ["1", "2", "3"]
    assert {tuple(row) for _, *row in rows} == {
        ("quick", "geo_500k"),
        ("quick", "hybrid_a0.2_t100k"),
        ("other", "geo_500k"),
    }
    assert "geo_500k: 0 %" in (here / "results/summary.md").read_text()


def test_seeds_of_one_experiment_from_two_hosts_are_tabled_together(
    host: Host, here: Path, tmp_path: Path
) -> None:
    """Each host's table lacks the other's seed, so it is made to look old and is made again."""
    one, two = small_results(tmp_path / "one"), small_results(tmp_path / "two")
    (two / RUN).rename(two / "results/exp/geo_500k/seed2")
    write(two, {"results/exp/runs.csv": "experiment,spectrum,seed,ppl\nexp,geo_500k,2,9.6\n"})
    assert host.pull(here, one).returncode == 0
    evaluation, table = here / RUN / "eval.csv", here / "results/exp/runs.csv"
    assert table.stat().st_mtime_ns == (one / "results/exp/runs.csv").stat().st_mtime_ns
    assert host.pull(here, two).returncode == 0
    assert table.stat().st_mtime_ns < evaluation.stat().st_mtime_ns


def test_only_what_is_listed_comes_and_its_time_is_kept(
    host: Host, there: Path, here: Path
) -> None:
    """The key is tried first: the password, which is wrong, is not."""
    before = tree(there)
    done = host.pull(here, there, A100_SSH_PASS="wrong")
    assert done.returncode == 0, done.stderr
    assert files(here) == PULLED
    for name in PULLED:
        assert (here / name).read_bytes() == (there / name).read_bytes()
    assert (here / RUN / "eval.csv").stat().st_mtime_ns == (
        there / RUN / "eval.csv"
    ).stat().st_mtime_ns
    assert tree(there) == before
    assert host.pull(here, there).stderr.startswith("0 new or changed files")


def test_the_arrays_of_every_kind_of_evaluation_come_and_the_store_stays(
    host: Host, there: Path, here: Path
) -> None:
    probed = arrays(**{"pi/64/retrieval": np.ones((2, 10), np.float32), "none/64/nll": np.ones(2)})
    write(there, {f"{RUN}/eval.npz": probed, "results/.kept/evaluations/0/eval.json": "{}"})
    done = host.pull(here, there)
    assert done.returncode == 0, done.stderr
    assert files(here) == PULLED
    assert (here / RUN / "eval.npz").read_bytes() == probed


@pytest.mark.parametrize("known", ["changed", "empty"])
def test_a_host_key_that_is_not_the_known_one_is_refused(
    host: Host, there: Path, here: Path, known: str
) -> None:
    (host.folder / "empty").touch()
    config = host.client("strict", f"UserKnownHostsFile {host.folder / known}")
    before = tree(here)
    done = host.pull(here, there, "-F", config, A100_SSH_PASS=PASSWORD)
    assert "its host key is not the known one" in refusal(done)
    assert tree(here) == before


def test_a_login_that_fails_and_a_folder_that_is_missing_are_named(
    host: Host, there: Path, here: Path
) -> None:
    before = tree(here)
    assert "login refused" in refusal(
        host.pull(here, there, "-F", host.client("nobody", "User nobody-at-all"))
    )
    assert "has no folder" in refusal(host.pull(here, there / "nowhere"))
    assert "ssh failed" in refusal(
        host.pull(here, there, "-F", host.client("closed", "HostName 127.0.0.2"))
    )
    banner = "ProxyCommand printf 'SSH-2.0-\\033]0;pwned\\007\\n' # %h"
    done = host.pull(here, there, "-F", host.client("rude", banner))
    assert "ssh failed" in refusal(done)
    assert "\x1b" not in done.stderr
    assert tree(here) == before


@pytest.fixture
def account() -> Iterator[Path]:
    """A user of this machine with a password, for the time of a test; yields the home directory."""
    if os.getuid() != 0 or not (shutil.which("sshpass") and shutil.which("useradd")):
        pytest.skip("a login by password needs root, useradd and sshpass (Debian: sshpass)")
    home = Path(tempfile.mkdtemp())
    secret = subprocess.run(
        ["openssl", "passwd", "-6", PASSWORD], check=True, capture_output=True, text=True
    ).stdout.strip()
    subprocess.run(
        ["useradd", "--no-create-home", "--home-dir", home, "--password", secret, USER], check=True
    )
    try:
        home.chmod(0o755)
        yield home
    finally:
        subprocess.run(["userdel", USER], check=True, capture_output=True)
        shutil.rmtree(home)


def test_a_password_is_taken_from_the_environment_and_nowhere_else(
    host: Host, account: Path, here: Path
) -> None:
    small_results(account / "study")
    (host.folder / "authorized").rename(host.folder / "away")
    try:
        config = host.client("by password", f"User {USER}")
        assert "login refused" in refusal(host.pull(here, "study", "-F", config))
        wrong = host.pull(here, "study", "-F", config, A100_SSH_PASS="wrong")
        assert "login refused" in refusal(wrong)
        done = host.pull(here, "~/study", "-F", config, A100_SSH_PASS=PASSWORD)
    finally:
        (host.folder / "away").rename(host.folder / "authorized")
    assert done.returncode == 0, done.stderr
    assert files(here) == PULLED
    assert PASSWORD not in done.stdout + done.stderr


def test_an_interrupted_copy_resumes_where_it_stopped(host: Host, there: Path, here: Path) -> None:
    """The connection is cut after 2 of 4 MB that do not compress; the rest takes less than 3 MB."""
    write(there, {"results/logs/long.log": random.Random(0).randbytes(2_000_000).hex()})
    relay = host.client(
        "relay",
        f"ProxyCommand {sys.executable} {ROOT}/tests/support/relay.py {host.port} ${{LIMIT}}",
    )
    cut = host.pull(here, there, "-F", relay, LIMIT="2000000")
    assert "the copy ended early" in refusal(cut)
    assert not [name for name in files(here) if "/.incoming/" not in name], (
        "nothing is seen before all of it was looked at"
    )
    done = host.pull(here, there, "-F", relay, LIMIT="3000000")
    assert done.returncode == 0, done.stderr
    assert files(here) == sorted([*PULLED, "results/logs/long.log"])
    assert (here / "results/logs/long.log").read_bytes() == (
        there / "results/logs/long.log"
    ).read_bytes()


def test_hostile_names_are_names_and_links_stay_there(
    host: Host, there: Path, here: Path, tmp_path: Path
) -> None:
    names = [
        "a b.csv",
        "a\nb.csv",
        "-rf.csv",
        "*.csv",
        "$(touch gone).csv",
        "q'\".csv",
        "\x1b[31m.csv",
    ]
    hostile = [f"results/exp/{name}" for name in names]
    write(there, dict.fromkeys(hostile, "a,b\n"))
    write(tmp_path, {"private/figures/private.svg": "mine", "private/private.csv": "mine"})
    (there / "results/exp/absolute.csv").symlink_to(tmp_path / "private/private.csv")
    (there / "results/exp/relative.csv").symlink_to("../../../private/private.csv")
    (there / "results/linked").symlink_to(tmp_path / "private")
    done = host.pull(here, there)
    assert done.returncode == 0, done.stderr
    assert files(here) == sorted(PULLED + hostile)
    assert not list(tmp_path.rglob("gone"))
    assert "\x1b" not in done.stdout + done.stderr
    assert "absolute.csv" in done.stdout


def test_weights_and_tokens_by_another_name_are_refused_and_named(
    host: Host, there: Path, here: Path
) -> None:
    bad = {
        f"{RUN}/eval.csv": (8).to_bytes(8, "little") + b'{"a":1} ' + bytes(64),
        f"{RUN}/train.csv": b"\x93NUMPY\x01\x00" + bytes(64),
        "results/exp/tokens.csv": np.arange(200, dtype="<u2").tobytes(),
        "results/exp/-f.md": b"PK\x03\x04archive/data.pkl\x80\x02}q\x00.",
        f"{RUN}/eval.npz": arrays(weight=np.ones(9)),
    }
    write(there, bad | {"results/logs/long.log": b"1234567\n" * 2**17 * 6})
    done = host.pull(here, there)
    assert refusal(done).startswith("6 files were refused")
    for name in bad:
        assert f"refused: {name.removeprefix('results/')}: " in done.stderr
    assert "logs/long.log is over max-size" in done.stdout
    assert files(here) == sorted(set(PULLED) - set(bad))
    assert host.pull(here, there, "--max-size", "7M").returncode == 1
    assert "results/logs/long.log" in files(here)


def test_a_dry_run_changes_nothing(host: Host, there: Path, here: Path) -> None:
    before = tree(here)
    done = host.pull(here, there, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "exp/geo_500k/seed1/eval.csv" in done.stdout
    assert "model.safetensors" not in done.stdout
    assert tree(here) == before


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        (f"{RUN}/run.json", "another run"),
        (f"{RUN}/config.json", "another run"),
        ("results/data/toy/train.json", "other data"),
        ("results/exp/evaluation.json", "the runs there were evaluated with other settings"),
    ],
)
def test_another_run_of_the_same_name_replaces_nothing_unless_asked(
    host: Host, there: Path, here: Path, name: str, meaning: str
) -> None:
    assert host.pull(here, there).returncode == 0
    write(there, {name: json.dumps({"other": 1}), f"{RUN}/eval.csv": "length,ppl\n64,1.5\n"})
    before = tree(here / "results")
    done = host.pull(here, there)
    assert "nothing was replaced" in refusal(done)
    assert f"differs: {name}: {meaning}" in done.stderr
    assert {path: entry[1] for path, entry in tree(here / "results").items()} == {
        p: entry[1] for p, entry in before.items()
    }
    assert host.pull(here, there, "--replace").returncode == 0
    assert (here / name).read_text() == '{"other": 1}'


def test_a_log_that_has_grown_is_taken_again(host: Host, there: Path, here: Path) -> None:
    assert host.pull(here, there).returncode == 0
    log = "results/logs/train/exp/geo_500k/seed1.log"
    write(there, {log: "12:00:00 done: 3 %\n12:00:10 done: 4 %\n"})
    assert "1 new or changed files" in host.pull(here, there).stderr
    assert (here / log).read_text().endswith("4 %\n")
