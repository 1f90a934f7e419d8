"""The path of a GPU where there is none: devices, types and sizes of all that runs on it.

Each rule is seen to hold, and to break by a fault that is put into the code.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from support import fake_card
from support.checkout import PACKAGE, ROOT

pytestmark = pytest.mark.slow

Found = dict[str, Any]

VOCABULARY, WIDTH, ROW, LONG = 50304, 512, 2048, 16384
STEP, SEARCH, SCORES = "step", "_micro_batch_size", "attention_by_distance"
EVALUATION = ("token_nll", "candidate_nll")
PRODUCTS = {"mm", "bmm", "linear", "matmul", "_scaled_dot_product_flash_attention"}
PRODUCTS |= {"_scaled_dot_product_flash_attention_backward"}
# In fp32 whatever the autocast: angles, rotation (the only one to negate), embedding, norms, loss.
FP32 = {"cos", "sin", "neg", "embedding", "rsqrt", "rms_norm", "_log_softmax", "log_softmax"}
FP32 |= {"cross_entropy_loss", "nll_loss_forward"}
A_FEW = 16


@pytest.fixture(scope="module")
def rehearsals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """What each scenario of support.rehearsal has found, by its name or that of its fault."""
    if torch.version.cuda or torch.version.hip:
        pytest.skip("this build of torch has a CUDA of its own; the card is made up for CPU builds")
    if shutil.which("g++") is None:
        pytest.skip("the card that is not there needs a C++ compiler, g++")
    path = os.pathsep.join([str(PACKAGE), str(ROOT / "tests")])
    library = fake_card.build(tmp_path_factory.mktemp("card"))
    done = subprocess.run(
        [sys.executable, "-m", "support.rehearsal"],
        env=os.environ | {"PYTHONPATH": path, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Found] = json.loads(done.stdout)
    return found


def on_the_card(found: Found) -> list[Any]:
    """Tensors that stayed on the CPU, and all but a few elements that were made there."""
    held = [each for made in found.get("tensors", []) for each in made.items()]
    wrong: list[Any] = [each for each in held if not each[1].startswith("cuda ")]
    for each in found["operations"]:
        from_cpu, to_cpu = _has_cpu(each["inputs"]), _has_cpu(each["outputs"])
        from_card = any(kind.startswith("cuda ") for kind in each["inputs"])
        is_data = each["name"] in ("lift_fresh", "_pin_memory") or from_card
        is_made = to_cpu and each["largest"] > A_FEW and not is_data
        if each["phase"] != "outside" and (is_made or (from_cpu and from_card)):
            wrong.append(each)
    return wrong


def _has_cpu(kinds: list[str]) -> bool:
    return any(kind.startswith("cpu ") for kind in kinds)


def held_in_fp32(found: Found) -> list[Any]:
    """Parameters, buffers and moments of another type."""
    held = [each for made in found.get("tensors", []) for each in made.items()]
    return [each for each in held if not each[1].endswith(" float32")]


def products_in_bf16(found: Found) -> list[Any]:
    """Products of other factors; those of `usage` are in fp32 on purpose."""
    wrong = []
    for each in found["operations"]:
        if each["name"] in PRODUCTS and each["phase"] != SCORES:
            kinds = {*each["inputs"][:2], each["outputs"][0]}
            if kinds != {"cuda bfloat16"}:
                wrong.append(each)
    return wrong


def the_rest_in_fp32(found: Found) -> list[Any]:
    """Sums of two tensors, which the residual stream is made of, and what FP32 names."""
    wrong = []
    for each in found["operations"]:
        is_sum = each["name"] == "add" and len(each["inputs"]) == 2
        if (is_sum or each["name"] in FP32) and "cuda bfloat16" in each["outputs"]:
            wrong.append(each)
    return wrong


def a_step_reads_nothing(found: Found) -> list[Any]:
    """Values that a step waits for."""
    return [
        each
        for each in found["operations"]
        if each["phase"] == STEP
        and (
            each["name"] == "_local_scalar_dense"
            or (_has_cpu(each["outputs"]) and not _has_cpu(each["inputs"]))
        )
    ]


def batches_are_pinned(found: Found) -> list[Any]:
    """Batches that a step copies from memory that was not pinned, or wider than they came."""
    step = [each for each in found["operations"] if each["phase"] == STEP]
    pinned = {kind for each in step if each["name"] == "_pin_memory" for kind in each["outputs"]}
    copied = [each for each in step if _has_cpu(each["inputs"]) and "cuda" in str(each["outputs"])]
    return [
        each for each in copied if set(each["inputs"]) - pinned or each["inputs"] != ["cpu int16"]
    ]


def evaluation_is_small(found: Found) -> list[Any]:
    """Tensors of a pass larger than the logits of 1,024 positions."""
    passes = [each for each in found["operations"] if each["phase"] in EVALUATION]
    return [each for each in passes if each["largest"] > 1024 * VOCABULARY]


def what_failed_is_freed(found: Found) -> list[Any]:
    """More than the weights on the card, in parts of them, after a size of rows was tried."""
    return [size for size in found.get("alive", []) if size > 1.1]


RULES: list[Callable[[Found], list[Any]]] = [
    on_the_card,
    held_in_fp32,
    products_in_bf16,
    the_rest_in_fp32,
    a_step_reads_nothing,
    batches_are_pinned,
    evaluation_is_small,
    what_failed_is_freed,
]


@pytest.mark.parametrize("scenario", ["train", "evaluate", "search", "two_steps", "long_text"])
@pytest.mark.parametrize("rule", RULES)
def test_the_rules_hold(
    rehearsals: dict[str, Found], scenario: str, rule: Callable[[Found], list[Any]]
) -> None:
    assert rehearsals[scenario].get("error") is None
    assert rule(rehearsals[scenario]) == []


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        ("spectrum left on the CPU", on_the_card),
        ("moments left on the CPU", on_the_card),
        ("ids widened on the CPU", on_the_card),
        ("weights in bf16", held_in_fp32),
        ("training without autocast", products_in_bf16),
        ("evaluation without autocast", products_in_bf16),
        ("logits in fp32", products_in_bf16),
        ("residual in bf16", the_rest_in_fp32),
        ("rotated in bf16", the_rest_in_fp32),
        ("losses that are read", a_step_reads_nothing),
        ("ids widened on the CPU", batches_are_pinned),
        ("ids not pinned", batches_are_pinned),
        ("all logits at once", evaluation_is_small),
        ("attention as a matrix", evaluation_is_small),
        ("errors that are kept", what_failed_is_freed),
    ],
)
def test_a_fault_breaks_its_rule(
    rehearsals: dict[str, Found], fault: str, rule: Callable[[Found], list[Any]]
) -> None:
    assert rule(rehearsals[fault])


def test_a_training_is_stopped_and_resumes_on_the_card(rehearsals: dict[str, Found]) -> None:
    found = rehearsals["train"]
    record = found["record"]
    assert (record["device"]["type"], record["device"]["attention"]) == ("cuda", "flash")
    assert (record["steps"], record["resumed_at_steps"]) == (4, [2])
    before, after = found["tensors"]
    assert before == after
    assert {"inv_freq", "step of norm.weight", "exp_avg of embed_tokens.weight"} < after.keys()


def test_the_largest_micro_batch_that_fits_is_found(rehearsals: dict[str, Found]) -> None:
    found = rehearsals["train"]
    assert found["tried"] == 2 * [[32, False], [16, True]]
    assert found["record"]["micro_batch_size"] == 16
    assert found["gradients"] == []
    assert len(rehearsals["search"]["alive"]) == 2


def largest(found: Found, phase: str, *names: str) -> int:
    return max(
        each["largest"]
        for each in found["operations"]
        if each["phase"] == phase and each["name"] in names
    )


def test_what_a_step_and_a_pass_make_has_the_shapes_of_the_study(
    rehearsals: dict[str, Found],
) -> None:
    training, evaluation = rehearsals["train"], rehearsals["evaluate"]
    assert largest(training, SEARCH, "mm") == 32 * ROW * VOCABULARY
    assert largest(training, STEP, "mm") == 16 * ROW * VOCABULARY
    assert largest(training, STEP, "embedding") == 16 * ROW * WIDTH
    assert largest(evaluation, "token_nll", "linear") == 1024 * VOCABULARY
    assert largest(evaluation, "token_nll", "embedding") == LONG * WIDTH
    # The value that is asked for is scored and not read.
    assert largest(evaluation, "candidate_nll", "embedding") == (LONG - 1) * WIDTH
    assert largest(evaluation, SCORES, "matmul") <= 2**24
    assert evaluation["tied"]
    for remap in ("none", "yarn"):
        assert evaluation["shapes"][f"{remap}/{LONG}/nll"] == [2, 15]
        assert evaluation["shapes"][f"{remap}/{LONG}/retrieval"] == [10, 10]
