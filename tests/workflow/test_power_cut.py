"""Power cuts on a real ext4: the same command again ends with the same tables, without a hand."""

import os
import subprocess
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from support.checkout import SNAKEMAKE, fresh_checkout
from support.power import Disk, why_no_disk

COMMAND = [SNAKEMAKE, "--cores", "2", "--resources", "gpu=1", "--configfile", "tiny.yaml"]
TINY = """
run: [tiny]
experiments:
  tiny: {dataset: tiny, model: mini, training: quick, evaluation: quick,
         spectra: [geo_500k, geo_10k], seeds: [1], baseline: geo_500k}
datasets:
  tiny: {source: synthetic, train_tokens: 20_000, validation_tokens: 3_000,
         tokenizer: {train: 50_000, vocab_size: 300}}
models:
  mini: {hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 1, head_dim: 16,
         intermediate_size: 32, vocab_size: 300}
training:
  quick: {tokens: 16_384, seq_len: 64, batch_size: 16, learning_rate: 3.0e-3, precision: fp32,
          compile: false, device: cpu, log_every: 5, checkpoint_minutes: 0}
evaluation:
  quick: {lengths: [64, 256], chunks: 4}
"""
TABLES = ["summary.csv", "summary.md", "tiny/summary.csv", "tiny/runs.csv", "tiny/spectra.csv"]
CUTS = 20


def environment(folder: Path) -> dict[str, str]:
    """Caches and temporary files on the same disk: they lose as much as the results."""
    places = {name: str(folder / name) for name in ("TMPDIR", "XDG_CACHE_HOME")}
    for place in places.values():
        Path(place).mkdir(exist_ok=True)
    return os.environ | places


def start(project: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        COMMAND,
        cwd=project,
        env=environment(project),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def finish(project: Path) -> None:
    """The command once more, to its end."""
    done = subprocess.run(
        COMMAND, cwd=project, env=environment(project), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-6000:]


def tables(project: Path) -> dict[str, bytes]:
    return {name: (project / "results" / name).read_bytes() for name in TABLES}


def checkout(folder: Path) -> Path:
    project = fresh_checkout(folder / "project")
    (project / "tiny.yaml").write_text(TINY)
    return project


def moments(life: int) -> tuple[float, ...]:
    """When power goes on one disk, as shares of the time of an undisturbed run.

    The first comes at any moment of its first third, from the first second on; the others find
    what has been done since in training, evaluation and tables.
    """
    return (life % 7 + 0.5) / 7 * 0.35, 0.3, 0.3


@pytest.mark.slow
def test_20_power_cuts_end_with_the_tables_of_an_undisturbed_run(tmp_path: Path) -> None:
    reason = why_no_disk(tmp_path / "trial")
    if reason:
        pytest.skip(reason)
    undisturbed = checkout(tmp_path)
    began = time.monotonic()
    finish(undisturbed)
    life_s = time.monotonic() - began
    expected = tables(undisturbed)
    cuts = 0
    for life in count():
        if cuts >= CUTS:
            break
        with Disk(tmp_path / f"life{life}") as disk:
            project = checkout(disk.place)
            os.sync()
            for share in moments(life):
                snakemake = start(project)
                with suppress(subprocess.TimeoutExpired):
                    snakemake.wait(life_s * share)
                cuts += snakemake.poll() is None
                disk.cut_power()
                snakemake.wait()
            finish(project)
            assert tables(project) == expected
    print(f"{cuts} cuts, {life} disks")
