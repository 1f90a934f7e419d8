"""Train one run: one spectrum, one seed (rule train).

    python -m rope_spectra.train --config results/demo/geo_500k/seed42/config.json \\
        --tokens results/data/toy-stories/train.npy --manifest results/data/toy-stories/train.json --output /tmp/run

Writes model.safetensors, train.csv and run.json into --output, run.json last. Uses a GPU where there is one, or several with
--processes. Until it is done checkpoint.pt holds the state of the training: SIGTERM and Ctrl-C save it, and the same command
goes on from there, to the same bits.
"""

import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rope_spectra.artifacts import files, provenance, records, seal
from rope_spectra.data.cache import open_tokens, read_manifest
from rope_spectra.data.sentence import read_sentence
from rope_spectra.runtime import cli, devices, heartbeat
from rope_spectra.runtime.progress import Progress, short_number
from rope_spectra.training import ranks, tensorboard
from rope_spectra.training.history import History
from rope_spectra.training.interruption import CheckpointClock, Interruption
from rope_spectra.training.run import CHECKPOINT, DEFAULT_OPTIONS, Run

if TYPE_CHECKING:
    import numpy as np

    from rope_spectra.training.trainer import Trainer


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--config", type=Path, required=True, help="frozen settings of the run")
    parser.add_argument(
        "--options",
        type=Path,
        help="what does not change the result (log_every, checkpoint_minutes ...)",
    )
    parser.add_argument(
        "--tokens", type=Path, required=True, help="token cache of the training split"
    )
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of that cache")
    parser.add_argument(
        "--sentence",
        type=Path,
        help="sentence of the retrieval probe, where retrieval_share is above 0",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--curves", type=Path, help="folder for TensorBoard event files (default: none)"
    )
    parser.add_argument("--threads", type=int, default=None, help="CPU threads to use")
    parser.add_argument(
        "--processes",
        type=int,
        help="GPUs to use, a process each (default: gpus_per_run of the options)",
    )
    args = cli.parse(parser)

    settings = seal.read_settings(args.config, records.RUN_SETTINGS)
    options = DEFAULT_OPTIONS | (
        seal.read_settings(args.options, ["log_every"], DEFAULT_OPTIONS) if args.options else {}
    )
    sentence = read_sentence(args.sentence, settings["training"].get("retrieval_share", 0) > 0)
    run = Run(args.output, settings, read_manifest(args.manifest), options, args.curves, sentence)
    processes = options["gpus_per_run"] if args.processes is None else args.processes
    run.check(processes)
    if processes > 1 and not ranks.is_one():
        if settings["training"].get("device") != "cpu":
            devices.lease(processes)
        ranks.launch("rope_spectra.train", sys.argv[1:], processes)
        return
    with files.locked(run.output) if ranks.is_first() else nullcontext(False) as waited:
        if waited and run.is_complete():
            cli.log.info("the other process has finished this run")
            return
        run.remove_leftovers()
        train(run, args.tokens, (args.threads or 0) // processes)


def train(run: Run, tokens: Path, threads: int) -> None:
    """Train from the beginning, or from where an earlier attempt has stopped, and publish."""
    history = History()
    trainer, attention = _prepare(run, threads)
    start = _take_up(run, trainer, history)
    try:
        _steps(run, trainer, open_tokens(tokens, run.manifest), start, history)
    except RuntimeError as error:
        ranks.wait_for_the_end_after(error, trainer.world)
    if trainer.world.rank == 0:
        _publish(run, trainer, attention, history)
    ranks.leave(trainer.world)


def _prepare(run: Run, threads: int) -> "tuple[Trainer, str]":
    """The trainer at step 0, and the attention kernel it uses."""
    training = run.settings["training"]
    if training["deterministic"]:
        provenance.pin_arithmetic()
    import torch

    from rope_spectra.model import attention
    from rope_spectra.training.checkpoint import build_model
    from rope_spectra.training.trainer import (
        Trainer,
        TrainingConfig,
        is_worth_compiling,
        keep_freed_memory,
        make_deterministic,
    )

    if threads:
        torch.set_num_threads(threads)
    config = TrainingConfig(**training)
    if config.deterministic:
        make_deterministic()
    device = devices.take(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    heartbeat.set_device(provenance.device_name(device))
    torch.manual_seed(run.settings["seed"])
    model = build_model(run.settings)
    if config.compile == "auto":
        flop = (
            model.flop_per_token(config.seq_len) * config.rows(run.manifest.tokens) * config.seq_len
        )
        config = replace(config, compile=is_worth_compiling(flop, device))
    kernel = attention.choose(
        device, config.precision, model.config.head_dim, config.seq_len, config.deterministic
    )
    trainer = Trainer(model, config, device, ranks.join(device))
    cli.log.info(
        "%s seed %d on %d x %s, attention %s: %.1fM parameters, micro-batch %d",
        run.settings["spectrum"]["name"],
        run.settings["seed"],
        trainer.world.size,
        device,
        kernel,
        model.num_parameters() / 1e6,
        trainer.micro_batch_size,
    )
    return trainer, kernel


def _take_up(run: Run, trainer: "Trainer", history: History) -> int:
    """The step to go on with: where an earlier attempt has stopped, or 0 if it has left nothing that can be used."""
    from rope_spectra.training import checkpoint

    path = run.path(CHECKPOINT)
    try:
        state = checkpoint.load_state(path, run.identity)
    except FileNotFoundError:
        return 0
    except checkpoint.UnusableState as reason:
        cli.log.info("%s cannot be used, %s; training starts from the beginning", path, reason)
        return 0
    trainer.restore(state)
    history.take_up(state["history"], state["step"])
    cli.log.info("resuming at step %d", state["step"])
    return state["step"]


def _steps(
    run: Run, trainer: "Trainer", tokens: "np.ndarray", start: int, history: History
) -> None:
    """Train to the end; asked to stop, save the state and leave."""
    steps, first = trainer.config.steps(len(tokens)), trainer.world.rank == 0
    progress = Progress("step", steps, "steps", start=start)
    is_due = CheckpointClock(run.options["checkpoint_minutes"], run.options["checkpoint_steps"])
    history.start_training()
    note = ""
    # The first rank saves and leaves; until it has ended its step it needs the others, so they do not listen.
    with (
        Interruption(heed=first) as interruption,
        tensorboard.writer(
            run.curves if first else None, run.options["tensorboard"], start
        ) as curve,
    ):
        for step, row in trainer.run(
            tokens, run.settings["seed"], run.options["log_every"], start, run.row_change()
        ):
            if row:
                history.rows.append(row)
                curve.add(row)
                note = f"loss {row.loss:.3f}, {short_number(row.tokens_per_s)} tokens/s"
            progress.update(step + 1, note)
            if first and step < steps - 1 and (is_due(step) or interruption.signal):
                _save(run, trainer, step + 1, history)
            if interruption.signal and step < steps - 1:
                cli.log.info(
                    "interrupted: step %d of %d is saved, the same command goes on from there",
                    step + 1,
                    steps,
                )
                raise SystemExit(128 + interruption.signal)
    progress.finish(steps, f"loss {history.rows[-1].loss:.3f}")


def _save(run: Run, trainer: "Trainer", step: int, history: History) -> None:
    from rope_spectra.training.checkpoint import save_state

    save_state(
        run.path(CHECKPOINT),
        trainer.state() | {"identity": run.identity, "step": step, "history": history.state()},
    )


def _publish(run: Run, trainer: "Trainer", attention: str, history: History) -> None:
    """Write the declared outputs; the checkpoint has served."""
    from rope_spectra.training.checkpoint import save_model

    facts = {
        "identity": run.identity,
        "settings": run.settings,
        "data": run.data,
        "inv_freq": [float(omega) for omega in trainer.model.inv_freq],
        "parameters": trainer.model.num_parameters(),
        "steps": history.rows[-1].step + 1,
        "tokens": history.rows[-1].tokens,
        "micro_batch_size": trainer.micro_batch_size,
        "processes": trainer.world.size,
        "resumed_at_steps": history.resumed_at,
        "device": provenance.device_facts(trainer.device)
        | {"attention": attention, "compiled": trainer.compiled},
        "versions": provenance.versions(),
        "seconds": {name: round(value, 2) for name, value in history.seconds().items()},
    }
    outputs = run.path(records.MODEL), run.path(records.TRAIN_LOG)
    with seal.publishing(run.path(records.RUN), facts, *outputs) as (weights, log):
        save_model(weights, trainer.model, run.identity)
        log.write_text(history.csv())
    run.path(CHECKPOINT).unlink(missing_ok=True)


if __name__ == "__main__":
    cli.run(main)
