"""Train one run: one spectrum, one seed (rule train).

    python -m rope_spectra.train --settings results/demo/geo_500k/seed42/config.json \\
        --tokens results/data/toy-stories/train.npy \\
        --manifest results/data/toy-stories/train.json --output /tmp/run

Writes model.safetensors, train.csv and run.json into --output, run.json last. Uses a GPU where
there is one, or several with --processes. Until it is done checkpoint.pt holds the state of the
training: SIGTERM, SIGHUP, SIGQUIT and Ctrl-C save it, and the same command resumes from there, to
the same bits.
"""

import argparse
import os

from rope_spectra.artifacts import seal
from rope_spectra.artifacts.kept import Store
from rope_spectra.config.frozen import RunSettings
from rope_spectra.config.sections import RunOptions
from rope_spectra.data.cache import read_manifest
from rope_spectra.data.episodes import read_probe
from rope_spectra.runtime import cli
from rope_spectra.runtime.determinism import pin_arithmetic
from rope_spectra.runtime.rank import is_rank
from rope_spectra.training.adoption import train_once
from rope_spectra.training.run import Run, check_validation


def main() -> None:
    args = _arguments()
    settings = seal.load_settings(args.settings, RunSettings)
    options = seal.load_settings(args.options, RunOptions) if args.options else RunOptions()
    run = Run(
        output=args.output,
        settings=settings,
        manifest=read_manifest(args.manifest),
        options=options,
        event_files=args.curves,
        sentence=read_probe(args.sentence, settings.training.probe),
    )
    processes = options.gpus_per_run if args.processes is None else args.processes
    run.check(processes)
    check_validation(args.manifest.parent, args.validation_tokens)
    if settings.training.deterministic:
        pin_arithmetic()

    def train() -> None:
        # Not at the top: this imports torch, and MKL reads when it is loaded what pin_arithmetic
        # sets. It also takes seconds, which --help, a mistake in the arguments and a run that is
        # adopted do not have to wait for.
        from rope_spectra.training import loop

        loop.start(run, args.tokens, processes, args.threads)

    if args.kept and not _is_one_of_several():
        train_once(Store(args.kept), run, train)
    else:
        train()


def _arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        settings="frozen settings of the run",
        tokens="token cache of the training split",
        manifest="manifest of that cache",
        output="folder of the run",
    )
    cli.add_paths(
        parser,
        required=False,
        options="what does not change the result (log_every, checkpoint_minutes ...)",
        sentence="sentence or words of the retrieval probe, where there is a retrieval_share",
        curves="folder for TensorBoard event files (default: none)",
        kept="store of finished runs: adopt this one if it is there, else keep it there",
    )
    parser.add_argument("--threads", type=int, help="CPU threads to use")
    parser.add_argument(
        "--processes",
        type=int,
        help="GPUs to use, a process each (default: gpus_per_run of the options)",
    )
    parser.add_argument(
        "--validation-tokens",
        type=int,
        default=0,
        metavar="N",
        help="refuse to train for a validation text, next to that of training, of fewer tokens",
    )
    return cli.parse(parser)


def _is_one_of_several() -> bool:
    """True in a rank, and in a launcher on one of several nodes.

    The one that has launched the ranks looks into the store for them. Launchers need each other, so
    none may wait until another one is done.
    """
    return is_rank() or int(os.environ.get("SLURM_NNODES", "1")) > 1


if __name__ == "__main__":
    cli.run(main)
