"""One run from its first step, or from where an earlier attempt has stopped, to its results."""

import sys
from pathlib import Path

import torch

from rope_spectra.artifacts import files, provenance, seal
from rope_spectra.data.cache import Tokens, open_tokens
from rope_spectra.model.weights import build_model, save_model
from rope_spectra.runtime import cli, devices
from rope_spectra.runtime.progress import Progress
from rope_spectra.runtime.rank import is_main_process, is_rank
from rope_spectra.training import checkpoint, ranks, tensorboard
from rope_spectra.training.device import prepare
from rope_spectra.training.interruption import CheckpointClock, Interruption
from rope_spectra.training.record import MODEL, RUN, TRAIN_LOG, Device, Part, RunRecord
from rope_spectra.training.run import CHECKPOINT, History, Run
from rope_spectra.training.trainer import Trainer, is_worth_compiling, keep_freed_memory


def start(run: Run, tokens: Path, processes: int, threads: int | None) -> None:
    """Trains a run in this process, or launches its ranks, each of which comes here again.

    threads: CPU threads of all processes together, None for torch's own choice.
    """
    if processes > 1 and not is_rank():
        if run.settings.training.device != "cpu":
            # All of them at once: ranks that wait for a GPU one by one could block each other.
            devices.lease(processes)
        ranks.launch("rope_spectra.train", sys.argv[1:], processes)
        return
    threads_here = (threads or 0) // processes
    if not is_main_process():
        if ranks.is_called():
            train(run, tokens, threads_here)
        return
    with files.locked(run.output) as has_waited:
        is_done = has_waited and run.is_complete()
        ranks.call_others(to_train=not is_done)
        if is_done:
            cli.log.info("the other process has finished this run")
            return
        run.remove_leftovers()
        train(run, tokens, threads_here)


def train(run: Run, tokens: Path, threads: int) -> None:
    """Trains from where an earlier attempt has stopped, or from the beginning, and publishes."""
    history = History()
    trainer, kernel = _prepare(run, threads)
    first_step = _resume(run, trainer, history)
    if trainer.world.rank == 0:
        _add_part(trainer, kernel, first_step, history)
    try:
        _steps(run, trainer, open_tokens(tokens, run.manifest), first_step, history)
    except RuntimeError as error:
        ranks.wait_for_launcher_after(error, trainer.world)
    if trainer.world.rank == 0:
        _publish(run, trainer, kernel, history)
    ranks.destroy_process_group(trainer.world)


def _prepare(run: Run, threads: int) -> tuple[Trainer, str]:
    """The trainer at step 0, and the name of its attention kernel."""
    settings = run.settings
    recipe = settings.training
    device, kernel = prepare(settings, threads, run.options.runs_per_gpu)
    if device.type == "cpu":
        keep_freed_memory()
    # Right before the model: its initial weights are the first draws of this stream, on the CPU.
    torch.manual_seed(settings.seed)
    model = build_model(settings.model, settings.spectrum)
    if recipe.compile == "auto":
        row_tokens = recipe.rows(run.manifest.tokens) * recipe.seq_len
        # A step costs three times its forward pass.
        flop = 3 * settings.model.forward_flop(recipe.seq_len) * row_tokens
        recipe = recipe.model_copy(update={"compile": is_worth_compiling(flop, device)})
    world = ranks.init_process_group(device, run.options.rank_timeout_minutes)
    trainer = Trainer(model, recipe, device, world)
    cli.log.info(
        "%s seed %d on %d x %s, attention %s: %.1fM parameters, micro-batch %d",
        settings.spectrum.name,
        settings.seed,
        trainer.world.size,
        device,
        kernel,
        settings.model.num_parameters / 1e6,
        trainer.micro_batch_size,
    )
    return trainer, kernel


def _resume(run: Run, trainer: Trainer, history: History) -> int:
    """Restores the state of an earlier attempt; the step to begin with, 0 without such a state.

    A state that cannot be used is no error: the run is trained from the beginning.
    """
    path = run.output / CHECKPOINT
    try:
        state = checkpoint.load_state(path, run.identity)
    except FileNotFoundError:
        return 0
    except checkpoint.UnusableState as reason:
        cli.log.info("%s cannot be used, %s; training starts from the beginning", path, reason)
        return 0
    trainer.restore(state)
    step: int = state["step"]
    history.resume(state["history"], step)
    cli.log.info("resuming at step %d", step)
    return step


