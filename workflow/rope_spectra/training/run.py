"""One training run: its inputs, with a check that they fit together, and its history."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rope_spectra.artifacts import layout, seal
from rope_spectra.config.frozen import RunSettings
from rope_spectra.config.sections import RunOptions
from rope_spectra.data.cache import Manifest, read_manifest
from rope_spectra.data.episodes import Words
from rope_spectra.data.sentence import Sentence
from rope_spectra.data.sources import SplitSettings
from rope_spectra.runtime.errors import UserError
from rope_spectra.training import record, rows

# The command reads and checks a run before it imports torch, which takes seconds.
if TYPE_CHECKING:
    from rope_spectra.training.batches import RowChange

CHECKPOINT = Path(layout.CHECKPOINT).name

_HEADER = "step,loss,lr,tokens,tokens_per_s"


@dataclass(frozen=True)
class Run:
    """The inputs of a run and the folder of its results; `options` do not change the result.

    event_files is the folder for TensorBoard, None for no such files.
    """

    output: Path
    settings: RunSettings
    manifest: Manifest
    options: RunOptions
    event_files: Path | None = None
    sentence: Sentence | Words | None = None

    @cached_property
    def data(self) -> record.DataFacts:
        """The content of its data."""
        return record.data_facts(self.manifest, self.sentence)

    @cached_property
    def identity(self) -> str:
        """SHA-256 over all that its result depends on."""
        return record.identity(self.settings, self.data)

    def is_complete(self) -> bool:
        """True if its results are there already; UserError for a damaged record of them."""
        path = self.output / record.RUN
        return path.exists() and seal.load_record(path, record.RunRecord).identity == self.identity

    def check(self, processes: int) -> None:
        """UserError unless model, data, sentence and number of processes fit together."""
        recipe = self.settings.training
        available, needed = self.settings.model.vocab_size, self.manifest.vocab_size
        if needed > available:
            raise UserError(
                f"models: vocab_size {available} is smaller than the tokenizer's {needed};"
                f" raise it to at least {needed}"
            )
        if recipe.steps(self.manifest.tokens) == 0:
            tokens = min(self.manifest.tokens, recipe.tokens or self.manifest.tokens)
            raise UserError(
                f"training: one batch needs {recipe.batch_size * recipe.seq_len} tokens, the data"
                f" has {tokens}; lower batch_size or raise train_tokens"
            )
        rows.check(self.sentence, recipe)
        if processes < 1 or recipe.batch_size % processes:
            raise UserError(
                f"--processes: {processes} does not divide batch_size {recipe.batch_size};"
                " give a divisor"
            )

    def remove_leftovers(self) -> None:
        """Removes what a process that was killed while it wrote has left half-written.

        Only the holder of the run's folder may call it. Unlike atomic files, which do the same for
        processes of this machine, it also removes what another machine has left.
        """
        for name in (CHECKPOINT, record.MODEL, record.TRAIN_LOG, record.RUN):
            for leftover in self.output.glob(f"{name}.tmp.*"):
                leftover.unlink(missing_ok=True)

    def remove_checkpoint(self) -> None:
        """Removes the state of a training that is finished."""
        (self.output / CHECKPOINT).unlink(missing_ok=True)

    def row_change(self) -> "RowChange | None":
        """Puts the retrieval probe into a share of the rows; None without it."""
        return rows.change(self.sentence, self.settings.training)


def check_validation(folder: Path, least: int) -> None:
    """UserError if the validation text in the folder of a dataset has fewer tokens than `least`.

    Says nothing where that text is not tokenized yet, or has been from other settings than now.
    """
    places = {"dataset": folder.name, "split": "validation", "part": "validation"}
    manifest_path = folder / Path(layout.MANIFEST.format(**places)).name
    settings_path = folder / Path(layout.DATA_CONFIG.format(**places)).name
    if not (manifest_path.exists() and settings_path.exists()):
        return
    manifest = read_manifest(manifest_path)
    if manifest.settings != seal.load_settings(settings_path, SplitSettings):
        return
    if manifest.tokens < least:
        raise UserError(
            f"{manifest_path}: the validation text has {manifest.tokens} tokens, the evaluation"
            f" needs {least}; raise validation_tokens, give more text, or lower lengths"
        )


@dataclass(frozen=True)
class LogRow:
    """One line of train.csv.

    loss is in nats per token, lr that of this step; tokens counts those seen up to and including
    it; tokens_per_s is the mean since the line before.
    """

    step: int
    loss: float
    lr: float
    tokens: int
    tokens_per_s: float

    def csv(self) -> str:
        """The line; repr keeps every digit."""
        return f"{self.step},{self.loss!r},{self.lr!r},{self.tokens},{self.tokens_per_s:.1f}"


class History:
    """The log and the time of a run, earlier attempts included; it starts its clock when made."""

    def __init__(self) -> None:
        self.rows: list[LogRow] = []
        self.resumed_at: list[int] = []
        self.parts: list[record.Part] = []
        self._earlier = {"total": 0.0, "training": 0.0}
        self._began = time.perf_counter()
        self._training_began: float | None = None

    def resume(self, state: Mapping[str, Any], step: int) -> None:
        """Adds what earlier attempts have left in a checkpoint; this one begins at `step`."""
        self.rows = [LogRow(**row) for row in state["rows"]]
        # A state of an older version knows no more of its attempts.
        unknown = [{"first_step": first} for first in (0, *state["resumed_at"])]
        self.parts = [record.Part(**part) for part in state.get("parts", unknown)]
        self.resumed_at = [*state["resumed_at"], step]
        self._earlier = state["seconds"]

    def start_training(self) -> None:
        """Ends the preparations."""
        self._training_began = time.perf_counter()

    def seconds(self) -> dict[str, float]:
        """Wall time of all attempts up to now: "total", and "training" (the loop alone)."""
        now = time.perf_counter()
        training = self._earlier["training"]
        if self._training_began is not None:
            training += now - self._training_began
        return {"total": self._earlier["total"] + now - self._began, "training": training}

    def state(self) -> dict[str, Any]:
        """Plain values for the checkpoint, which holds nothing that would need unpickling."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "resumed_at": self.resumed_at,
            "parts": [part.content() for part in self.parts],
            "seconds": self.seconds(),
        }

    def csv(self) -> str:
        """The text of train.csv."""
        return "\n".join([_HEADER, *(row.csv() for row in self.rows)]) + "\n"
