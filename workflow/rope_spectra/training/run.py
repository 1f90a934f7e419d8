"""What a training run is made from, and whether its parts fit together."""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rope_spectra.artifacts import provenance, records, seal
from rope_spectra.data.cache import Manifest
from rope_spectra.runtime.errors import UserError

if TYPE_CHECKING:
    from rope_spectra.data.sentence import Sentence
    from rope_spectra.training.batches import RowChange

DEFAULT_OPTIONS = {
    "log_every": 10,
    "checkpoint_minutes": 10.0,
    "checkpoint_steps": None,
    "tensorboard": "auto",
    "gpus_per_run": 1,
}
CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Run:
    """What a run is made from and where it goes; `options` do not change the result."""

    output: Path
    settings: dict[str, Any]
    manifest: Manifest
    options: dict[str, Any]
    curves: Path | None = None
    sentence: "Sentence | None" = None

    @cached_property
    def data(self) -> dict[str, Any]:
        return records.data_facts(self.manifest, self.sentence)

    @cached_property
    def identity(self) -> str:
        return provenance.run_identity(self.settings, self.data)

    def path(self, name: str) -> Path:
        return self.output / name

    def is_complete(self) -> bool:
        return (
            self.path(records.RUN).exists()
            and seal.read(self.path(records.RUN), "identity")["identity"] == self.identity
        )

    def check(self, processes: int) -> None:
        """UserError unless model, data, sentence and number of processes fit together."""
        model, training, manifest = self.settings["model"], self.settings["training"], self.manifest
        if manifest.vocab_size > model["vocab_size"]:
            raise UserError(
                f"models: vocab_size {model['vocab_size']} is smaller than the tokenizer's {manifest.vocab_size};"
                f" raise it to at least {manifest.vocab_size}"
            )
        batch_size, tokens = (
            training["batch_size"],
            min(manifest.tokens, training["tokens"] or manifest.tokens),
        )
        if tokens // training["seq_len"] < batch_size:
            raise UserError(
                f"training: one batch needs {batch_size * training['seq_len']} tokens, the data has {tokens};"
                " lower batch_size or raise train_tokens"
            )
        if self.sentence:
            from rope_spectra.data.sentence import mentions

            mentions(self.sentence, training["seq_len"])
        if processes < 1 or batch_size % processes:
            raise UserError(
                f"--processes: {processes} does not divide batch_size {batch_size}; give a divisor"
            )

    def remove_leftovers(self) -> None:
        """Half-written files of a process that was killed while it wrote them."""
        for name in (CHECKPOINT, records.MODEL, records.TRAIN_LOG, records.RUN):
            for leftover in self.output.glob(f"{name}.tmp.*"):
                leftover.unlink(missing_ok=True)

    def row_change(self) -> "RowChange | None":
        """What puts the sentence of the retrieval probe into a share of the rows; None without it."""
        if self.sentence is None:
            return None
        from rope_spectra.data.sentence import with_sentences

        return partial(
            with_sentences,
            sentence=self.sentence,
            share=self.settings["training"]["retrieval_share"],
        )
