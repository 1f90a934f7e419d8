"""The cost of the workflow next to that of its work: plans, starts of jobs, the rest of the demo.

    python benchmarks/workflow.py --rounds 3

Dry run: CPU and wall seconds of `snakemake -n` over all experiments of config.yaml plus a sweep of
--runs runs, next to a bare workflow of that shape: the same runs, each with frozen settings,
training and evaluation, a table per experiment, and no settings, checks or resources. Both are
planned in folders of their own, from a copy of this checkout.
Starts: CPU and wall seconds of the steps train and evaluate on the demo's model, with one optimizer
step and one chunk of text, next to those of `import torch` alone.
Demo: wall seconds of `snakemake` on config.yaml, less those in which a job of train or evaluate was
running, by Snakemake's own benchmark files.
"""

import gzip
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import common
import yaml

from rope_spectra.artifacts import seal
from rope_spectra.config import files, frozen
from rope_spectra.config.sections import Config

ROOT = Path(__file__).parents[1]
SNAKEMAKE = str(Path(sys.executable).with_name("snakemake"))
SEEDS = 25  # of the sweep
PARTS = ("dry_run", "starts", "demo")

Content: TypeAlias = dict[str, Any]  # of a YAML or JSON file

BARE = """
import json
RUNS = json.load(open("runs.json"))

rule all:
    input:
        expand("results/{experiment}/summary.csv", experiment=RUNS),
        "results/summary.csv",

rule settings:
    output: "results/{experiment}/{spectrum}/seed{seed}/config.json"
    shell: "touch {output}"

rule train:
    input: "results/{experiment}/{spectrum}/seed{seed}/config.json", tokens="tokens.npy"
    output:
        "results/{experiment}/{spectrum}/seed{seed}/model.safetensors",
        "results/{experiment}/{spectrum}/seed{seed}/train.csv",
    shell: "touch {output}"

rule evaluate:
    input: "results/{experiment}/{spectrum}/seed{seed}/model.safetensors", tokens="tokens.npy"
    output: "results/{experiment}/{spectrum}/seed{seed}/eval.csv"
    shell: "touch {output}"

rule aggregate:
    input: lambda w: [f"results/{w.experiment}/{run}/eval.csv" for run in RUNS[w.experiment]]
    output: "results/{experiment}/summary.csv"
    shell: "touch {output}"

rule summary:
    input: expand("results/{experiment}/summary.csv", experiment=RUNS)
    output: "results/summary.csv"
    shell: "touch {output}"
"""


