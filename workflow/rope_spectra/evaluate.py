"""Evaluate a trained run at every length (rule evaluate).

    python -m rope_spectra.evaluate --run results/demo/geo_500k/seed42 --settings results/demo/evaluation.json \\
        --tokens results/data/toy-stories/validation.npy --manifest results/data/toy-stories/validation.json

Writes eval.csv (one row per remap, protocol and length) and eval.npz (NLL by block and position bin, from which every
statistic of protocol `full` comes without another pass, and, where the settings have `retrieval`, the NLL of each trial's
candidates) into --output, by default the run's own folder. A remap changes the trained spectrum beyond the training length; up
to it, its rows are those of the trained model.
"""

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rope_spectra.artifacts import provenance, records, seal
from rope_spectra.data.cache import open_tokens, read_manifest
from rope_spectra.data.sentence import read_sentence
from rope_spectra.runtime import cli, devices, heartbeat
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.progress import Progress
from rope_spectra.tokenizer import check_record

if TYPE_CHECKING:
    import numpy as np

    from rope_spectra.data.sentence import Sentence
    from rope_spectra.model.llama import Llama

HEADER = "remap,protocol,length,ppl,nll,tokens,chunks"


@dataclass(frozen=True)
class Score:
    """One row of eval.csv; `nll` is in nats per token and ppl its exponential."""

    remap: str
    protocol: str
    length: int
    nll: float
    tokens: int
    chunks: int

    def csv(self) -> str:
        """The row as text; repr keeps every digit."""
        return f"{self.remap},{self.protocol},{self.length},{math.exp(self.nll)!r},{self.nll!r},{self.tokens},{self.chunks}"


class Measured(NamedTuple):
    """What one pass at one length gives: mean NLL, what it is over, and of `full` the NLL by block and position bin."""

    nll: float
    tokens: int
    chunks: int
    arrays: dict[str, Any]


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--run",
        type=Path,
        required=True,
        help="folder with config.json, run.json and model.safetensors",
    )
    parser.add_argument(
        "--settings", type=Path, required=True, help="lengths, protocols, chunks and remaps as JSON"
    )
    parser.add_argument(
        "--tokens", type=Path, required=True, help="token cache of the validation split"
    )
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of that cache")
    parser.add_argument(
        "--token-bytes", type=Path, help="bytes of each token id, for bits per byte"
    )
    parser.add_argument(
        "--sentence",
        type=Path,
        help="sentence of the retrieval probe, where the settings have retrieval",
    )
    parser.add_argument("--output", type=Path, help="where to write (default: the run's folder)")
    parser.add_argument("--threads", type=int, help="CPU threads to use")
    args = cli.parse(parser)

    settings = records.read_evaluation_settings(args.settings)
    run, manifest = records.read_run(args.run), read_manifest(args.manifest)
    tokens = open_tokens(args.tokens, manifest)
    if len(tokens) <= max(settings["lengths"]):
        raise UserError(
            f"evaluation: length {max(settings['lengths'])} needs one token more than that, the validation split has"
            f" {len(tokens)}; lower lengths or raise validation_tokens"
        )
    sentence = read_sentence(args.sentence, "retrieval" in settings)
    model = _load(args.run, run, args.threads)
    scores, tables = _evaluate(model, tokens, settings, run["settings"]["training"])
    if args.token_bytes:
        tables["bytes"] = _block_bytes(tokens, args.token_bytes, max(settings["lengths"]))
    if sentence:
        tables |= _retrieve(model, tokens, sentence, settings, run["settings"]["training"])
    facts = records.evaluation_facts(run, settings, records.data_facts(manifest, sentence))
    _publish(args.output or args.run, scores, tables, facts)


def _load(folder: Path, run: dict[str, Any], threads: int | None) -> "Llama":
    training, model = run["settings"]["training"], run["settings"]["model"]
    if training["deterministic"]:
        provenance.pin_arithmetic()
    import torch

    from rope_spectra.model import attention
    from rope_spectra.training.checkpoint import build_model, load_model
    from rope_spectra.training.trainer import make_deterministic

    if threads:
        torch.set_num_threads(threads)
    if training["deterministic"]:
        make_deterministic()
    device = devices.take(training.get("device", "auto"))
    heartbeat.set_device(provenance.device_name(device))
    attention.choose(
        device,
        training["precision"],
        model["head_dim"],
        training["seq_len"],
        training["deterministic"],
    )
    trained = build_model(run["settings"], empty=True)
    records.check_run(folder, run, records.MODEL)
    load_model(folder / records.MODEL, trained, run["identity"])
    return trained.to(device).eval()


