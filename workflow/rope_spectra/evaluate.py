"""Evaluate a trained run at every length (rule evaluate).

    python -m rope_spectra.evaluate --run results/demo/geo_500k/seed42 \\
        --settings results/demo/evaluation.json \\
        --tokens results/data/toy-stories/validation.npy \\
        --manifest results/data/toy-stories/validation.json

Writes three files into --output, by default the run's own folder: eval.csv has one row per remap,
protocol and length. eval.npz has the NLL by block and position bin, from which every statistic of
protocol `full` comes without another pass, and, where the settings have `retrieval`, the NLL of
each trial's candidates. eval.json, written last, certifies both. A remap changes the trained
spectrum beyond the training length; up to it, its rows are those of the trained model.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rope_spectra.artifacts import seal
from rope_spectra.artifacts.kept import Store
from rope_spectra.config.sections import EvaluationSettings
from rope_spectra.data.cache import Tokens, open_tokens, read_manifest
from rope_spectra.data.episodes import Words, read_probe
from rope_spectra.data.sentence import Sentence
from rope_spectra.data.tokenizers import check_record
from rope_spectra.evaluation import trials
from rope_spectra.evaluation.adoption import evaluate_once
from rope_spectra.evaluation.record import EVAL, EVAL_NLL, EVAL_RECORD, EvaluationFacts, evaluated
from rope_spectra.runtime import cli
from rope_spectra.runtime.determinism import pin_arithmetic
from rope_spectra.runtime.errors import UserError
from rope_spectra.training.record import RunRecord, data_facts, read_run

if TYPE_CHECKING:
    from rope_spectra.model.llama import Llama


def main() -> None:
    args = _arguments()
    settings = seal.load_settings(args.settings, EvaluationSettings)
    settings.check_yarn()
    run = read_run(args.run)
    manifest = read_manifest(args.manifest)
    tokens = open_tokens(args.tokens, manifest)
    longest = max(settings.lengths)
    if len(tokens) <= longest:
        raise UserError(
            f"evaluation: length {longest} needs one token more than that, the validation split"
            f" has {len(tokens)}; lower lengths or raise validation_tokens"
        )
    sentence = read_probe(args.sentence, settings.probe)
    if isinstance(sentence, Words) and settings.retrieval is not None:
        trials.check(settings.retrieval, sentence, tokens, settings.lengths, run.settings.seed)
    facts = EvaluationFacts(
        run=evaluated(run), settings=settings, data=data_facts(manifest, sentence)
    )
    output = args.output or args.run

    def evaluate() -> None:
        sizes = None
        if args.token_bytes:
            sizes = read_token_bytes(args.token_bytes, manifest.vocab_size)
        model = _load(args.run, run, args.threads, args.runs_per_gpu)
        _evaluate(model, tokens, sentence, sizes, facts, output)

    if args.kept:
        evaluate_once(Store(args.kept), facts, bool(args.token_bytes), output, evaluate)
    else:
        evaluate()


def _arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        run="folder with config.json, run.json and model.safetensors",
        settings="lengths, protocols, chunks and remaps as JSON",
        tokens="token cache of the validation split",
        manifest="manifest of that cache",
    )
    cli.add_paths(
        parser,
        required=False,
        token_bytes="bytes of each token id, for bits per byte",
        sentence="sentence or words of the retrieval probe, where the settings have retrieval",
        output="where to write (default: the run's folder)",
        kept="store of finished evaluations: adopt this one if it is there, else keep it there",
    )
    parser.add_argument("--threads", type=int, help="CPU threads to use")
    parser.add_argument(
        "--runs-per-gpu", type=int, default=1, metavar="N", help="take one of N shares of a GPU"
    )
    return cli.parse(parser)


def _evaluate(
    model: "Llama",
    tokens: Tokens,
    sentence: Sentence | Words | None,
    sizes: NDArray[np.uint16] | None,
    facts: EvaluationFacts,
    output: Path,
) -> None:
    """Measures what the settings ask for and publishes it; `sizes` as read_token_bytes has them."""
    # Not at the top: it imports torch, for which _load has set up the arithmetic.
    from rope_spectra.evaluation import passes

    training = facts.run.settings.training
    how = (facts.settings, training.seq_len, training.precision)
    scores, arrays = passes.perplexities(model, tokens, *how)
    if sizes is not None:
        arrays["bytes"] = passes.block_bytes(tokens, sizes, max(facts.settings.lengths))
    if isinstance(sentence, Sentence):
        arrays |= passes.retrieval(model, tokens, sentence, *how)
    if isinstance(sentence, Words):
        arrays |= passes.tasks(model, tokens, sentence, facts.run.settings.seed, *how)

    paths = (output / EVAL, output / EVAL_NLL)
    with seal.publishing(output / EVAL_RECORD, facts.content(), *paths) as (csv, npz):
        csv.write_text("\n".join([passes.HEADER, *(score.csv() for score in scores)]) + "\n")
        # Through an open file: savez would append .npz to the temporary name.
        with npz.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)


def read_token_bytes(path: Path, vocab_size: int) -> NDArray[np.uint16]:
    """UTF-8 bytes of each token id [vocab_size]; UserError if the file is no such array."""
    check_record(path)
    try:
        # A pickle in its place could run code.
        sizes = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        sizes = None
    if np.ndim(sizes) != 1 or len(sizes) < vocab_size:
        raise UserError(
            f"{path}: not the sizes of {vocab_size} tokens; give the token_bytes.npy next to their"
            " tokenizer.json"
        )
    return sizes


def _load(folder: Path, run: RunRecord, threads: int | None, runs_per_gpu: int) -> "Llama":
    """The trained model on the device, and with the arithmetic, that its training asks for."""
    if run.settings.training.deterministic:
        pin_arithmetic()
    # Only now, because what pin_arithmetic sets is read when these import torch.
    from rope_spectra.training.device import prepare
    from rope_spectra.training.trained import load_trained

    device, _ = prepare(run.settings, threads, runs_per_gpu)
    return load_trained(folder, run).to(device).eval()


if __name__ == "__main__":
    cli.run(main)
