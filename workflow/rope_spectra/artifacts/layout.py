"""Where everything lies in results/. The only module that knows; the rules take their paths from here.

The names in braces are Snakemake wildcards.
"""

from pathlib import Path

from rope_spectra.runtime import names

SPLITS = ("train", "validation")

_DATASET = "results/data/{dataset}"
DATA_CONFIG = _DATASET + "/{part}.config.json"
TOKENIZER = _DATASET + "/tokenizer/tokenizer.json"
TOKEN_BYTES = _DATASET + "/tokenizer/token_bytes.npy"
TOKENIZER_RECORD = _DATASET + "/tokenizer/record.json"
SHARDS = _DATASET + "/shards/{split}"
TOKENS = _DATASET + "/{split}.npy"
MANIFEST = _DATASET + "/{split}.json"
SENTENCE = _DATASET + "/sentence.json"

_EXPERIMENT = "results/{experiment}"
EXPERIMENT = _EXPERIMENT + "/experiment.json"
OPTIONS = _EXPERIMENT + "/options.json"
EVALUATION_CONFIG = _EXPERIMENT + "/evaluation.json"
RUNS = _EXPERIMENT + "/runs.csv"
EXPERIMENT_SUMMARY = _EXPERIMENT + "/summary.csv"
EXPERIMENT_SUMMARY_MD = _EXPERIMENT + "/summary.md"
SPECTRA = _EXPERIMENT + "/spectra.csv"
TABLES = _EXPERIMENT + "/tables.json"
NOISE_FLOOR = _EXPERIMENT + "/noise_floor.csv"
PUBLISHED = _EXPERIMENT + "/published.csv"
RETRIEVAL = _EXPERIMENT + "/retrieval.csv"
RETRIEVAL_RUNS = _EXPERIMENT + "/retrieval_runs.csv"
FIGURE = _EXPERIMENT + "/figures/{figure}.svg"

_RUN = _EXPERIMENT + "/{spectrum}/seed{seed}"
RUN_CONFIG = _RUN + "/config.json"
MODEL = _RUN + "/model.safetensors"
RUN = _RUN + "/run.json"
TRAIN_LOG = _RUN + "/train.csv"
EVAL = _RUN + "/eval.csv"
EVAL_NLL = _RUN + "/eval.npz"
CURVES = "results/tensorboard/{experiment}/{spectrum}/seed{seed}"
_ANY = {"experiment": "*", "spectrum": "*", "seed": "[0-9]*"}
EVAL_RECORD = _RUN + "/eval.json"
HF = _RUN + "/hf"

_LOG = "results/logs/{job}.log"
_BENCHMARK = "results/logs/{job}.benchmark.tsv"

SUMMARY = "results/summary.csv"
SUMMARY_MD = "results/summary.md"

PUBLISHED_FIGURE = _EXPERIMENT + "/figures/published.svg"
RETRIEVAL_FIGURE = _EXPERIMENT + "/figures/retrieval.svg"
FIGURES = ("ppl_by_length", "nll_by_position", "paired_deltas", "spectra", "training_loss")


def fill(pattern: str, **parts: str | int) -> Path:
    """The path that a pattern of this module stands for; UserError for a part that could lead elsewhere."""
    return Path(pattern.format(**{key: names.check(str(part), key) for key, part in parts.items()}))


def log(job: str) -> str:
    """Where the job of that name, wildcards included, writes its messages: one file per job."""
    return _LOG.format(job=job)


def within(results: Path, path: str) -> Path:
    """Where a path of results/ is when the whole folder is elsewhere, such as pulled from another machine."""
    return results / path.removeprefix("results/")


def found_runs(results: Path) -> list[tuple[str, str, int]]:
    """(experiment, spectrum, seed) of every run that has a folder there."""
    folders = (
        path.parent for path in results.glob(RUN_CONFIG.removeprefix("results/").format(**_ANY))
    )
    names = (folder.relative_to(results).parts for folder in folders)
    return sorted(
        (experiment, spectrum, int(seed.removeprefix("seed")))
        for experiment, spectrum, seed in names
    )


def benchmark(job: str) -> str:
    """Where Snakemake writes the time and memory that the job took."""
    return _BENCHMARK.format(job=job)


def seed_of(seed: str) -> int:
    """The seed of a run from the wildcard of its folder, in which `42-repeat1` is a repeat of 42."""
    return int(seed.partition("-")[0])


def experiment_files(experiment: str) -> list[str]:
    """What an experiment is read by: its tables and figures."""
    tables = (RUNS, EXPERIMENT_SUMMARY, EXPERIMENT_SUMMARY_MD, SPECTRA)
    return [path.format(experiment=experiment) for path in tables] + figure_files(experiment)


def figure_files(experiment: str) -> list[str]:
    """The figures of an experiment, in the order of FIGURES."""
    return [FIGURE.format(experiment=experiment, figure=figure) for figure in FIGURES]


def run_files(experiment: str, spectrum: str, seed: int | str) -> list[str]:
    """What a finished run leaves for the tables; listed in the default target, so that a deleted run is made again."""
    paths = (RUN, TRAIN_LOG, EVAL, EVAL_NLL, EVAL_RECORD)
    return [path.format(experiment=experiment, spectrum=spectrum, seed=seed) for path in paths]


def _entries(folder: str) -> tuple[str, ...]:
    """The names that the patterns of this module take in a folder of results/."""
    patterns = [value for value in globals().values() if isinstance(value, str)]
    inside = [value for value in patterns if value.startswith(f"{folder}/")]
    names = dict.fromkeys(value.removeprefix(f"{folder}/").partition("/")[0] for value in inside)
    return tuple(name for name in names if not name.startswith("{"))


# Names that would put a user's folder where results/ has something else.
RESERVED_NAMES = {"experiments": _entries("results"), "spectra": _entries(_EXPERIMENT)}
