"""Checkouts to run in, and Snakemake as a user calls it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "workflow"
# Real data and published numbers, if they are next to this checkout.
SHARED = ROOT.parent / "shared"
SNAKEMAKE = str(Path(sys.executable).with_name("snakemake"))

QUICK = """
run: [quick]
experiments:
  quick:
    dataset: quick
    model: tiny
    training: quick
    evaluation: quick
    spectra: [geo_500k, hybrid_a0.2_t100k]
    seeds: [1, 2]
    baseline: geo_500k
datasets:
  quick: {source: synthetic, train_tokens: 40_000, validation_tokens: 6_000,
          tokenizer: {train: 100_000, vocab_size: 400}}
training:
  quick: {tokens: 32_768, seq_len: 64, batch_size: 16, learning_rate: 3.0e-3, precision: fp32,
          compile: false, device: cpu, log_every: 5}
evaluation:
  quick: {lengths: [64, 256], chunks: 4}
"""


def snakemake(project: Path, *arguments: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, in the project's folder."""
    done = subprocess.run(
        [SNAKEMAKE, *arguments], cwd=project, capture_output=True, text=True, timeout=400
    )
    if ok:
        assert done.returncode == 0, done.stderr[-4000:]
    return done


def fresh_checkout(project: Path) -> Path:
    """A checkout in a folder of its own, with a tiny experiment in a second configuration file."""
    for name in ("workflow", "profiles", "envs"):
        shutil.copytree(
            ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, project / name)
    (project / "quick.yaml").write_text(QUICK)
    return project


def job_counts(output: str) -> dict[str, int]:
    """The jobs that a run announces, as rule -> count: in a line, or a dry run in a table.

    The line leaves out those that only write down settings.
    """
    line = re.search(r"^to do: (.*)$", output, re.MULTILINE)
    if line:
        return {rule: int(count) for count, rule in map(str.split, line[1].split(", "))}
    table = output.partition("Job stats:")[2].partition("total")[0].splitlines()[3:]
    return {rule: int(count) for rule, count in (line.split() for line in table if line.strip())}


def planned(project: Path, *arguments: str) -> dict[str, int]:
    return job_counts(snakemake(project, "-n", *arguments).stdout)