def copy_checkout(folder: Path) -> None:
    """Copies what a dry run reads, without results."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("workflow", "profiles", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder / name)


def sweep(config: Mapping[str, Any], runs: int) -> Content:
    """A configuration that runs every experiment and a sweep of `runs` geometric 50m runs."""
    names = [f"sweep_{index}" for index in range(runs // SEEDS)]
    experiment = {
        "dataset": "tinystories-50m",
        "model": "50m",
        "training": "50m",
        "evaluation": "50m",
        "spectra": names,
        "seeds": list(range(SEEDS)),
        "baseline": names[0],
    }
    spectra = {
        name: {"family": "geometric", "theta": 10_000 + index} for index, name in enumerate(names)
    }
    return {
        "run": [*config["experiments"], "sweep"],
        "experiments": {"sweep": experiment},
        "spectra": spectra,
    }


def run_folders(loaded: Config) -> dict[str, list[str]]:
    """The runs of each experiment that is built, as folders below its own."""
    folders: dict[str, list[str]] = {}
    for name in loaded.built:
        runs = frozen.runs(loaded, name) + frozen.repeats(loaded, name)
        folders[name] = [f"{spectrum}/seed{seed}" for spectrum, seed in runs]
    return folders


def put_books(checkout: Path) -> None:
    """Files for frontier_books: a plan reads the first 64 KiB for their kind, and their size."""
    for split in ("train", "validation"):
        path = checkout / f"books/{split}/a.txt.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(split.encode() * 99_999))
        os.truncate(path, 50_000_000)


def dry_runs(folder: Path, runs: int, rounds: int) -> Content:
    """Plans both workflows in turn."""
    ours = folder / "ours"
    copy_checkout(ours)
    put_books(ours)
    config = yaml.safe_load((ours / "config.yaml").read_text())
    (ours / "sweep.yaml").write_text(yaml.safe_dump(sweep(config, runs)))
    bare = folder / "bare"
    bare.mkdir()
    (bare / "Snakefile").write_text(BARE)
    (bare / "tokens.npy").touch()
    both = [ours / name for name in ("config.yaml", "sweep.yaml")]
    folders = run_folders(files.read(both, reads_text=False))
    (bare / "runs.json").write_text(json.dumps(folders))
    plan_bare = [SNAKEMAKE, "--cores", "1", "-n"]
    plan_ours = [SNAKEMAKE, "--configfile", "sweep.yaml", "-n"]
    sides = {
        "bare": partial(common.measure_command, plan_bare, cwd=bare),
        "ours": partial(common.measure_command, plan_ours, cwd=ours),
    }
    return {"runs": sum(map(len, folders.values())), "sides": common.compare(sides, rounds)}


def starts(folder: Path, rounds: int) -> Content:
    """Trains for one step and evaluates one chunk, each next to what torch alone takes to load."""
    copy_checkout(folder)
    run, data = "results/demo/geo_500k/seed42", "results/data/toy-stories"
    needed = [f"{run}/config.json", "results/demo/evaluation.json"]
    needed += [f"{data}/{split}.json" for split in ("train", "validation")]
    common.measure_command([SNAKEMAKE, "--cores", "all", *needed], cwd=folder)
    settings = json.loads((folder / run / "config.json").read_text())
    recipe = settings["training"]
    recipe["tokens"] = recipe["batch_size"] * recipe["seq_len"]
    freeze(folder / "run/config.json", settings)
    asked = json.loads((folder / "results/demo/evaluation.json").read_text())
    one_chunk = {"lengths": [recipe["seq_len"]], "protocols": ["first_chunks"], "chunks": 1}
    freeze(folder / "one_chunk.json", asked | one_chunk)
    train = (
        "-m rope_spectra.train --settings run/config.json --output run --curves curves --threads 1"
        f" --tokens {data}/train.npy --manifest {data}/train.json"
    )
    evaluate = (
        "-m rope_spectra.evaluate --run run --settings one_chunk.json --threads 1"
        f" --tokens {data}/validation.npy --manifest {data}/validation.json"
    )
    commands = {
        "import torch": ["-c", "import torch"],
        "train": train.split(),
        "evaluate": evaluate.split(),
    }
    environment = os.environ | {"PYTHONPATH": str(folder / "workflow")}
    sides = {
        name: partial(
            common.measure_command,
            [sys.executable, *command],
            cwd=folder,
            env=environment,
        )
        for name, command in commands.items()
    }
    return common.compare(sides, rounds)


def freeze(path: Path, settings: Content) -> None:
    """Writes settings as a rule would; the seal of those that they were made from is dropped."""
    path.parent.mkdir(exist_ok=True)
    seal.freeze(path, {key: value for key, value in settings.items() if key != "seal"})


def demo(folder: Path) -> dict[str, float]:
    """Runs the demo once: its wall seconds, and those of them outside training and evaluation."""
    copy_checkout(folder)
    measured = common.measure_command([SNAKEMAKE, "--cores", "all"], cwd=folder)
    jobs = [interval(file) for file in (folder / "results/logs").glob("*/*/*/*.benchmark.tsv")]
    return measured | {"jobs": len(jobs), "outside_s": measured["wall_s"] - covered(jobs)}


def interval(file: Path) -> tuple[float, float]:
    """Begin and end of a job, in seconds: its benchmark file is written at its end."""
    heading, values = (line.split("\t") for line in file.read_text().splitlines()[:2])
    end = file.stat().st_mtime
    return end - float(values[heading.index("s")]), end


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """Seconds in which at least one of the intervals runs."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def main() -> None:
    parser = common.parser(__doc__, "workflow")
    parser.add_argument(
        "--runs",
        type=int,
        default=1000,
        help="runs of the sweep, a multiple of 25 (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds of dry runs and starts (default: %(default)s)"
    )
    parser.add_argument("--only", choices=PARTS, help="this part alone")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parts = {
            "dry_run": partial(dry_runs, Path(folder), args.runs, args.rounds),
            "starts": partial(starts, Path(folder) / "starts", args.rounds),
            "demo": partial(demo, Path(folder) / "demo"),
        }
        results = {name: parts[name]() for name in PARTS if args.only in (None, name)}
    columns = {"cpu_s": "CPU s", "wall_s": "wall s"}
    if "dry_run" in results:
        print(f"{results['dry_run']['runs']} runs\n")
        print(common.table(results["dry_run"]["sides"], columns, {"cpu_s": "x bare"}))
    if "starts" in results:
        print(common.table(results["starts"], columns, {"cpu_s": "x torch"}))
    if "demo" in results:
        print(f"demo: {common.in_words(results['demo'])}")
    print(common.publish("workflow", vars(args), results, args.output))


if __name__ == "__main__":
    main()
