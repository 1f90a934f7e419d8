"""The layout of results/. No other module knows it; the rules take their paths from here.

Names in braces are Snakemake wildcards.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from rope_spectra.runtime import names

# The wildcard of a spectrum. Only the rule that makes RUN_CONFIG has the list of those there are:
# Snakemake goes through the text of a constraint for each file of each job.
ANY_SPECTRUM = "[A-Za-z0-9][A-Za-z0-9._-]*"

SPLITS: tuple[Literal["train", "validation"], ...] = ("train", "validation")

# The data of one dataset. The settings of a `part` (tokenizer, train, validation ...) are frozen in
# its config file. Text is encoded into shards, which memmap_cache joins to one array with a
# manifest.
_DATASET = "results/data/{dataset}"
DATA_CONFIG = _DATASET + "/{part}.config.json"
TOKENIZER = _DATASET + "/tokenizer/tokenizer.json"
TOKEN_BYTES = _DATASET + "/tokenizer/token_bytes.npy"
TOKENIZER_RECORD = _DATASET + "/tokenizer/record.json"
SHARDS = _DATASET + "/shards/{split}"
TOKENS = _DATASET + "/{split}.npy"
MANIFEST = _DATASET + "/{split}.json"
SENTENCE = _DATASET + "/sentence.json"
PROBE = _DATASET + "/probe.json"
# By the form of the retrieval probe: what it asks with.
PROBES = {"sentence": SENTENCE, "tasks": PROBE}

# What the runs of one experiment share, and its tables.
_EXPERIMENT = "results/{experiment}"
EXPERIMENT = _EXPERIMENT + "/experiment.json"
APPEARANCE = _EXPERIMENT + "/appearance.json"
DECLARATION = _EXPERIMENT + "/declaration.json"
OPTIONS = _EXPERIMENT + "/options.json"
# Of a part of a search: what its candidates follow from, and what they are.
SEARCH_STEP = _EXPERIMENT + "/search.json"
CANDIDATES = _EXPERIMENT + "/candidates.json"
EVALUATION_CONFIG = _EXPERIMENT + "/evaluation.json"
USAGE_CONFIG = _EXPERIMENT + "/usage.json"
RUNS = _EXPERIMENT + "/runs.csv"
EXPERIMENT_SUMMARY = _EXPERIMENT + "/summary.csv"
EXPERIMENT_SUMMARY_MD = _EXPERIMENT + "/summary.md"
INTERACTIVE = _EXPERIMENT + "/interactive.html"
SPECTRA = _EXPERIMENT + "/spectra.csv"
TABLES = _EXPERIMENT + "/tables.json"
CRATE = _EXPERIMENT + "/ro-crate-metadata.json"
NOISE_FLOOR = _EXPERIMENT + "/noise_floor.csv"
PUBLISHED = _EXPERIMENT + "/published.csv"
RETRIEVAL = _EXPERIMENT + "/retrieval.csv"
RETRIEVAL_RUNS = _EXPERIMENT + "/retrieval_runs.csv"
RETRIEVAL_DISTANCE = _EXPERIMENT + "/retrieval_distance.csv"
THEORY = _EXPERIMENT + "/theory.csv"
HYPOTHESES = _EXPERIMENT + "/hypotheses.csv"
FRONTIER = _EXPERIMENT + "/frontier.csv"
RATES = _EXPERIMENT + "/rates.csv"
USAGE_TABLE = _EXPERIMENT + "/usage.csv"
USAGE_RUNS = _EXPERIMENT + "/usage_runs.csv"
USAGE_ATTENTION = _EXPERIMENT + "/usage_attention.csv"
FIGURE = _EXPERIMENT + "/figures/{figure}.svg"

# One run: one spectrum, one seed. A repeat of seed 42 is in seed42-repeat1.
_RUN = _EXPERIMENT + "/{spectrum}/seed{seed}"
# The state of a training that is not finished. No rule declares it: Snakemake deletes the outputs
# of a failed job.
CHECKPOINT = _RUN + "/checkpoint.pt"
RUN_CONFIG = _RUN + "/config.json"
MODEL = _RUN + "/model.safetensors"
RUN = _RUN + "/run.json"
TRAIN_LOG = _RUN + "/train.csv"
EVAL = _RUN + "/eval.csv"
EVAL_NLL = _RUN + "/eval.npz"
EVAL_RECORD = _RUN + "/eval.json"
USAGE = _RUN + "/usage.npz"
USAGE_RECORD = _RUN + "/usage.json"
HF = _RUN + "/hf"
# In a folder of their own, because TensorBoard reads every folder below the one it is given.
CURVES = "results/tensorboard/{experiment}/{spectrum}/seed{seed}"

_SEED = "[0-9]{1,19}(-repeat[0-9]{1,9})?"
_LOG = "results/logs/{job}.log"
_BENCHMARK = "results/logs/{job}.benchmark.tsv"

# Finished results by content; artifacts/kept.py.
KEPT = "results/.kept"

# A search. Its parts are experiments: results/<search>/round0 ... results/<search>/confirmation.
_SEARCH = "results/{search}"
BEST = _SEARCH + "/best.yaml"
COURSE = _SEARCH + "/course.csv"
FOUND = _SEARCH + "/found.csv"
SEARCH_PAGE = _SEARCH + "/summary.md"
SEARCH_FIGURES = tuple(
    _SEARCH + f"/figures/{name}.svg" for name in ("course", "best_spectra", "response")
)
SEARCH_FILES = (BEST, COURSE, FOUND, SEARCH_PAGE, *SEARCH_FIGURES)

# Figures for a paper, on request; report/style.py says what the column form is.
PAPER_FIGURES = (
    *(_EXPERIMENT + f"/figures/{{figure}}.{kind}" for kind in ("pdf", "png")),
    *(_EXPERIMENT + f"/figures/column/{{figure}}.{kind}" for kind in ("svg", "pdf", "png")),
)

SUMMARY = "results/summary.csv"
SUMMARY_MD = "results/summary.md"

PUBLISHED_FIGURE = _EXPERIMENT + "/figures/published.svg"
FRONTIER_FIGURE = _EXPERIMENT + "/figures/frontier.svg"
RETRIEVAL_FIGURE = _EXPERIMENT + "/figures/retrieval.svg"
RETRIEVAL_DISTANCE_FIGURE = _EXPERIMENT + "/figures/retrieval_distance.svg"
FIGURES = (
    "ppl_by_length",
    "degradation_by_length",
    "nll_by_position",
    "paired_deltas",
    "spectra",
    "training_loss",
)
USAGE_FIGURES = tuple(
    _EXPERIMENT + f"/figures/{name}.svg"
    for name in ("usage", "usage_slower", "usage_norms", "usage_attention")
)


def fill(pattern: str, **parts: str | int) -> Path:
    """The path of a pattern of this module; UserError for a part that could lead elsewhere."""
    for key, part in parts.items():
        names.check(str(part), key, names.OF_EXPERIMENT if key == "experiment" else names.PATTERN)
    return Path(pattern.format(**parts))


def part_of_search(search: str, part: int | None) -> str:
    """The experiment that is a round of a search, or its confirmation (None)."""
    return f"{search}/confirmation" if part is None else f"{search}/round{part}"


def search_of(experiment: str) -> str | None:
    """The search that an experiment is a part of; None for an experiment of its own."""
    search, is_part, _ = experiment.partition("/")
    return search if is_part else None


def log(job: str) -> str:
    """The file for the messages of a job; the name of the job includes its wildcards."""
    return _LOG.format(job=job)


def within(results: Path, path: str) -> Path:
    """The place of a path of results/ when that folder lies elsewhere, as pulled from a machine."""
    return results / path.removeprefix("results/")


def any_of(names: Iterable[str]) -> str:
    """The pattern of a wildcard that is one of these names, and nothing where there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