def _add_part(trainer: Trainer, kernel: str, first_step: int, history: History) -> None:
    """Notes what trains from here on; logs what differs from earlier attempts and changes bits."""
    part = Part(
        first_step=first_step,
        processes=trainer.world.size,
        device=_device_facts(trainer, kernel),
        versions=provenance.versions(),
        commit=provenance.commit(),
    )
    for earlier in history.parts:
        difference = provenance.first_difference(earlier.arithmetic(), part.arithmetic())
        if difference and earlier.device:
            cli.log.info(
                "from step %d on this run was trained with another %s: its bits may differ from"
                " those of an undisturbed run",
                earlier.first_step,
                difference,
            )
            break
    history.parts.append(part)


def _device_facts(trainer: Trainer, kernel: str) -> Device:
    facts = provenance.device_facts(trainer.device)
    return facts | {"attention": kernel, "compiled": trainer.compiled}


def _steps(run: Run, trainer: Trainer, tokens: Tokens, first_step: int, history: History) -> None:
    """Trains to the end; asked to stop, saves the state and leaves."""
    options = run.options
    steps = trainer.recipe.steps(len(tokens))
    # The main process saves and leaves. Until it has ended its step it needs the other ranks, so
    # they ignore the signals; the launcher ends them.
    is_main = trainer.world.rank == 0
    tokens_per_step = trainer.recipe.batch_size * trainer.recipe.seq_len
    progress = Progress("step", steps, "tokens", start=first_step, each=tokens_per_step)
    is_due = CheckpointClock(options.checkpoint_minutes, options.checkpoint_steps)
    history.start_training()
    note = ""
    with (
        Interruption(handle=is_main) as interruption,
        tensorboard.writer(
            run.event_files if is_main else None, options.tensorboard, first_step
        ) as curve,
    ):
        for step, row in trainer.run(
            tokens, run.settings.seed, options.log_every, first_step, run.row_change()
        ):
            if row:
                history.rows.append(row)
                curve.add(row)
                note = f"loss {row.loss:.3f}"
            progress.update(step + 1, note)
            if step == steps - 1:
                continue  # there is nothing left to resume: the results come next
            # The signal can come at any moment, so it is looked at once: what leaves has saved.
            stop = interruption.signal
            if is_main and (is_due(step) or stop):
                state = {"identity": run.identity, "step": step + 1, "history": history.state()}
                checkpoint.save_state(run.output / CHECKPOINT, trainer.state() | state)
            if stop:
                cli.log.warning(
                    "interrupted: step %d of %d is saved, the same command resumes from there",
                    step + 1,
                    steps,
                )
                raise SystemExit(128 + stop)
    progress.finish(steps, f"loss {history.rows[-1].loss:.3f}")


def _publish(run: Run, trainer: Trainer, kernel: str, history: History) -> None:
    """Writes the declared outputs and removes the checkpoint, which has served its purpose."""
    last = history.rows[-1]
    device = _device_facts(trainer, kernel)
    if trainer.device.type == "cuda":
        device["peak_memory_bytes"] = torch.cuda.max_memory_allocated(trainer.device)
    record = RunRecord(
        identity=run.identity,
        settings=run.settings,
        data=run.data,
        inv_freq=trainer.model.inv_freq.tolist(),
        parameters=trainer.model.config.num_parameters,
        steps=last.step + 1,
        tokens=last.tokens,
        micro_batch_size=trainer.micro_batch_size,
        processes=trainer.world.size,
        resumed_at_steps=history.resumed_at,
        device=device,
        versions=provenance.versions(),
        parts=history.parts,
        seconds={name: round(value, 2) for name, value in history.seconds().items()},
        finished=provenance.now(),
        files={},  # known once they are written
    )
    outputs = run.output / MODEL, run.output / TRAIN_LOG
    with seal.publishing(run.output / RUN, record.content(), *outputs) as (weights, log):
        save_model(weights, trainer.model, run.identity)
        log.write_text(history.csv())
    run.remove_checkpoint()
