"""Export a trained and evaluated run for Hugging Face transformers (rule export).

    python -m rope_spectra.export --run results/demo/geo_500k/seed42 --settings results/demo/evaluation.json \\
        --manifest results/data/toy-stories/train.json --tokenizer results/data/toy-stories/tokenizer/tokenizer.json \\
        --summary results/demo/summary.csv --output results/demo/geo_500k/seed42/hf

Writes a folder that AutoModelForCausalLM and AutoTokenizer load by themselves: config.json, model.safetensors in fp32,
the tokenizer (none for a data set that is tokens) and README.md, the model card. It appears whole or not at all.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rope_spectra.analysis import lineage
from rope_spectra.artifacts import files, layout, records, seal
from rope_spectra.data.cache import Manifest, read_manifest
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError

if TYPE_CHECKING:
    import argparse

    import pandas as pd
    from tokenizers import Tokenizer

    from rope_spectra.model.llama import Llama


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run, evaluated")
    parser.add_argument(
        "--settings", type=Path, required=True, help="settings of its evaluation as JSON"
    )
    parser.add_argument(
        "--manifest", type=Path, required=True, help="manifest of the training split"
    )
    parser.add_argument(
        "--tokenizer", type=Path, help="tokenizer.json of the data set, where it has one"
    )
    parser.add_argument(
        "--summary",
        type=Path,
        help="summary.csv of the experiment, for the model card; may be missing",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    args = cli.parse(parser)

    run, manifest = records.read_run(args.run), read_manifest(args.manifest)
    _check_belongs(run, manifest, args)
    evaluation = records.read_evaluation(args.run, records.read_evaluation_settings(args.settings))
    length = max(run["settings"]["training"]["seq_len"], *evaluation["settings"]["lengths"])
    tokenizer = read_tokenizer(args.tokenizer)
    model = _load_model(args.run, run)
    card = _card(run, manifest, evaluation, args)
    with _whole_folder(args.output) as folder:
        write(folder, model, length, tokenizer, run["identity"])
        files.write_text(folder / "README.md", card)
    cli.log.info("%s: load it with AutoModelForCausalLM.from_pretrained", args.output)


def write(
    folder: Path, model: "Llama", length: int, tokenizer: "Tokenizer | None", identity: str
) -> None:
    """config.json, model.safetensors and, with a tokenizer, its two files; `length` tokens is the longest in use."""

    from safetensors.torch import save_file

    from rope_spectra.model import huggingface

    ids = huggingface.special_ids(tokenizer)
    files.write_json(
        folder / "config.json",
        huggingface.model_config(model.config.content(), model.inv_freq.numpy(), length, ids),
    )
    with files.atomic(folder / "model.safetensors") as temporary:
        save_file(
            huggingface.model_weights(model.state_dict()),
            temporary,
            metadata={"format": "pt", "identity": identity},
        )
    if tokenizer:
        files.write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=True))
        files.write_json(
            folder / "tokenizer_config.json", huggingface.tokenizer_config(tokenizer, length)
        )


@contextmanager
def _whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its place if the block succeeds; UserError if there is one already."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{path}: exists already; delete it, or name another folder with --output")
    temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_belongs(run: dict[str, Any], manifest: Manifest, args: "argparse.Namespace") -> None:
    """The card names the data, and the folder holds the tokenizer, that the run was trained with."""
    if manifest.sha256 != run["data"]["sha256"]:
        raise UserError(
            f"{args.manifest}: not the tokens that {args.run} was trained on; give the manifest of its training split"
        )
    found = files.sha256(args.tokenizer) if args.tokenizer else None
    if found != manifest.tokenizer_sha256:
        given = args.tokenizer or "none given"
        raise UserError(
            f"--tokenizer: {given}, not what made the tokens of {args.manifest}; give that tokenizer.json"
        )


def _load_model(folder: Path, run: dict[str, Any]) -> "Llama":
    from rope_spectra.model.config import ModelConfig
    from rope_spectra.model.weights import build_model, load_model
    from rope_spectra.rope.families import NamedSpectrum

    spectrum = NamedSpectrum.model_validate(run["settings"]["spectrum"])
    model = build_model(ModelConfig(**run["settings"]["model"]), spectrum, empty=True)
    records.check_run(folder, run, records.MODEL)
    load_model(folder / records.MODEL, model, run["identity"])
    if model.inv_freq.tolist() != run["inv_freq"]:
        raise UserError(
            f"{folder}/run.json: was trained with other frequencies than its spectrum means in this version; export it with"
            f" version {run['versions']['rope_spectra']}, which trained it, or train it again"
        )
    return model


def read_tokenizer(path: Path | None) -> "Tokenizer | None":
    """The tokenizer as training used it: no post-processor may put tokens around a text."""
    from rope_spectra.data.tokenizers import load_tokenizer

    if path is None:
        return None
    tokenizer = load_tokenizer(path)
    if tokenizer.num_special_tokens_to_add(is_pair=False):
        tokenizer.post_processor = None
    return tokenizer


def _card(
    run: dict[str, Any],
    manifest: Manifest,
    evaluation: dict[str, Any],
    args: "argparse.Namespace",
) -> str:
    import pandas as pd

    from rope_spectra.report import model_card

    scores, summary = (
        pd.read_csv(args.run / records.EVAL),
        read_summary(args.summary, run, evaluation),
    )
    return model_card.card(
        run, manifest.content(), _tokenizer_settings(args.tokenizer), scores, summary
    )


def _tokenizer_settings(path: Path | None) -> dict[str, Any] | None:
    """What a tokenizer was made from, of the record beside it."""
    return (
        seal.read(path.with_name(Path(layout.TOKENIZER_RECORD).name), "settings")["settings"]
        if path
        else None
    )


def read_summary(
    path: Path | None, run: dict[str, Any], evaluation: dict[str, Any]
) -> "pd.DataFrame | None":
    """The summary's rows of this spectrum and phase; None if there are none yet, or not from this evaluation of the run."""
    from rope_spectra.artifacts.tables import read_csv

    if path is None or not path.exists():
        return None
    record, settings = lineage.record_of(path), run["settings"]
    made_from = seal.read(record, "evaluations", "files")
    seal.check(record, made_from, path)
    spectrum, seed = settings["spectrum"]["name"], str(settings["seed"])
    if (
        made_from["evaluations"].get(f"{spectrum}/seed{seed}", {}).get("files")
        != evaluation["files"]
    ):
        cli.log.info(
            "%s: not made from this run as it is now; the model card goes without it", path
        )
        return None
    table = read_csv(path)
    of_phase = table["seeds"].map(lambda seeds: seed in seeds.split())
    return table[(table["spectrum"] == spectrum) & (table["remap"] == "none") & of_phase]


if __name__ == "__main__":
    cli.run(main)
