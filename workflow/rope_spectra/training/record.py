"""The record of a finished training: run.json, which certifies model.safetensors and train.csv.

It names the inputs of the run (settings, data) and says how the training went. Whoever uses a run
reads this record first, and of the run's files only those that it certifies.
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pydantic import Field

from rope_spectra.artifacts import layout, provenance, seal
from rope_spectra.config.frozen import RunSettings
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Record

# The Snakefile reads records too, and these import numpy.
if TYPE_CHECKING:
    from rope_spectra.data.cache import Manifest
    from rope_spectra.data.episodes import Words
    from rope_spectra.data.sentence import Sentence

CONFIG = Path(layout.RUN_CONFIG).name
RUN = Path(layout.RUN).name
MODEL = Path(layout.MODEL).name
TRAIN_LOG = Path(layout.TRAIN_LOG).name


class DataFacts(Record):
    """The data of a training or an evaluation, by content: a renamed dataset is the same data."""

    sha256: str
    tokens: int
    # SHA-256 of the sentence, or the words, of the retrieval probe; None without the probe. The key
    # is younger than finished runs; without the probe, records stay as they were without it.
    sentence: str | None = Field(None, exclude_if=lambda sentence: sentence is None)


Device: TypeAlias = dict[str, str | int | bool | None]


class Part(Record):
    """One attempt at a run: what trained it from `first_step` on.

    commit is the one of the code, None where the package was installed. Of an attempt by a version
    that did not write this down, only the first step is known.
    """

    first_step: int
    processes: int | None = None
    device: Device | None = None
    versions: dict[str, str] | None = None
    commit: str | None = None

    def arithmetic(self) -> dict[str, object]:
        """All that the bits of a training depend on, besides the run itself."""
        packages = {name: (self.versions or {}).get(name) for name in ("torch", "numpy")}
        return {"processes": self.processes, "device": self.device, "versions": packages}


class RunRecord(Record):
    """The content of run.json.

    inv_freq [pairs] is in radians per token, as trained. steps and tokens count the whole training,
    earlier attempts included; seconds are wall time, "total" and "training" (the loop alone).
    finished is the time of its end in UTC, None in records that are older than this key.
    processes, device and versions are those of the last attempt, parts tells of each of them; files
    maps the name of each certified file to its SHA-256. trained_as is the run whose result
    this is, `<experiment>/<spectrum>/seed<seed>`, where it was adopted instead of trained again.
    """

    identity: str
    settings: RunSettings
    data: DataFacts
    trained_as: str | None = Field(None, exclude_if=lambda name: name is None)
    inv_freq: list[float]
    parameters: int
    steps: int
    tokens: int
    micro_batch_size: int
    processes: int
    resumed_at_steps: list[int]
    device: Device
    versions: dict[str, str]
    # Younger than finished runs, whose records stay as they are.
    parts: list[Part] = Field(default_factory=list, exclude_if=lambda parts: not parts)
    seconds: dict[str, float]
    finished: str | None = Field(None, exclude_if=lambda time: time is None)
    files: dict[str, str]


def identity(settings: RunSettings, data: DataFacts) -> str:
    """SHA-256 over the settings that matter to a run and the content of its data.

    Names do not matter: a renamed experiment, spectrum or dataset is the same.
    """
    content = settings.content()
    matter = {key: content[key] for key in ("recipe", "seed", "spectrum", "model", "training")}
    del matter["spectrum"]["name"]
    matter["data"] = data.sha256
    # Without the probe the key is left out, as in records: finished runs keep their identity.
    if data.sentence is not None:
        matter["sentence"] = data.sentence
    return hashlib.sha256(json.dumps(matter, sort_keys=True).encode()).hexdigest()


def read_run(folder: Path) -> RunRecord:
    """The record of the run in `folder`.

    Raises UserError if it is missing or damaged, or if config.json now describes another run.
    """
    settings = seal.load_settings(folder / CONFIG, RunSettings)
    run = seal.load_record(folder / RUN, RunRecord)
    difference = provenance.first_difference(run.settings.content(), settings.content())
    if difference:
        raise UserError(
            f"{folder / RUN}: was trained with another {difference}; delete it and run again"
        )
    return run


def check_run(folder: Path, run: RunRecord, *names: str) -> None:
    """Raises UserError unless these files of a run are, byte for byte, what its training wrote."""
    seal.check(folder / RUN, run.files, *(folder / name for name in names))


def data_facts(manifest: "Manifest", sentence: "Sentence | Words | None") -> DataFacts:
    """The facts of a token cache, with what the retrieval probe asks with where that is in use."""
    return DataFacts(
        sha256=manifest.sha256,
        tokens=manifest.tokens,
        sentence=None if sentence is None else sentence.sha256,
    )
