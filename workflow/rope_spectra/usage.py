"""Measure what a trained run uses (rule usage).

    python -m rope_spectra.usage --run results/demo/geo_500k/seed42 \\
        --settings results/demo/usage.json \\
        --tokens results/data/toy-stories/validation.npy \\
        --manifest results/data/toy-stories/validation.json

Stills the rotary pairs one by one, within the training length and beyond it, and watches queries,
keys and attention. Writes usage.npz into --output, by default the run's own folder, and then
usage.json, which certifies it.
"""

import numpy as np

from rope_spectra.artifacts import seal
from rope_spectra.config.sections import UsageSettings
from rope_spectra.data.cache import open_tokens, read_manifest
from rope_spectra.evaluation.record import evaluated
from rope_spectra.evaluation.usage_record import USAGE, USAGE_RECORD, UsageFacts
from rope_spectra.runtime import cli
from rope_spectra.runtime.determinism import pin_arithmetic
from rope_spectra.runtime.errors import UserError
from rope_spectra.training.record import data_facts, read_run


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        run="folder with config.json, run.json and model.safetensors",
        settings="length and tokens as JSON",
        tokens="token cache of the validation split",
        manifest="manifest of that cache",
    )
    cli.add_paths(parser, required=False, output="where to write (default: the run's folder)")
    parser.add_argument("--threads", type=int, help="CPU threads to use")
    parser.add_argument(
        "--runs-per-gpu", type=int, default=1, metavar="N", help="take one of N shares of a GPU"
    )
    args = cli.parse(parser)

    settings = seal.load_settings(args.settings, UsageSettings)
    run = read_run(args.run)
    manifest = read_manifest(args.manifest)
    tokens = open_tokens(args.tokens, manifest)
    if len(tokens) <= settings.length:
        raise UserError(
            f"usage: length {settings.length} needs one token more than that, the validation split"
            f" has {len(tokens)}; lower the longest of lengths or raise validation_tokens"
        )
    recipe = run.settings.training
    if recipe.deterministic:
        pin_arithmetic()
    # Only now, because what pin_arithmetic sets is read when these import torch.
    from rope_spectra.evaluation import usage
    from rope_spectra.training.device import prepare
    from rope_spectra.training.trained import load_trained

    device, _ = prepare(run.settings, args.threads, args.runs_per_gpu)
    model = load_trained(args.run, run).to(device).eval()
    arrays = usage.measure(model, tokens, settings, recipe.seq_len, recipe.precision)

    facts = UsageFacts(run=evaluated(run), settings=settings, data=data_facts(manifest, None))
    output = args.output or args.run
    publishing = seal.publishing(output / USAGE_RECORD, facts.content(), output / USAGE)
    # Through an open file: savez would append .npz to the temporary name.
    with publishing as [npz], npz.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


if __name__ == "__main__":
    cli.run(main)
