"""Shared fixtures: a checkout to run in, the same after a run, and the real data if present."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from rope_spectra.runtime import determinism
from support.checkout import PACKAGE, SHARED, fresh_checkout, snakemake

# Steps that tests start run the code of this checkout.
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH")])
)

# Tests run in as many processes as there are cores. With more threads than that, torch's would wait
# for each other in busy loops. A step that is given threads by its command line has these.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the tests in the background makes them and their children ignore Ctrl-C, which
# some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests compare bits too; like train and evaluate, do this before torch is imported.
determinism.pin_arithmetic()

# No test depends on time. CI draws the same examples in each run, so that only a change of the code
# can turn it red; by hand they differ.
settings.register_profile("untimed", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("untimed")


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
    """Real TinyStories, books and the NeoX tokenizer, if they are next to this checkout."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the real data excerpt (shared/data next to the repository) is not here")
    return folder