def run_of(folder: Path) -> tuple[str, str]:
    """Experiment and spectrum of the folder of a run somewhere below a folder called results."""
    *above, spectrum, _ = folder.parts
    is_part = len(above) > 2 and above[-2] != "results" and above[-3] == "results"
    return "/".join(above[-2:] if is_part else above[-1:]), spectrum


def run_in(path: str) -> tuple[str, str, str] | None:
    """(experiment, spectrum, seed) of the run whose file this would be, or None if of none.

    The seed is as in the name of the folder, `42-repeat1` for a repeat of 42.
    """
    found = re.fullmatch(f"results/(.+)/({ANY_SPECTRUM})/seed({_SEED})/[^/]+", path)
    return (found[1], found[2], found[3]) if found else None


def find(results: Path, pattern: str) -> list[Path]:
    """The files of a pattern in `results`, those of the parts of searches included."""
    below = pattern.removeprefix("results/")
    globs = [below, below.replace("{experiment}", "{search}/{part}")]
    found = [results.glob(re.sub(r"{\w+}", "*", each)) for each in dict.fromkeys(globs)]
    return [path for paths in found for path in paths]


def found_runs(results: Path) -> list[tuple[str, str, str]]:
    """(experiment, spectrum, seed) of every run that has a folder there.

    The seed is as in the name of the folder, `42-repeat1` for a repeat of 42.
    """
    found = []
    for path in find(results, RUN_CONFIG):
        folder = path.parent.relative_to(results)
        experiment, spectrum = str(folder.parent.parent), folder.parent.name
        seed = folder.name.removeprefix("seed")
        if re.fullmatch(_SEED, seed):
            found.append((experiment, spectrum, seed))
    return sorted(found, key=lambda run: (*run[:2], seed_of(run[2]), run[2]))


