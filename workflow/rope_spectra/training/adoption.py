"""Finished runs by content: kept in the store, and adopted instead of trained again."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rope_spectra.artifacts import files, kept, layout, seal
from rope_spectra.config.frozen import RunSettings
from rope_spectra.runtime.cli import log
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.lazy import Lazy
from rope_spectra.training.record import MODEL, RUN, TRAIN_LOG, RunRecord, identity

if TYPE_CHECKING:
    import numpy as np

    from rope_spectra.training.run import Run
else:
    np = Lazy("numpy")

_KIND = "runs"


def train_once(store: kept.Store, run: "Run", train: Callable[[], None]) -> None:
    """Adopts the run if the store has it, else trains and keeps it; two at once train once."""
    folder = run.output
    paths = _files(folder / RUN)

    def adopt(entry: Path) -> None:
        # A training with other settings that was left running may still write into this folder.
        with files.locked(folder):
            record = _adopt(entry, folder, run.settings)
            run.remove_checkpoint()
        origin = f" as {record.trained_as}" if record.trained_as else ""
        log.info("adopted: the same run was trained before%s", origin)

    store.make_once(
        _KIND,
        key(run.identity, folder),
        paths,
        adopt=adopt,
        make=train,
        what=f"the run of {folder}",
        is_forced=kept.is_forced("train", *paths.values()),
    )


def key(identity: str, folder: Path) -> str:
    """The key of a run in the store: its identity.

    A repeat measures the noise floor, so it is another result than the run that it repeats.
    """
    repeat = layout.repeat_of(folder)
    return hashlib.sha256(f"{identity}{repeat}".encode()).hexdigest() if repeat else identity


def _files(record: Path) -> dict[str, Path]:
    return {name: record.with_name(name) for name in (MODEL, TRAIN_LOG, RUN)}


def _key_of(record: Path) -> str:
    run = seal.load_record(record, RunRecord)
    return key(identity(run.settings, run.data), record.parent)


def _restore(entry: Path, record: Path) -> None:
    """Puts a kept run back into a folder of an experiment."""
    folder = record.parent
    experiment, spectrum = layout.run_of(folder)
    settings = seal.load_record(entry / RUN, RunRecord).settings
    named = settings.spectrum.model_copy(update={"name": spectrum})
    names = {"experiment": experiment, "spectrum": named}
    _adopt(entry, folder, settings.model_copy(update=names))


RUNS = kept.Kind(_KIND, layout.RUN, files=_files, key=_key_of, restore=_restore)


def _adopt(entry: Path, folder: Path, settings: RunSettings) -> RunRecord:
    """Publishes a kept run in `folder` under the names in `settings`; its record there.

    Raises UserError where the entry is damaged or not the run of its key.
    """
    run = seal.load_record(entry / RUN, RunRecord)
    _check(entry, folder, run, settings)
    origin = run.trained_as or _name(run.settings, folder)
    run = run.model_copy(update={"settings": settings, "trained_as": origin})
    if origin == _name(settings, folder):
        # Back in its own folder it is the very same file again.
        run = run.model_copy(update={"trained_as": None})
    with files.atomic_all(*_files(folder / RUN).values()) as (weights, train_log, record):
        # The weights are large, and whoever reads them takes their hash from the record.
        kept.link(entry / MODEL, weights)
        shutil.copyfile(entry / TRAIN_LOG, train_log)
        record.write_text(seal.text(run.content()))
    return run


def _check(entry: Path, folder: Path, run: RunRecord, settings: RunSettings) -> None:
    """Raises UserError unless an entry is whole and what its key says."""
    is_same = run.identity == identity(settings, run.data)
    if not is_same or key(run.identity, folder) != entry.name:
        raise UserError(f"{entry / RUN}: is the record of another run; delete {entry}")
    if run.steps != settings.training.steps(run.data.tokens):
        raise UserError(f"{entry / RUN}: was not trained to the end; delete {entry}")
    inv_freq = settings.spectrum.inv_freq(settings.model.head_dim)
    # Other versions of numpy may differ in the last digit.
    if not np.allclose(run.inv_freq, inv_freq, rtol=1e-6, atol=0):
        raise UserError(f"{entry / RUN}: has another inv_freq than its settings; delete {entry}")
    seal.check(entry / RUN, run.files, entry / MODEL, entry / TRAIN_LOG)


def _name(settings: RunSettings, folder: Path) -> str:
    seed = f"seed{settings.seed}{layout.repeat_of(folder)}"
    return f"{settings.experiment}/{settings.spectrum.name}/{seed}"
