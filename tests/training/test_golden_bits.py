"""What settings mean, to the bit: the same code gives the same weights and losses for good.

A run is identified by its settings and RECIPE, so finished runs are taken for what the code of
today would train. A change of the arithmetic without a raised RECIPE would make that a lie.
"""

import json
import os
import platform
import subprocess
import sys

import pytest
import torch

from rope_spectra.config.frozen import RECIPE
from support.checkout import PACKAGE, ROOT

# With these the bits do not depend on the processor; found by leaving out each, on an EPYC with
# AVX-512, and by running on an emulated Nehalem (qemu), which has not even AVX.
ANY_PROCESSOR = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "MKL_DYNAMIC": "FALSE",
    "OMP_NUM_THREADS": "1",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    # Made no difference here; numpy and the C library choose their kernels by the processor, too.
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F,-AVX2_Usable,-FMA_Usable",
}
# By the version of torch, which chooses its sums anew in each.
GOLDEN = {
    "2.13.0+cpu": {
        "recipe": 1,
        "geometric: initial weights": "59ae4562eb32421f",
        "geometric: weights after 12 steps": "d295554048faebb3",
        "geometric: evaluation": "a0e0dfe740930423",
        "mix: initial weights": "59ae4562eb32421f",
        "mix: weights after 12 steps": "accdae9b189e0292",
        "mix: evaluation": "9c4f058da46775f7",
    }
}
REMEDY = (
    "the arithmetic of training or evaluation has changed: undo that, or raise RECIPE in"
    " config/frozen.py, on purpose, and put the new values into this test"
)


def study(**variables: str) -> dict[str, str | int]:
    """The hashes of a tiny study, computed by a process with that environment."""
    path = os.pathsep.join([str(PACKAGE), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-m", "support.golden_bits"],
        env=os.environ | ANY_PROCESSOR | variables | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {"recipe": RECIPE, **json.loads(done.stdout)}


@pytest.fixture
def golden() -> dict[str, str | int]:
    if platform.machine() != "x86_64":
        pytest.skip(f"the golden bits are those of x86_64, this is {platform.machine()}")
    if torch.__version__ not in GOLDEN:
        pytest.skip(f"no golden bits for torch {torch.__version__}, only for {', '.join(GOLDEN)}")
    return GOLDEN[torch.__version__]


def test_training_and_evaluation_have_their_golden_bits(golden: dict[str, str | int]) -> None:
    assert study() == golden, REMEDY


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables",
    [
        {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
        {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "NPY_DISABLE_CPU_FEATURES": "", "GLIBC_TUNABLES": ""},
    ],
)
def test_the_processor_does_not_matter_to_the_golden_bits(
    golden: dict[str, str | int], variables: dict[str, str]
) -> None:
    assert study(**variables) == golden
