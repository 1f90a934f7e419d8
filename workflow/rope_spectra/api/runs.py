"""The runs of a results folder, and all that is known of one of them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rope_spectra.analysis.runs import Arrays
from rope_spectra.api.spectrum import Spectrum
from rope_spectra.artifacts import layout, seal
from rope_spectra.config.frozen import RunSettings
from rope_spectra.evaluation.record import EVAL, EVAL_NLL, EVAL_RECORD, EvaluationRecord
from rope_spectra.runtime.errors import UserError
from rope_spectra.training.record import RUN, TRAIN_LOG, RunRecord, check_run, read_run

if TYPE_CHECKING:
    from rope_spectra.model.llama import Llama

_COLUMNS = ["experiment", "spectrum", "seed", "trained", "evaluated", "folder"]
_NLL_COLUMNS = ["remap", "length", "block", "first", "end", "tokens", "nll"]


@dataclass(frozen=True)
class Run:
    """One run: one spectrum, one seed. Its files are read, and checked, when they are asked for.

    record is run.json: settings, data, device, versions, times.
    """

    folder: Path
    record: RunRecord

    @property
    def settings(self) -> RunSettings:
        """The frozen settings: experiment, seed, spectrum, model, training."""
        return self.record.settings

    @property
    def seed(self) -> str:
        """The seed as in the name of the folder: `42`, and `42-repeat1` for a repeat of 42."""
        return f"{self.settings.seed}{layout.repeat_of(self.folder)}"

    @cached_property
    def spectrum(self) -> Spectrum:
        """The spectrum, with the frequencies that the model was trained with."""
        settings = self.settings
        return Spectrum(settings.spectrum, settings.model.head_dim, settings.training.seq_len)

    @cached_property
    def model(self) -> "Llama":
        """The trained model on the CPU, with fp32 weights: a torch module, token ids to logits."""
        # The one part that needs torch, which takes seconds to import.
        from rope_spectra.training.trained import load_trained

        return load_trained(self.folder, self.record).eval()

    @cached_property
    def train_log(self) -> pd.DataFrame:
        """train.csv, a row per logged step: step, loss (nats per token), lr, tokens, ..."""
        check_run(self.folder, self.record, TRAIN_LOG)
        return pd.read_csv(self.folder / TRAIN_LOG)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """eval.csv: remap, protocol, length, ppl, nll (nats per token), tokens, chunks."""
        self._check_evaluation(EVAL)
        return pd.read_csv(self.folder / EVAL)

    @cached_property
    def arrays(self) -> Arrays:
        """eval.npz as it is, by key: `none/1024/nll` has [blocks, bins of positions], ..."""
        self._check_evaluation(EVAL_NLL)
        with np.load(self.folder / EVAL_NLL, allow_pickle=False) as file:
            return dict(file)

    @cached_property
    def nll(self) -> pd.DataFrame:
        """Loss of protocol `full`, a row per block of text and bin of positions.

        Columns: remap, length, block, first and end (the bin holds positions first <= p < end, and
        position p sees p + 1 tokens), tokens (scored in this block and bin), nll (nats per token).
        """
        tables = [pd.DataFrame(columns=_NLL_COLUMNS)]
        for key in self.arrays:
            if key.endswith("/nll"):
                tables.append(_by_block(self.arrays, key.removesuffix("/nll")))
        return pd.concat(tables[1:] or tables, ignore_index=True)

    def _check_evaluation(self, name: str) -> None:
        """Raises UserError unless a file of the evaluation is whole and of this run."""
        path = self.folder / EVAL_RECORD
        evaluation = seal.load_record(path, EvaluationRecord)
        if evaluation.run.identity != self.record.identity:
            raise UserError(
                f"{path}: was made from another run than {self.folder / RUN};"
                " delete it and run again"
            )
        seal.check(path, evaluation.files, self.folder / name)

    def __repr__(self) -> str:
        settings = self.settings
        return f"<Run {settings.experiment}/{settings.spectrum.name}/seed{self.seed}>"


def load(folder: str | Path) -> Run:
    """The run in a folder, such as results/demo/geo_500k/seed42.

    Raises UserError if it is not trained, or damaged.
    """
    folder = Path(folder)
    if not (folder / RUN).exists():
        raise UserError(f"{folder}: no trained run; rs.runs() lists those that are there")
    return Run(folder, read_run(folder))


def runs(results: str | Path = "results") -> pd.DataFrame:
    """Every run that has a folder in `results`, finished or not, one a row.

    Columns: experiment, spectrum, seed (text: `42-repeat1` is a repeat of 42), trained, evaluated,
    folder, which `load` takes. Raises UserError if there is no such folder.
    """
    results = Path(results)
    if not results.is_dir():
        raise UserError(f"{results}: no such folder; run this where results/ is, or give its path")
    rows = []
    for experiment, spectrum, seed in layout.found_runs(results):
        parts = {"experiment": experiment, "spectrum": spectrum, "seed": seed}
        record = layout.within(results, str(layout.fill(layout.RUN, **parts)))
        evaluated = (record.parent / EVAL_RECORD).exists()
        rows.append([*parts.values(), record.exists(), evaluated, str(record.parent)])
    return pd.DataFrame(rows, columns=_COLUMNS)


def _by_block(arrays: Arrays, name: str) -> pd.DataFrame:
    """The rows of `nll` of one remap and length."""
    remap, length = name.split("/")
    tokens, edges = arrays[f"{name}/tokens"], arrays[f"{name}/edges"]
    nll = arrays[f"{name}/nll"] / tokens
    blocks, bins = nll.shape
    return pd.DataFrame(
        {
            "remap": remap,
            "length": int(length),
            "block": np.repeat(np.arange(blocks), bins),
            "first": np.tile(edges[:-1], blocks),
            "end": np.tile(edges[1:], blocks),
            "tokens": np.tile(tokens, blocks),
            "nll": nll.ravel(),
        }
    )
