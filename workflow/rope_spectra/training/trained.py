"""The model of a finished run."""

from pathlib import Path

from rope_spectra.model.llama import Llama
from rope_spectra.model.weights import build_model, load_model
from rope_spectra.training.record import MODEL, RunRecord, check_run


def load_trained(folder: Path, run: RunRecord) -> Llama:
    """The trained model of the run in `folder`, on the CPU.

    Raises UserError unless its weights are, byte for byte, those that `run` certifies.
    """
    check_run(folder, run, MODEL)
    model = build_model(run.settings.model, run.settings.spectrum, empty=True)
    load_model(folder / MODEL, model, run.identity)
    return model
