"""Write the validation text of a run as a task of lm-evaluation-harness.

    python -m rope_spectra.lm_eval_task --run results/demo/geo_500k/seed42 \\
        --dataset toy-stories --output lm_eval

Prints the commands that run it on the export of the run, results/demo/geo_500k/seed42/hf, and the
results that they should have: those of protocol `full` in eval.csv. The harness has an
environment of its own, which `make lm-eval` installs.
"""

import json
import math
from pathlib import Path

import pandas as pd
from tokenizers import Tokenizer

from rope_spectra.artifacts import files, layout, seal
from rope_spectra.config.design import NATIVE
from rope_spectra.data import tokenizers
from rope_spectra.data.cache import Tokens, check_tokenizer, open_tokens, read_manifest
from rope_spectra.evaluation.record import EVAL, EVAL_RECORD, EvaluationRecord, read_evaluation
from rope_spectra.report import harness
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(parser, run="folder of the run, evaluated", output="folder for the task")
    parser.add_argument("--dataset", required=True, help="dataset of the run: results/data/<name>")
    args = cli.parse(parser)

    settings = seal.load_record(args.run / EVAL_RECORD, EvaluationRecord).settings
    evaluation = read_evaluation(args.run, settings)
    scores = pd.read_csv(args.run / EVAL)
    scores = scores[(scores["protocol"] == "full") & (scores["remap"] == NATIVE)]
    if scores.empty:
        raise UserError(f"{args.run / EVAL}: has no protocol full, which the harness could repeat")
    tokens, tokenizer = _read_data(args.dataset, evaluation.data.sha256)
    # Every target has a token before it, and every length scored the same ones.
    targets = tokens[1 : 1 + int(scores["tokens"].iloc[0])]
    text = _as_text(targets, tokenizer)
    path = args.output / "validation.jsonl"
    files.write_text(path, json.dumps({"text": text}, ensure_ascii=False) + "\n")
    files.write_text(args.output / f"{harness.TASK}.yaml", harness.task(path.resolve()))

    size = len(text.encode())
    print(f"{path}: {len(targets)} tokens in {size} bytes")
    for row in scores.itertuples():
        bits = row.nll * len(targets) / math.log(2) / size
        model = str(args.run / Path(layout.HF).name)
        line = harness.command(model, row.length, harness.TASK, args.output, int(tokens[0]))
        print(f"\n# {row.length} tokens: bits_per_byte {bits:.4f}, perplexity {row.ppl:.4f}")
        print(line)


def _read_data(dataset: str, sha256: str) -> tuple[Tokens, Tokenizer]:
    """The validation tokens with that hash, and their tokenizer; UserError for others."""
    path = layout.fill(layout.MANIFEST, dataset=dataset, split="validation")
    manifest = read_manifest(path)
    if manifest.sha256 != sha256:
        raise UserError(f"{path}: not the text that the run was evaluated on; give its dataset")
    if manifest.tokenizer_sha256 is None:
        raise UserError(f"{path}: tokens without a tokenizer; the harness reads text alone")
    tokenizer = layout.fill(layout.TOKENIZER, dataset=dataset)
    check_tokenizer(path, manifest, tokenizer)
    tokens = layout.fill(layout.TOKENS, dataset=dataset, split="validation")
    return open_tokens(tokens, manifest), tokenizers.load_tokenizer(tokenizer)


def _as_text(tokens: Tokens, tokenizer: Tokenizer) -> str:
    """The text of the tokens, with a warning where the harness will read it as other tokens.

    Documents were tokenized one by one: where two meet, the text of both may be one token.
    """
    ids = tokens.tolist()
    text = str(tokenizer.decode(ids, skip_special_tokens=False))
    again = tokenizer.encode(text, add_special_tokens=False).ids
    if again != ids:
        cli.log.warning(
            "this text becomes %d tokens instead of %d: the results will be near, not equal",
            len(again),
            len(ids),
        )
    return text


if __name__ == "__main__":
    cli.run(main)
