"""Keeps finished results before any job of Snakemake starts, for its main process.

Snakemake deletes the outputs of a job first. A result that is in the store by then is adopted by
the job, or put back if the job fails.
"""

from pathlib import Path

from rope_spectra.artifacts import layout
from rope_spectra.artifacts.kept import Store, Use
from rope_spectra.data.kinds import TOKENIZERS, TOKENS
from rope_spectra.evaluation.adoption import EVALUATIONS
from rope_spectra.runtime.errors import UserError
from rope_spectra.training.adoption import RUNS

# Each is put back after what it was made from.
KINDS = (TOKENIZERS, TOKENS, RUNS, EVALUATIONS)
_RESULTS = Path("results")
_STORE = Store(Path(layout.KEPT))


def keep() -> None:
    """Keeps every finished result in results/ that is not in the store yet.

    UserError where that fails, before any result is deleted.
    """
    try:
        _STORE.collect(_RESULTS, KINDS)
    except OSError as error:
        place = error.filename or layout.KEPT
        raise UserError(f"{place}: {error.strerror}; no job may start before it is kept") from None


def put_back() -> None:
    """Puts back what has gone from results/ since `keep`."""
    try:
        _STORE.restore(KINDS)
    except OSError as error:
        raise UserError(
            f"{error.filename}: {error.strerror}; call Snakemake again to have it put back"
        ) from None


def usage() -> list[Use]:
    """The contents of the store by kind."""
    return _STORE.usage(_RESULTS, KINDS)
