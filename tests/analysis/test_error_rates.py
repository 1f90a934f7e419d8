"""The simulated error rates that docs/statistics.md promises, made again with a fixed seed."""

import re
from collections.abc import Sequence

import numpy as np
import pytest

from rope_spectra.analysis.crossed import crossed
from rope_spectra.analysis.looks import is_hopeless, levels
from rope_spectra.analysis.statistics import mean_ci95, two_level_bootstrap
from rope_spectra.analysis.verdicts import UNDECIDED, judge
from support.checkout import ROOT

STUDIES = 4000
MARGIN = 0.01
LIMIT = float(np.log1p(MARGIN))
# The variance of the mean that seeds, blocks and the noise of single cells add.
SHARES = {"seeds": (1.0, 0.02, 0.1), "both": (1.0, 1.0, 0.1), "text": (0.02, 1.0, 0.1)}


def draw(
    random: np.random.Generator, share: str, shape: tuple[int, ...], neighbors: float = 0.0
) -> np.ndarray:
    """Noise [..., seeds, blocks] whose mean has the shares of variance.

    neighbors: the correlation of the effects of two neighboring blocks. Blocks that follow each
    other in this way have a mean that varies more; the share is that of independent ones.
    """
    *leading, n_seeds, n_blocks = shape
    of_seeds, of_blocks, of_cells = SHARES[share]
    blocks = random.normal(0, 1, (*leading, 1, n_blocks))
    for block in range(1, n_blocks):
        new = (1 - neighbors**2) ** 0.5 * blocks[..., block]
        blocks[..., block] = neighbors * blocks[..., block - 1] + new
    seeds = random.normal(0, (of_seeds * n_seeds) ** 0.5, (*leading, n_seeds, 1))
    cells = random.normal(0, (of_cells * n_seeds * n_blocks) ** 0.5, shape)
    return seeds + (of_blocks * n_blocks) ** 0.5 * blocks + cells


def family(
    random: np.random.Generator, share: str, contrasts: int, n_seeds: int, mean: float = 0.0
) -> np.ndarray:
    """Contrasts with one baseline, [contrasts, seeds, 12 blocks]; noise far below the margin."""
    arms = 0.001 * draw(random, share, (contrasts + 1, n_seeds, 12))
    return mean + (arms[1:] - arms[0]) / 2**0.5


def any_false(word: str, share: str, contrasts: int, looks: Sequence[int], mean: float) -> float:
    """The share of studies with a verdict in which the pattern is found, at any of the looks."""
    random = np.random.default_rng(14)
    wrong = 0
    for _ in range(STUDIES):
        tables = family(random, share, contrasts, looks[-1], mean)
        verdicts = [finding.verdict for finding in judge(list(tables), MARGIN, looks)]
        wrong += any(re.search(word, verdict) for verdict in verdicts)
    return wrong / STUDIES


def without_plan(last: int) -> float:
    """The share of studies that become better or worse at any look from 6 seeds on, each at 5 %."""
    random = np.random.default_rng(14)
    wrong = 0
    for _ in range(STUDIES):
        table = family(random, "seeds", 1, last)[0]
        found = (judge([table[:n]], MARGIN)[0].verdict for n in range(6, last + 1))
        wrong += any(re.match("better|worse", verdict) for verdict in found)
    return wrong / STUDIES


def coverage(interval: str, share: str, n_seeds: int, n_blocks: int, neighbors: float) -> float:
    """The share of 95 % intervals that hold the true mean."""
    random = np.random.default_rng(14)
    studies = 500 if interval == "bootstrap" else STUDIES
    deltas = draw(random, share, (studies, n_seeds, n_blocks), neighbors)
    if interval == "crossed":
        low, high = crossed(deltas).interval()
    elif interval == "t":
        low, high = np.array([mean_ci95(table.mean(axis=1)) for table in deltas]).T
    else:
        low, high = np.array([two_level_bootstrap(table, 500) for table in deltas]).T
    return float(((low < 0) & (high > 0)).mean())


# ---- the tables of the page

NAMES = re.compile(r"^\| (?P<name>[^|]+?) \| (?P<cells>[\d. %|]+?) \|$", re.MULTILINE)


