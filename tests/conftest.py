"""What the tests share: a checkout to run in, the same after a run, and where the real data are if present."""

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

# A shell that starts the tests in the background has them, and all that they start, ignore the Ctrl-C that some of them send.
signal.signal(signal.SIGINT, signal.default_int_handler)

# As train and evaluate do before they import torch: tests compare bits too.
determinism.pin_arithmetic()

# No test depends on time. CI draws the same examples in each run, so that red is the change's doing; by hand they differ.
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
    """Real TinyStories, books and the NeoX tokenizer, where this checkout has them beside it."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the real data excerpt (shared/data beside the repository) is not here")
    return folder
