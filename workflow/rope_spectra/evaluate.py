"""Evaluate a trained run at every length (rule evaluate).

    python -m rope_spectra.evaluate --run results/demo/geo_500k/seed42 --settings results/demo/evaluation.json \\
        --tokens results/data/toy-stories/validation.npy --manifest results/data/toy-stories/validation.json

Writes eval.csv (one row per remap, protocol and length) and eval.npz (NLL by block and position bin, from which every
statistic of protocol `full` comes without another pass) into --output, by default the run's own folder.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rope_spectra import cli, files, provenance
from rope_spectra.errors import UserError
from rope_spectra.progress import Progress
from rope_spectra.tokens import open_tokens, read_manifest

if TYPE_CHECKING:
    import numpy as np

    from rope_spectra.model import Llama

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


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder with config.json, run.json and model.safetensors")
    parser.add_argument("--settings", type=Path, required=True, help="lengths, protocols, chunks and remaps as JSON")
    parser.add_argument("--tokens", type=Path, required=True, help="token cache of the validation split")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of that cache")
    parser.add_argument("--token-bytes", type=Path, help="bytes of each token id, for bits per byte")
    parser.add_argument("--output", type=Path, help="where to write (default: the run's folder)")
    parser.add_argument("--threads", type=int, help="CPU threads to use")
    args = cli.parse(parser)

    settings = files.read_json(args.settings, "lengths", "protocols", "chunks", "remaps")
    run = _read_run(args.run)
    tokens = open_tokens(args.tokens, read_manifest(args.manifest))
    if len(tokens) <= max(settings["lengths"]):
        raise UserError(
            f"evaluation: length {max(settings['lengths'])} needs one token more than that, the validation split has"
            f" {len(tokens)}; lower lengths or raise validation_tokens"
        )
    model = _load(args.run, run, args.threads)
    scores, tables = _evaluate(model, tokens, settings, run["settings"]["training"])
    if args.token_bytes:
        tables["bytes"] = _block_bytes(tokens, args.token_bytes, max(settings["lengths"]))
    _publish(args.output or args.run, scores, {**tables, "identity": run["identity"]})


def _read_run(folder: Path) -> dict[str, Any]:
    """run.json, refused if it is not the run that config.json describes."""
    settings, run = files.read_json(folder / "config.json"), files.read_json(folder / "run.json", "settings", "identity")
    if difference := provenance.first_difference(run["settings"], settings):
        raise UserError(f"{folder}/run.json: was trained with another {difference}; delete it and run again")
    return run


def _load(folder: Path, run: dict[str, Any], threads: int | None) -> "Llama":
    deterministic = run["settings"]["training"]["deterministic"]
    if deterministic:
        provenance.pin_arithmetic()
    import torch

    from rope_spectra.checkpoint import build_model, load_model
    from rope_spectra.trainer import make_deterministic

    if threads:
        torch.set_num_threads(threads)
    if deterministic:
        make_deterministic()
    model = build_model(run["settings"])
    load_model(folder / "model.safetensors", model, run["identity"])
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _evaluate(
    model: "Llama", tokens: "np.ndarray", settings: dict[str, Any], training: dict[str, Any]
) -> "tuple[list[Score], dict[str, Any]]":
    """The rows of eval.csv and the arrays of eval.npz, in the precision of the training."""
    from rope_spectra.model import autocast

    jobs = [(protocol, length) for protocol in settings["protocols"] for length in settings["lengths"]]
    progress = Progress("evaluation", len(jobs), "lengths")
    scores, tables = [], {}
    with autocast(model.inv_freq.device, training["precision"]):
        for done, (protocol, length) in enumerate(jobs, start=1):
            if protocol == "first_chunks":
                score = _score_first_chunks(model, tokens, length, settings["chunks"])
            else:
                score, arrays = _score_full(model, tokens, length, max(settings["lengths"]), training["seq_len"])
                tables |= arrays
            scores.append(_finite(score))
            progress.update(done)
    progress.finish(len(jobs))
    return scores, tables


def _score_first_chunks(model: "Llama", tokens: "np.ndarray", length: int, chunks: int) -> Score:
    from rope_spectra import perplexity

    score = perplexity.first_chunks(model, tokens, length, chunks)
    return Score("none", "first_chunks", length, score.nll, score.tokens, score.chunks)


def _score_full(
    model: "Llama", tokens: "np.ndarray", length: int, longest: int, train_length: int
) -> tuple[Score, dict[str, Any]]:
    """The row of a length, and its NLL by block and position bin under names such as none/1024/nll."""
    from rope_spectra import perplexity

    table = perplexity.full(model, tokens, length, longest, train_length)
    edges = perplexity.bin_edges(length, train_length)
    count = int(table.tokens.sum()) * len(table.nll)
    score = Score("none", "full", length, float(table.nll.sum()) / count, count, table.pieces)
    arrays = {"nll": table.nll, "tokens": table.tokens, "edges": edges}
    return score, {f"none/{length}/{name}": array for name, array in arrays.items()}


def _finite(score: Score) -> Score:
    if not math.isfinite(score.nll):
        raise UserError(
            f"evaluation: the loss at length {score.length} is {score.nll}; the trained weights are unusable,"
            " delete the run and train again"
        )
    return score


def _block_bytes(tokens: "np.ndarray", token_bytes: Path, longest: int) -> "np.ndarray":
    """UTF-8 bytes of the target tokens of each block, int64 [blocks]."""
    import numpy as np

    from rope_spectra.perplexity import block_starts

    sizes = np.load(token_bytes, allow_pickle=False).astype(np.int64)
    return np.array([sizes[tokens[start : start + longest]].sum() for start in block_starts(len(tokens), longest)])


def _publish(output: Path, scores: list[Score], arrays: dict[str, Any]) -> None:
    import numpy as np

    with files.atomic(output / "eval.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    files.write_text(output / "eval.csv", "\n".join([HEADER, *(score.csv() for score in scores)]) + "\n")


if __name__ == "__main__":
    cli.run(main)
