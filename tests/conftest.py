"""What the tests share: a checkout to run in, the same after a run, and where the real data are if present."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "workflow"
SNAKEMAKE = str(Path(sys.executable).with_name("snakemake"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH")]))
sys.path[:0] = [str(PACKAGE), str(Path(__file__).parent)]

from rope_spectra import provenance  # noqa: E402 (found by the path above)

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
  quick: {source: synthetic, train_tokens: 40_000, validation_tokens: 6_000, tokenizer: {train: 100_000, vocab_size: 400}}
training:
  quick: {tokens: 32_768, seq_len: 64, batch_size: 16, learning_rate: 3.0e-3, precision: fp32, compile: false,
          device: cpu, log_every: 5}
evaluation:
  quick: {lengths: [64, 256], chunks: 4}
"""

# A shell that starts the tests in the background has them, and all that they start, ignore the Ctrl-C that some of them send.
signal.signal(signal.SIGINT, signal.default_int_handler)

# As train and evaluate do before they import torch: tests compare bits too.
provenance.pin_arithmetic()

# No test depends on time. CI draws the same examples in each run, so that red is the change's doing; by hand they differ.
settings.register_profile("untimed", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("untimed")


def snakemake(project: Path, *arguments: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, in the project's folder."""
    done = subprocess.run([SNAKEMAKE, *arguments], cwd=project, capture_output=True, text=True, timeout=400)
    if ok:
        assert done.returncode == 0, done.stderr[-4000:]
    return done


def fresh_checkout(project: Path) -> Path:
    """A checkout in a folder of its own, with a tiny experiment beside the library."""
    for name in ("workflow", "profiles", "envs"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, project / name)
    (project / "quick.yaml").write_text(QUICK)
    return project


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout to run in."""
    return fresh_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def finished(fresh: Path) -> Path:
    """The same after the whole chain has run."""
    snakemake(fresh, "--cores", "2", "--resources", "gpu=1", "--configfile", "quick.yaml")
    return fresh


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real TinyStories, books and the NeoX tokenizer, where this checkout has them beside it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data excerpt (shared/data beside the repository) is not here")
    return folder
