"""The basis of candidates: one hash of all that they follow from. Imports nothing heavy."""

import hashlib
import json

from rope_spectra.artifacts import layout, seal
from rope_spectra.config.candidates import Candidates, SearchStep
from rope_spectra.runtime.settings import Record


class _Scored(Record):
    """The part of eval.json that is read here."""

    files: dict[str, str]


def read_candidates(part: str) -> Candidates:
    """The candidates of a part of a search; UserError if they are missing or damaged."""
    path = layout.fill(layout.CANDIDATES, experiment=part)
    return seal.load_settings(path, Candidates)


def basis(step: SearchStep) -> str:
    """SHA-256 over a step and the candidates and evaluations of the rounds before it.

    Raises UserError if one of them is missing or damaged.
    """
    matter: list[object] = [step.content()]
    for earlier in step.earlier:
        part = earlier.design.experiment
        matter.append(read_candidates(part).content())
        for spectrum, seed in earlier.design.runs:
            path = layout.fill(layout.EVAL_RECORD, experiment=part, spectrum=spectrum, seed=seed)
            matter.append(seal.load_record(path, _Scored).files)
    return hashlib.sha256(json.dumps(matter, sort_keys=True).encode()).hexdigest()