def benchmark(job: str) -> str:
    """The file in which Snakemake writes the time and memory that a job took."""
    return _BENCHMARK.format(job=job)


def seed_of(seed: str) -> int:
    """The seed of a run from the wildcard of its folder: `42-repeat1` is a repeat of seed 42."""
    return int(seed.partition("-")[0])


def repeat_of(folder: Path) -> str:
    """`-repeat1` for the folder of a run that repeats another one, else an empty text."""
    return "".join(re.findall(r"-repeat\d+$", folder.name))


def experiment_files(experiment: str) -> list[str]:
    """The tables, pages and figures of every experiment."""
    files = (RUNS, EXPERIMENT_SUMMARY, EXPERIMENT_SUMMARY_MD, INTERACTIVE, SPECTRA)
    return [path.format(experiment=experiment) for path in files] + figure_files(experiment)


def figure_files(experiment: str) -> list[str]:
    """The figures of an experiment, in the order of FIGURES."""
    return [FIGURE.format(experiment=experiment, figure=figure) for figure in FIGURES]


def run_files(experiment: str, spectrum: str, seed: int | str) -> list[str]:
    """The files of a finished run that the tables read.

    The default target asks for those that are lost, so that a deleted run is made again.
    """
    paths = (RUN, TRAIN_LOG, EVAL, EVAL_NLL, EVAL_RECORD)
    return [path.format(experiment=experiment, spectrum=spectrum, seed=seed) for path in paths]


def _entries(folder: str) -> tuple[str, ...]:
    """The names that the patterns of this module take in a folder of results/."""
    found = set()
    for pattern in globals().values():
        if isinstance(pattern, str) and pattern.startswith(f"{folder}/"):
            found.add(pattern.removeprefix(f"{folder}/").partition("/")[0])
    return tuple(sorted(name for name in found if not name.startswith("{")))


# Names that would put a user's folder in the place of something else.
RESERVED_NAMES = {"experiments": _entries("results"), "spectra": _entries(_EXPERIMENT)}
