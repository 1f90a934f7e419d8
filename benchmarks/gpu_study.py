"""Trains and evaluates an experiment on one GPU until its time is up, in one process.

    # beforehand, on any machine
    snakemake --configfile benchmarks/long_books.yaml -- \\
        results/data/long-books/train.npy results/data/long-books/validation.npy
    PYTHONPATH=workflow python benchmarks/gpu_study.py --seconds 480

For a GPU that is lent by the minute. The runs are those of the workflow: same frozen settings, same
steps, same identities, in results/. They share one process, so that the imports, the compiled graph
and the GPU are paid for once. All spectra of a seed come before the next seed, and a run that does
not fit into the time left is not begun: whatever is finished is a paired set. Called again, it goes
on with what is missing. Small models leave most of a GPU idle: several calls may share it, each
with runs of its own (`--only '*/seed42'`). `snakemake` then makes the tables of a complete
experiment, and `python -m rope_spectra.aggregate --partial` those of a part.

The last line says what was done. benchmarks/results/gpu_study.json has the seconds of each run and
the card, run.json of each run its speed. Needs torch, numpy, pandas, safetensors, pydantic, PyYAML,
psutil and rich.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path

import common
import numpy as np
from numpy.typing import NDArray

from rope_spectra import evaluate, train
from rope_spectra.analysis import declaration
from rope_spectra.artifacts import layout, seal
from rope_spectra.config import files as config_files
from rope_spectra.config import frozen
from rope_spectra.config.sections import Config, TrainingRecipe
from rope_spectra.data.base import Probe
from rope_spectra.data.cache import Tokens
from rope_spectra.data.episodes import Words
from rope_spectra.data.sentence import Sentence
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError
from rope_spectra.training import rows
from rope_spectra.training.batches import RowChange

EXPERIMENT = "theta_long_books"
CONFIGFILE = Path(__file__).parent / "long_books.yaml"


@dataclass(frozen=True)
class Outcome:
    """What became of a run; `seconds` are those of its training and its evaluation."""

    spectrum: str
    seed: int
    state: str  # "done", "failed", or "no time left"
    seconds: float


def study(
    config: Config,
    experiment: str,
    seconds: float,
    only: Sequence[str] = ("*",),
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Outcome]:
    """Does the runs of an experiment in turn while the longest one so far still fits.

    `only` has patterns of <spectrum>/seed<seed>. Yields what became of each run; those of earlier
    calls are left out.
    """
    _freeze_shared_files(config, experiment)
    began = clock()
    longest = 0.0
    for spectrum, seed in frozen.runs(config, experiment):
        if not any(fnmatch(f"{spectrum}/seed{seed}", pattern) for pattern in only):
            continue
        place = {"experiment": experiment, "spectrum": spectrum, "seed": seed}
        if layout.fill(layout.EVAL_RECORD, **place).exists():
            continue
        run_began = clock()
        if run_began - began + longest > seconds:
            yield Outcome(spectrum, seed, "no time left", 0.0)
            continue
        is_done = _train(config, place) and _evaluate(config, place)
        took = clock() - run_began
        longest = max(longest, took)
        yield Outcome(spectrum, seed, "done" if is_done else "failed", took)


def _freeze_shared_files(config: Config, experiment: str) -> None:
    """Writes the frozen files of the experiment, and seals its claims, as the workflow does."""
    declaration.declare(frozen.design(config, experiment))
    for pattern, settings in (
        (layout.EXPERIMENT, frozen.design(config, experiment)),
        (layout.OPTIONS, frozen.run_options(config, experiment)),
        (layout.EVALUATION_CONFIG, frozen.evaluation_settings(config, experiment)),
    ):
        seal.freeze(layout.fill(pattern, experiment=experiment), settings.content())


def _train(config: Config, place: dict[str, str | int]) -> bool:
    experiment, spectrum, seed = place["experiment"], place["spectrum"], place["seed"]
    settings = frozen.run_settings(config, str(experiment), str(spectrum), int(seed))
    run_config = layout.fill(layout.RUN_CONFIG, **place)
    seal.freeze(run_config, settings.content())
    return _step(
        train.main,
        place,
        settings=run_config,
        options=layout.fill(layout.OPTIONS, experiment=experiment),
        output=run_config.parent,
        **_tokens(config, place, "train"),
        **_asked(config.experiments[str(experiment)].dataset, settings.training.probe),
    )


def _evaluate(config: Config, place: dict[str, str | int]) -> bool:
    experiment = str(place["experiment"])
    dataset = config.experiments[experiment].dataset
    token_bytes = layout.fill(layout.TOKEN_BYTES, dataset=dataset)
    return _step(
        evaluate.main,
        place,
        run=layout.fill(layout.RUN_CONFIG, **place).parent,
        settings=layout.fill(layout.EVALUATION_CONFIG, experiment=experiment),
        **_tokens(config, place, "validation"),
        **_asked(dataset, config.evaluation_of(experiment).probe),
        **({"token-bytes": token_bytes} if token_bytes.exists() else {}),
    )


def _tokens(config: Config, place: dict[str, str | int], split: str) -> dict[str, Path]:
    parts = {"dataset": config.experiments[str(place["experiment"])].dataset, "split": split}
    return {
        "tokens": layout.fill(layout.TOKENS, **parts),
        "manifest": layout.fill(layout.MANIFEST, **parts),
    }


def _asked(dataset: str, probe: Probe | None) -> dict[str, Path]:
    """The file that the retrieval probe asks with, where there is a probe."""
    return {"sentence": layout.fill(layout.PROBES[probe], dataset=dataset)} if probe else {}


class RememberedRows:
    """Training rows with the probe's tasks, each made once.

    Making the rows of a small model costs more time than its steps on a GPU.
    """

    def __init__(self, change: RowChange) -> None:
        self.change = change
        self.made: dict[int, Tokens] = {}

    def __call__(self, table: Tokens, numbers: NDArray[np.int64]) -> Tokens:
        is_new = np.array([number not in self.made for number in numbers.tolist()])
        new = numbers[is_new].tolist()
        self.made.update(zip(new, self.change(table[is_new], numbers[is_new]), strict=True))
        return np.stack([self.made[number] for number in numbers.tolist()])


def remember_rows() -> None:
    """Lets the runs of this process, which all read the same rows, share those with tasks."""
    change = rows.change
    remembered: dict[tuple[str, str], RememberedRows] = {}

    def changed(asked: Sentence | Words | None, recipe: TrainingRecipe) -> RowChange | None:
        plain = change(asked, recipe)
        if plain is None or not isinstance(asked, Words):
            return plain
        key = (asked.sha256, recipe.model_dump_json(include={"seq_len", "retrieval_share"}))
        return remembered.setdefault(key, RememberedRows(plain))

    rows.change = changed


def _step(main: Callable[[], None], place: dict[str, str | int], **options: Path) -> bool:
    """Runs a command of the workflow in this process; True unless it failed."""
    name = main.__module__.rpartition(".")[2]
    log = layout.log("{step}/{experiment}/{spectrum}/seed{seed}".format(step=name, **place))
    arguments = [f"--{option}={value}" for option, value in options.items()]
    sys.argv = [name, *arguments, f"--log={log}"]
    try:
        cli.run(main)
    except SystemExit as end:
        if end.code in (0, None):
            return True
        if end.code != 1:  # stopped by a signal: the call ends
            raise
        return False
    return True


def main() -> None:
    parser = common.parser(__doc__, "gpu_study")
    parser.add_argument("--experiment", default=EXPERIMENT, help="its name (default: %(default)s)")
    parser.add_argument(
        "--configfile",
        type=Path,
        nargs="*",
        default=[CONFIGFILE],
        help="files that add to config.yaml or override parts of it (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=float, default=480, help="the time there is (default: %(default)s)"
    )
    parser.add_argument(
        "--only",
        nargs="*",
        default=["*"],
        metavar="PATTERN",
        help="of <spectrum>/seed<seed> (default: all runs)",
    )
    args = parser.parse_args()
    try:
        config = config_files.read([config_files.MAIN, *args.configfile])
        if args.experiment not in config.experiments:
            raise UserError(f"--experiment: {args.experiment} is in no configuration file")
        remember_rows()
        outcomes = _published(study(config, args.experiment, args.seconds, args.only), args)
    except UserError as error:
        sys.exit(f"error: {error}")
    counts = Counter(outcome.state for outcome in outcomes)
    print(", ".join(f"{counts[state]} {state}" for state in ("done", "failed", "no time left")))


def _published(outcomes: Iterable[Outcome], args: argparse.Namespace) -> list[Outcome]:
    """The outcomes, written after each run, so that a lease that ends early loses none of them."""
    so_far: list[Outcome] = []
    for outcome in outcomes:
        so_far.append(outcome)
        runs = [asdict(each) for each in so_far]
        results = {"compile_s": _compile_seconds(), "runs": runs}
        common.publish("gpu_study", vars(args), results, args.output)
    return so_far


def _compile_seconds() -> float:
    """Wall seconds that torch.compile took in this process."""
    from torch._dynamo.utils import calculate_time_spent

    return float(calculate_time_spent().get("total_wall_time", 0.0))


if __name__ == "__main__":
    main()
