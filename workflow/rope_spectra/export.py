"""Export a trained and evaluated run for Hugging Face transformers (rule export).

    python -m rope_spectra.export --run results/demo/geo_500k/seed42 \\
        --settings results/demo/evaluation.json \\
        --manifest results/data/toy-stories/train.json \\
        --tokenizer results/data/toy-stories/tokenizer/tokenizer.json \\
        --summary results/demo/summary.csv --output results/demo/geo_500k/seed42/hf

Writes a folder that AutoModelForCausalLM and AutoTokenizer load by themselves: config.json,
model.safetensors in fp32, the tokenizer (none for a data set that is tokens) and README.md, the
model card. It appears whole or not at all.
"""

import argparse
from pathlib import Path

import pandas as pd
from safetensors.torch import save
from tokenizers import Tokenizer

from rope_spectra.analysis import lineage
from rope_spectra.artifacts import files, seal
from rope_spectra.artifacts.tables import read_csv
from rope_spectra.config.design import NATIVE
from rope_spectra.config.sections import EvaluationSettings
from rope_spectra.data import tokenizers
from rope_spectra.data.cache import Manifest, read_manifest
from rope_spectra.data.sources import LearnedTokenizer
from rope_spectra.evaluation.record import EVAL, EvaluationRecord, read_evaluation
from rope_spectra.model import huggingface
from rope_spectra.model.llama import Llama
from rope_spectra.report import model_card
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError
from rope_spectra.training.record import RUN, RunRecord, read_run
from rope_spectra.training.trained import load_trained


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        run="folder of the run, evaluated",
        settings="settings of its evaluation as JSON",
        manifest="manifest of the training split",
        output="folder to write",
    )
    cli.add_paths(
        parser,
        required=False,
        tokenizer="tokenizer.json of the data set, where it has one",
        summary="summary.csv of the experiment, for the model card; may be missing",
    )
    parser.add_argument("--language", help="language of the text, for the model card: en")
    args = cli.parse(parser)

    run = read_run(args.run)
    manifest = read_manifest(args.manifest)
    _check_data(args, run, manifest)
    settings = seal.load_settings(args.settings, EvaluationSettings)
    evaluation = read_evaluation(args.run, settings)
    tokenizer = None
    made = None
    if args.tokenizer:
        tokenizer = read_tokenizer(args.tokenizer)
        record_path = tokenizers.record_path(args.tokenizer)
        made = seal.load_record(record_path, tokenizers.TokenizerRecord).settings
        if isinstance(made, LearnedTokenizer):
            tokenizer = tokenizers.marked(tokenizer)
    model = _load_model(args.run, run)
    scores = pd.read_csv(args.run / EVAL)
    summary = read_summary(args.summary, run, evaluation)
    card = model_card.card(run, manifest, made, scores, summary, args.language)
    longest = max(run.settings.training.seq_len, *settings.lengths)
    _check_absent(args.output)
    with files.atomic_folder(args.output) as folder:
        write(folder, model, longest, tokenizer, run.identity)
        files.write_text(folder / "README.md", card)
    cli.log.info("%s: load it with AutoModelForCausalLM.from_pretrained", args.output)


def _check_data(args: argparse.Namespace, run: RunRecord, manifest: Manifest) -> None:
    """UserError unless the run was trained on the tokens of the manifest, by the tokenizer."""
    if manifest.sha256 != run.data.sha256:
        raise UserError(
            f"{args.manifest}: not the tokens that {args.run} was trained on; give the manifest of"
            " its training split"
        )
    if manifest.tokenizer_sha256 != (files.sha256(args.tokenizer) if args.tokenizer else None):
        raise UserError(
            f"--tokenizer: {args.tokenizer or 'none given'}, not what made the tokens of"
            f" {args.manifest}; give that tokenizer.json"
        )


def write(
    folder: Path, model: Llama, longest: int, tokenizer: Tokenizer | None, identity: str
) -> None:
    """config.json, model.safetensors and, with a tokenizer, its two files.

    `longest` is the longest length in use, in tokens.
    """
    ids = huggingface.special_ids(tokenizer)
    config = huggingface.model_config(model.config, model.inv_freq.numpy(), longest, ids)
    files.write_json(folder / "config.json", config)
    weights = huggingface.model_weights(model.state_dict())
    with files.atomic(folder / "model.safetensors") as temporary:
        # See save_model for why it is not save_file().
        temporary.write_bytes(save(weights, metadata={"format": "pt", "identity": identity}))
    if tokenizer:
        files.write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=True))
        settings = huggingface.tokenizer_config(tokenizer, longest)
        files.write_json(folder / "tokenizer_config.json", settings)


def _check_absent(path: Path) -> None:
    """UserError if `path` is there; an empty folder does not count, because Snakemake makes it."""
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise UserError(f"{path}: exists already; delete it, or name another folder with --output")


def _load_model(folder: Path, run: RunRecord) -> Llama:
    """The trained model; UserError if its spectrum now means other frequencies than it had.

    The weights would then turn by angles that they were not trained with.
    """
    model = load_trained(folder, run)
    if model.inv_freq.tolist() != run.inv_freq:
        raise UserError(
            f"{folder / RUN}: was trained with other frequencies than its spectrum means in this"
            f" version; export it with version {run.versions['rope_spectra']}, which trained it,"
            " or train it again"
        )
    return model


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer as training used it: no post-processor may put tokens around a text."""
    tokenizer = tokenizers.load_tokenizer(path)
    if tokenizer.num_special_tokens_to_add(is_pair=False):
        tokenizer.post_processor = None
    return tokenizer


def read_summary(
    path: Path | None, run: RunRecord, evaluation: EvaluationRecord
) -> pd.DataFrame | None:
    """The rows of summary.csv of this spectrum and phase, without a remap.

    None if there is no summary yet, or if it was not made from this evaluation of the run.
    """
    if path is None or not path.exists():
        return None
    record = lineage.check_table(path)
    spectrum = run.settings.spectrum.name
    seed = str(run.settings.seed)
    tabulated = record.evaluations.get(f"{spectrum}/seed{seed}")
    if tabulated is None or tabulated.files != evaluation.files:
        cli.log.info(
            "%s: not made from this run as it is now; the model card goes without it", path
        )
        return None
    table = read_csv(path)
    # A row is of the seeds of one phase (all, selection or confirmation).
    of_phase = table["seeds"].map(lambda seeds: seed in seeds.split())
    return table[(table["spectrum"] == spectrum) & (table["remap"] == NATIVE) & of_phase]


if __name__ == "__main__":
    cli.run(main)