def promised() -> dict[str, list[float]]:
    """The rates of docs/statistics.md, section 8, by the first cell of their row."""
    page = (ROOT / "docs/statistics.md").read_text()
    section = page.partition("## 8. ")[2]
    found = {}
    for row in NAMES.finditer(section):
        cells = row["cells"].split(" | ")
        found[row["name"]] = [float(cell.removesuffix(" %")) / 100 for cell in cells]
    return found


def row_name(contrasts: int, looks: Sequence[int]) -> str:
    plural = "" if contrasts == 1 else "s"
    when = f"looks at {', '.join(map(str, looks))}" if len(looks) > 1 else f"{looks[0]}"
    return f"{contrasts} contrast{plural}, {when} seeds"


DIFFERENT = [
    (1, [6]),
    (1, [10]),
    (5, [10]),
    (1, [6, 8, 10]),
    (1, [6, 7, 8, 9, 10]),
    (5, [8, 10, 12]),
]
EQUIVALENT = [(1, [3]), (1, [10]), (5, [3]), (5, [10]), (5, [8, 10, 12])]
CORRELATED = [(33, 0.3), (33, 0.6), (290, 0.3), (290, 0.6)]
# A rate may differ by a few studies between processors.
CLOSE = 0.002


@pytest.mark.slow
@pytest.mark.parametrize(("contrasts", "looks"), DIFFERENT)
def test_false_differences(contrasts: int, looks: list[int]) -> None:
    rates = [any_false("better|worse", share, contrasts, looks, 0.0) for share in SHARES]
    assert promised()[f"different: {row_name(contrasts, looks)}"] == pytest.approx(rates, abs=CLOSE)
    # Two standard errors above 5 %.
    assert max(rates) < 0.057


@pytest.mark.slow
@pytest.mark.parametrize(("contrasts", "looks"), EQUIVALENT)
def test_false_equivalence_of_contrasts_at_the_margin(contrasts: int, looks: list[int]) -> None:
    rates = [any_false("equivalent|within", share, contrasts, looks, LIMIT) for share in SHARES]
    assert promised()[f"within the margin: {row_name(contrasts, looks)}"] == pytest.approx(
        rates, abs=CLOSE
    )
    assert max(rates) < 0.057


@pytest.mark.slow
def test_looking_without_a_plan_is_wrong_twice_as_often() -> None:
    rate = without_plan(10)
    assert promised()["every seed from 6 to 10"] == pytest.approx([rate], abs=CLOSE)
    assert rate > 0.08


@pytest.mark.slow
@pytest.mark.parametrize(("size", "found", "seeds"), [(0.0, 0.03, 11), (1.0, 0.92, 13)])
def test_arms_that_stop_as_hopeless_cost_little_power(
    size: float, found: float, seeds: int
) -> None:
    random = np.random.default_rng(14)
    plan = [8, 12, 16]
    last = levels(plan, 1)[-1]
    different, trained = 0, 0
    for _ in range(500):
        table = random.normal(size * 0.02, 0.02, (16, 1))
        for n in plan:
            verdict = judge([table[:n]], MARGIN, plan)[0].verdict
            is_last = n == plan[-1]
            decided = verdict not in UNDECIDED
            if is_last or decided or is_hopeless(table[:n, 0], plan[-1], last, MARGIN):
                break
        different += bool(re.match("better|worse", verdict))
        trained += n
    # Two standard errors of 500 studies.
    assert different / 500 == pytest.approx(found, abs=0.03)
    assert trained / 500 == pytest.approx(seeds, abs=0.6)


@pytest.mark.slow
@pytest.mark.parametrize("n_seeds", [3, 6, 10])
@pytest.mark.parametrize("interval", ["crossed", "t", "bootstrap"])
def test_coverage(interval: str, n_seeds: int) -> None:
    rates = [coverage(interval, share, n_seeds, 40, 0.0) for share in SHARES]
    assert promised()[f"{interval} interval, {n_seeds} seeds"] == pytest.approx(rates, abs=CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize(("n_blocks", "neighbors"), CORRELATED)
def test_coverage_where_neighboring_blocks_resemble_each_other(
    n_blocks: int, neighbors: float
) -> None:
    rates = [coverage("crossed", share, 6, n_blocks, neighbors) for share in SHARES]
    name = f"{n_blocks} blocks, neighbors correlated by {neighbors}"
    assert promised()[name] == pytest.approx(rates, abs=CLOSE)
