"""Selection and confirmation (evaluation.md section 3): what chose a candidate must not also confirm it. Pure.

An experiment that declares `selection` sets some of its seeds and the first part of the validation blocks aside for choosing; its
verdicts come from the other seeds on the other blocks. Without it there is one phase, `all`.
"""

from collections.abc import Mapping
from typing import Any

ALL, SELECTION, CONFIRMATION = "all", "selection", "confirmation"


def phase_of(definition: Mapping[str, Any], seed: int) -> str:
    """The phase that a seed of the experiment serves."""
    if not (selection := definition.get("selection")):
        return ALL
    return SELECTION if seed in selection["seeds"] else CONFIRMATION


def blocks_of(definition: Mapping[str, Any], phase: str, n_blocks: int) -> slice:
    """The blocks of protocol `full` that a phase reads; each of the two has at least one. ValueError below two blocks."""
    if phase == ALL:
        return slice(0, n_blocks)
    if n_blocks < 2:
        raise ValueError(
            f"selection and confirmation need two blocks of validation text, there is {n_blocks}"
        )
    first = min(max(round(definition["selection"]["blocks"] * n_blocks), 1), n_blocks - 1)
    return slice(0, first) if phase == SELECTION else slice(first, n_blocks)


def seeds_of(definition: Mapping[str, Any], phase: str) -> list[int]:
    """The seeds of a phase, in the experiment's order."""
    return [seed for seed in definition["seeds"] if phase_of(definition, seed) == phase]
