"""Train one run: one spectrum, one seed (rule train).

    python -m rope_spectra.train --config results/demo/geo_500k/seed42/config.json \\
        --tokens results/data/toy-stories/train.npy --manifest results/data/toy-stories/train.json --output /tmp/run

Writes model.safetensors, train.csv and run.json into --output, run.json last. Uses a GPU where there is one.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rope_spectra import cli, files, provenance
from rope_spectra.errors import UserError
from rope_spectra.progress import Progress
from rope_spectra.tokens import open_tokens, read_manifest

if TYPE_CHECKING:
    from rope_spectra.trainer import LogRow, Trainer, TrainingConfig


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--config", type=Path, required=True, help="frozen settings of the run")
    parser.add_argument("--options", type=Path, help="what does not change the result (log_every)")
    parser.add_argument("--tokens", type=Path, required=True, help="token cache of the training split")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of that cache")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads to use")
    args = cli.parse(parser)

    began = time.perf_counter()
    settings = files.read_json(args.config, "recipe", "experiment", "seed", "spectrum", "model", "training")
    options = files.read_json(args.options, "log_every") if args.options else {"log_every": 10}
    manifest = read_manifest(args.manifest)
    trainer = _prepare(settings, manifest, args.threads)
    tokens = open_tokens(args.tokens, manifest)
    log = _train(trainer, tokens, settings, options["log_every"])
    _publish(args.output, trainer, log, settings, manifest, time.perf_counter() - began)


def _prepare(settings: dict[str, Any], manifest: dict[str, Any], threads: int | None) -> "Trainer":
    if settings["training"]["deterministic"]:
        provenance.pin_arithmetic()
    import torch

    from rope_spectra.checkpoint import build_model
    from rope_spectra.trainer import Trainer, TrainingConfig, make_deterministic

    if threads:
        torch.set_num_threads(threads)
    config = TrainingConfig(**settings["training"])
    _check_data(settings, config, manifest)
    if config.deterministic:
        make_deterministic()
    torch.manual_seed(settings["seed"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = Trainer(build_model(settings), config, device)
    parameters = trainer.model.num_parameters()
    cli.log.info(
        "%s on %s: %.1fM parameters, micro-batch %d",
        settings["spectrum"]["name"],
        device,
        parameters / 1e6,
        trainer.micro_batch_size,
    )
    return trainer


def _check_data(settings: dict[str, Any], config: "TrainingConfig", manifest: dict[str, Any]) -> None:
    if manifest["vocab_size"] > settings["model"]["vocab_size"]:
        raise UserError(
            f"models: vocab_size {settings['model']['vocab_size']} is smaller than the tokenizer's {manifest['vocab_size']};"
            f" raise it to at least {manifest['vocab_size']}"
        )
    if config.rows(manifest["tokens"]) < config.batch_size:
        raise UserError(
            f"training: one batch needs {config.batch_size * config.seq_len} tokens, the data has {manifest['tokens']};"
            " lower batch_size or raise train_tokens"
        )


def _train(trainer: "Trainer", tokens: Any, settings: dict[str, Any], log_every: int) -> "list[LogRow]":
    config = trainer.config
    steps = config.rows(len(tokens)) // config.batch_size
    progress = Progress("step", steps, "steps")
    log = []
    for row in trainer.run(tokens, settings["seed"], log_every):
        log.append(row)
        progress.update(row.step + 1, f"loss {row.loss:.3f}, {row.tokens_per_s:,.0f} tokens/s")
    progress.finish(steps, f"loss {log[-1].loss:.3f}")
    return log


def _publish(
    output: Path, trainer: "Trainer", log: "list[LogRow]", settings: dict[str, Any], manifest: dict[str, Any], seconds: float
) -> None:
    from rope_spectra.checkpoint import save_model

    identity = provenance.run_identity(settings, manifest)
    save_model(output / "model.safetensors", trainer.model, identity)
    header = "step,loss,lr,tokens,tokens_per_s"
    lines = [f"{row.step},{row.loss!r},{row.lr!r},{row.tokens},{row.tokens_per_s:.1f}" for row in log]
    files.write_text(output / "train.csv", "\n".join([header, *lines]) + "\n")
    files.write_json(
        output / "run.json",
        {
            "identity": identity,
            "settings": settings,
            "data": {"sha256": manifest["sha256"], "tokens": manifest["tokens"]},
            "inv_freq": [float(omega) for omega in trainer.model.inv_freq],
            "parameters": trainer.model.num_parameters(),
            "steps": log[-1].step + 1,
            "tokens": log[-1].tokens,
            "micro_batch_size": trainer.micro_batch_size,
            "device": provenance.device_facts(trainer.device),
            "versions": provenance.versions(),
            "seconds": round(seconds, 2),
        },
    )


if __name__ == "__main__":
    cli.run(main)
