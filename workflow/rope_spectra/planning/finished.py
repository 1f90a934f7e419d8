"""Keeps finished results before any job of Snakemake starts, for its main process.

Snakemake deletes the outputs of a job first. A result that is in the store by then is adopted by
the job, or put back if the job fails.
"""

from pathlib import Path

from rope_spectra.artifacts import layout
from rope_spectra.artifacts.kept import Store, Use
from rope_spectra.evaluation.adoption import EVALUATIONS
from rope_spectra.training.adoption import RUNS

# An evaluation is put back after the run that it belongs to.
KINDS = (RUNS, EVALUATIONS)
_RESULTS = Path("results")
_STORE = Store(Path(layout.KEPT))


def keep() -> None:
    """Keeps every finished result in results/ that is not in the store yet."""
    _STORE.collect(_RESULTS, KINDS)


def put_back() -> list[Path]:
    """Puts back what has gone from results/ since `keep`; the records of those results."""
    return _STORE.restore(KINDS)


def usage() -> list[Use]:
    """The contents of the store by kind."""
    return _STORE.usage(_RESULTS, KINDS)