def _evaluate(
    model: "Llama", tokens: "np.ndarray", settings: dict[str, Any], training: dict[str, Any]
) -> "tuple[list[Score], dict[str, Any]]":
    """The rows of eval.csv and the arrays of eval.npz, in the precision of the training."""
    from rope_spectra.model.llama import autocast
    from rope_spectra.rope.remaps import changes

    jobs = [
        (remap, *job)
        for remap in settings["remaps"]
        for job in product(settings["protocols"], settings["lengths"])
    ]
    progress = Progress("evaluation", len(jobs), "lengths")
    scores, tables, measured = [], {}, {}
    with autocast(model.inv_freq.device, training["precision"]):
        for done, (remap, protocol, length) in enumerate(jobs, start=1):
            setup = (
                remap if changes(remap, length, training["seq_len"]) else "none",
                protocol,
                length,
            )
            if setup not in measured:
                measured[setup] = _measure(model, tokens, *setup, settings, training["seq_len"])
            nll, count, chunks, arrays = measured[setup]
            scores.append(Score(remap, protocol, length, nll, count, chunks))
            tables |= {f"{remap}/{length}/{name}": array for name, array in arrays.items()}
            progress.update(done)
    progress.finish(len(jobs))
    return scores, tables


def _measure(
    model: "Llama",
    tokens: "np.ndarray",
    remap: str,
    protocol: str,
    length: int,
    settings: dict[str, Any],
    train_length: int,
) -> Measured:
    """One pass over the text at one length, the spectrum changed as the remap says."""
    from rope_spectra.evaluation import perplexity

    with _remapped(model, remap, length, train_length):
        if protocol == "first_chunks":
            score = perplexity.first_chunks(model, tokens, length, settings["chunks"])
            measured = Measured(score.nll, score.tokens, score.chunks, {})
        else:
            table = perplexity.full(model, tokens, length, max(settings["lengths"]), train_length)
            count = int(table.tokens.sum()) * len(table.nll)
            edges = perplexity.bin_edges(length, train_length)
            arrays = {"nll": table.nll, "tokens": table.tokens, "edges": edges}
            measured = Measured(float(table.nll.sum()) / count, count, table.pieces, arrays)
    if not math.isfinite(measured.nll):
        raise UserError(
            f"evaluation: the loss at length {length} is {measured.nll}; the trained weights are unusable,"
            " delete the run and train again"
        )
    return measured


def _remapped(
    model: "Llama", remap: str, length: int, train_length: int
) -> AbstractContextManager[None]:
    """Inside, the model's spectrum is changed as the remap says."""
    import torch

    from rope_spectra.rope.remaps import remapped

    inv_freq, attention_factor = remapped(model.inv_freq.cpu().numpy(), remap, length, train_length)
    return model.rotated_by(torch.from_numpy(inv_freq), attention_factor)


def _retrieve(
    model: "Llama",
    tokens: "np.ndarray",
    sentence: "Sentence",
    settings: dict[str, Any],
    training: dict[str, Any],
) -> dict[str, Any]:
    """The retrieval probe by remap and length: NLL of the candidates of each trial, fp32 [trials, n], the true one first."""
    from rope_spectra.evaluation import perplexity, probe
    from rope_spectra.model.llama import autocast
    from rope_spectra.rope.remaps import changes

    jobs = list(product(settings["remaps"], settings["lengths"]))
    progress, train_length = Progress("retrieval probe", len(jobs), "lengths"), training["seq_len"]
    amount = settings["retrieval"]["trials"], settings["retrieval"]["distractors"]
    tables, measured = {}, {}
    with autocast(model.inv_freq.device, training["precision"]):
        for done, (remap, length) in enumerate(jobs, start=1):
            setup = remap if changes(remap, length, train_length) else "none", length
            if setup not in measured:
                trials = probe.trials(sentence, tokens, length, *amount)
                with _remapped(model, *setup, train_length):
                    measured[setup] = perplexity.candidate_nll(model, *trials)
            tables[f"{remap}/{length}/retrieval"] = measured[setup]
            progress.update(done)
    progress.finish(len(jobs))
    return tables


def _block_bytes(tokens: "np.ndarray", token_bytes: Path, longest: int) -> "np.ndarray":
    """UTF-8 bytes of the target tokens of each block, int64 [blocks]."""
    import numpy as np

    from rope_spectra.evaluation.perplexity import block_starts

    check_record(token_bytes)
    sizes = np.load(token_bytes, allow_pickle=False).astype(np.int64)
    return np.array(
        [
            sizes[tokens[start : start + longest]].sum()
            for start in block_starts(len(tokens), longest)
        ]
    )


def _publish(
    output: Path, scores: list[Score], arrays: dict[str, Any], facts: dict[str, Any]
) -> None:
    import numpy as np

    paths = output / records.EVAL, output / records.EVAL_NLL
    with (
        seal.publishing(output / records.EVAL_RECORD, facts, *paths) as (csv, nll),
        nll.open("wb") as file,
    ):
        np.savez_compressed(file, **arrays)
        csv.write_text("\n".join([HEADER, *(score.csv() for score in scores)]) + "\n")


if __name__ == "__main__":
    cli.run(main)
