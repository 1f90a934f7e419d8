"""The main job for real: Snakemake, its rules and every step on a tiny experiment."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from support.checkout import job_counts, planned, snakemake

RUNS = [
    f"results/quick/{spectrum}/seed{seed}"
    for spectrum in ("geo_500k", "hybrid_a0.2_t100k")
    for seed in (1, 2)
]


RAW = """
run: [raw]
experiments:
  raw: {dataset: my-tokens, model: tiny, training: raw, evaluation: raw,
        spectra: [geo_500k], seeds: [1], baseline: geo_500k}
training:
  raw: {seq_len: 32, batch_size: 16, learning_rate: 3.0e-3, precision: fp32, compile: false}
evaluation:
  raw: {lengths: [32, 128]}
"""


def test_everything_promised_is_there(finished: Path) -> None:
    tables = ("runs.csv", "summary.csv", "summary.md", "interactive.html", "spectra.csv")
    data = (
        "train.npy",
        "train.json",
        "validation.npy",
        "validation.json",
        "tokenizer/tokenizer.json",
    )
    run_files = ("config.json", "model.safetensors", "run.json", "train.csv", "eval.csv")
    expected = [
        *("results/summary.csv", "results/summary.md"),
        *(f"results/quick/{name}" for name in [*tables, "figures/ppl_by_length.svg"]),
        *(f"results/data/quick/{name}" for name in data),
        *(f"{run}/{name}" for run in RUNS for name in run_files),
    ]
    assert not [path for path in expected if not (finished / path).is_file()]
    assert not list(finished.glob("results/data/quick/shards*/*")), "shards are temporary"
    assert not list(finished.rglob("*.tmp.*"))


def test_the_claims_were_sealed_before_the_first_run(finished: Path) -> None:
    folder = finished / "results/quick"
    declared = json.loads((folder / "declaration.json").read_text())
    runs = [json.loads((finished / run / "run.json").read_text()) for run in RUNS]
    assert declared["time"] <= min(run["finished"] for run in runs)
    assert [look["seeds"] for look in declared["looks"]] == [[1, 2]]
    assert "Declared before the first run was finished" in (folder / "summary.md").read_text()


def test_the_fixed_columns(finished: Path) -> None:
    summary = pd.read_csv(finished / "results/summary.csv")
    assert ",".join(summary.columns[:15]) == (
        "experiment,spectrum,remap,protocol,length,n_seeds,ppl_mean,ppl_std,ppl_ci95_low,ppl_ci95_high,"
        "baseline,delta_log_ppl,p_sign_flip,wins,verdict"
    )
    headers = {
        "train.csv": "step,loss,lr,tokens,tokens_per_s",
        "eval.csv": "remap,protocol,length,ppl,nll,tokens,chunks",
    }
    for name, header in headers.items():
        assert (finished / RUNS[0] / name).read_text().splitlines()[0] == header


def test_the_summary_is_the_mean_and_deviation_of_the_runs(finished: Path) -> None:
    summary = pd.read_csv(finished / "results/summary.csv").set_index(
        ["spectrum", "protocol", "length"]
    )
    assert len(summary) == 2 * 2 * 2
    for spectrum in ("geo_500k", "hybrid_a0.2_t100k"):
        evals = pd.concat(
            pd.read_csv(finished / f"results/quick/{spectrum}/seed{seed}/eval.csv")
            for seed in (1, 2)
        )
        for key, group in evals.groupby(["protocol", "length"]):
            row = summary.loc[(spectrum, *key)]
            assert row["n_seeds"] == 2
            assert row["ppl_mean"] == pytest.approx(group["ppl"].mean())
            assert row["ppl_std"] == pytest.approx(group["ppl"].std(ddof=1))


def test_evaluation_scores_equal_text_at_every_length(finished: Path) -> None:
    scores = pd.read_csv(finished / RUNS[0] / "eval.csv")
    full = scores[scores["protocol"] == "full"]
    assert full["tokens"].nunique() == 1
    np.testing.assert_allclose(scores["ppl"], np.exp(scores["nll"]))


def test_positions_inside_and_beyond_the_training_length_are_told_apart(finished: Path) -> None:
    """Weighted by tokens the two parts give the whole; at the training length one is empty."""
    summary = (
        pd.read_csv(finished / "results/quick/summary.csv")
        .query("protocol == 'full'")
        .set_index(["spectrum", "length"])
    )
    assert summary.xs(64, level="length")["ppl_beyond_length"].isna().all()
    for _, row in summary.xs(256, level="length").iterrows():
        parts = 0.25 * np.log(row["ppl_in_length"]) + 0.75 * np.log(row["ppl_beyond_length"])
        # The columns are means over two seeds, taken after the exponential: equal to second order.
        assert parts == pytest.approx(np.log(row["ppl_mean"]), rel=2e-3)
    assert summary["bits_per_byte"].between(0.1, 8).all()


def test_seeds_are_paired_and_runs_say_what_made_them(finished: Path) -> None:
    runs = [json.loads((finished / run / "run.json").read_text()) for run in RUNS]
    first_losses = [
        next(csv.DictReader((finished / run / "train.csv").open()))["loss"] for run in RUNS
    ]
    assert len({run["identity"] for run in runs}) == 4
    assert len({run["data"]["sha256"] for run in runs}) == 1
    assert runs[0]["steps"] == 32
    assert runs[0]["versions"]["torch"]
    assert first_losses[0] != first_losses[1], "seeds differ"
    assert float(first_losses[0]) == pytest.approx(float(first_losses[2]), rel=0.01), (
        "spectra of one seed start from the same weights"
    )


def test_a_training_run_repeats_to_the_bit_by_hand(finished: Path, tmp_path: Path) -> None:
    """Every step runs without Snakemake, and twice the same is the same."""
    data = finished / "results/data/quick"
    threads = json.loads((finished / RUNS[0] / "run.json").read_text())["device"]["threads"]
    arguments = [
        "--settings",
        finished / RUNS[0] / "config.json",
        "--tokens",
        data / "train.npy",
        "--manifest",
        data / "train.json",
    ]
    command = [
        sys.executable,
        "-m",
        "rope_spectra.train",
        *arguments,
        "--output",
        tmp_path,
        "--threads",
        threads,
    ]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    assert (tmp_path / "model.safetensors").read_bytes() == (
        finished / RUNS[0] / "model.safetensors"
    ).read_bytes()


def test_logs_tell_where_a_job_is(finished: Path) -> None:
    train = (finished / "results/logs/train/quick/geo_500k/seed1.log").read_text()
    assert "step 32/32 (100 %)" in train
    assert "loss" in train
    assert "tokens/s" in (finished / "results/logs/tokenize_train/quick.log").read_text()


def test_nothing_is_left_to_do(finished: Path) -> None:
    assert "Nothing to be done" in snakemake(finished, "-n", "--configfile", "quick.yaml").stdout


def test_comments_key_order_and_log_interval_retrain_nothing(finished: Path) -> None:
    original = (finished / "quick.yaml").read_text()
    try:
        changed = original.replace("log_every: 5", "log_every: 3").replace(
            "seq_len: 64, batch_size: 16,", "batch_size: 16.0, seq_len: 64,"
        )
        (finished / "quick.yaml").write_text("# a comment\n" + changed)
        assert (
            not {"train", "evaluate", "aggregate"}
            & planned(finished, "--configfile", "quick.yaml").keys()
        )
        (finished / "quick.yaml").write_text(original.replace("3.0e-3", "2.0e-3"))
        assert planned(finished, "--configfile", "quick.yaml")["train"] == 4
    finally:
        (finished / "quick.yaml").write_text(original)


def test_touching_the_cache_retrains_nothing(finished: Path) -> None:
    (finished / "results/data/quick/train.npy").touch()
    assert "Nothing to be done" in snakemake(finished, "-n", "--configfile", "quick.yaml").stdout


def test_a_lost_run_is_made_again_and_no_other(finished: Path) -> None:
    for name in ("eval.csv", "model.safetensors"):
        (finished / RUNS[1] / name).unlink()
    before = {
        run: (finished / run / "model.safetensors").stat().st_mtime_ns
        for run in RUNS
        if run != RUNS[1]
    }
    assert planned(finished, "--configfile", "quick.yaml") == {
        "all": 1,
        "train": 1,
        "evaluate": 1,
        "aggregate": 1,
        "page": 1,
        "interactive": 1,
        "figures": 1,
        "summary": 1,
    }
    done = snakemake(
        finished,
        f"{RUNS[1]}/eval.csv",
        "--cores",
        "1",
        "--resources",
        "gpu=1",
        "--configfile",
        "quick.yaml",
    )
    assert job_counts(done.stderr) == {"train": 1, "evaluate": 1}
    assert before == {
        run: (finished / run / "model.safetensors").stat().st_mtime_ns for run in before
    }
    snakemake(finished, "results/summary.csv", "--configfile", "quick.yaml")
    assert planned(finished, "--configfile", "quick.yaml") == {}, (
        "the run made again has the same bits, so nothing follows"
    )


def test_each_lost_file_of_a_run_is_missed_although_the_tables_are_there(finished: Path) -> None:
    """Nothing else asks for them then: the default target does, for the lost ones alone."""
    names = ("run.json", "train.csv", "eval.npz", "eval.json")
    files = [finished / run / name for run, name in zip(RUNS, names, strict=True)]
    away = [file.rename(file.with_suffix(".lost")) for file in files]
    try:
        counts = planned(finished, "--configfile", "quick.yaml")
    finally:
        for file, kept in zip(files, away, strict=True):
            kept.rename(file)
    # An evaluation follows each of the two trainings.
    assert (counts["train"], counts["evaluate"]) == (2, 4)
    assert planned(finished, "--configfile", "quick.yaml") == {}


def test_dag_prints_dot_and_nothing_else(fresh: Path) -> None:
    for option in ("--dag", "--rulegraph"):
        out = snakemake(fresh, option).stdout
        assert out.startswith("digraph")
        assert out.rstrip().endswith("}")
        if dot := shutil.which("dot"):
            assert (
                b"<svg"
                in subprocess.run(
                    [dot, "-Tsvg"], input=out.encode(), capture_output=True, check=True
                ).stdout
            )


@pytest.mark.parametrize(
    ("run", "trainings"),
    [
        ("unified_search_3cfg_3seed", 9),
        ("unified_search", 22),
        ("350m_final", 2),
        ("unified_search_split_a,unified_search_split_b", 24),
    ],
)
def test_the_studys_experiments_are_planned(fresh: Path, run: str, trainings: int) -> None:
    assert planned(fresh, "--config", f"run={run}", "--cores", "1")["train"] == trainings


def test_published_numbers_are_compared_where_there_are_any(fresh: Path) -> None:
    assert planned(fresh, "--config", "run=unified_search_3cfg_3seed")["published"] == 1
    assert "published" not in planned(fresh)


def test_gpu_rules_ask_for_a_gpu(fresh: Path) -> None:
    plan = snakemake(
        fresh, "-n", "--cores", "1", "--config", "run=unified_search_3cfg_3seed"
    ).stdout
    for rule in ("rule train:", "rule evaluate:"):
        assert "gpu=1" in plan.partition(rule)[2].partition("\n\n")[0]


def test_runs_of_a_cpu_preset_ask_for_no_gpu_and_one_core_each(fresh: Path) -> None:
    plan = snakemake(fresh, "-n", "--cores", "2").stdout
    for rule in ("rule train:", "rule evaluate:"):
        job = plan.partition(rule)[2].partition("\n\n")[0]
        assert "gpu=0" in job
        assert "threads" not in job


def at_the_end_of(project: Path, command: str, expression: str) -> str:
    """The value of an expression in the process of `snakemake COMMAND` once that is done."""
    code = (
        "import gc, sys; from snakemake.cli import main\n"
        f"try: main({command.split()!r})\n"
        "except SystemExit: pass\n"
        f"print({expression}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True
    )
    return done.stderr.splitlines()[-1]


def test_a_dry_run_imports_nothing_heavy(fresh: Path) -> None:
    heavy = (
        "sorted({'torch', 'transformers', 'datasets', 'matplotlib', 'scipy'} & sys.modules.keys())"
    )
    assert at_the_end_of(fresh, "-n --quiet", heavy) == "[]"


@pytest.mark.parametrize(("command", "collects"), [("-n --quiet", "False"), ("--list", "True")])
def test_a_dry_run_and_nothing_else_does_without_garbage_collection(
    fresh: Path, command: str, collects: str
) -> None:
    assert at_the_end_of(fresh, command, "gc.isenabled()") == collects


def test_a_dry_run_leaves_the_lock_of_another_snakemake_alone(fresh: Path) -> None:
    lock = fresh / ".snakemake" / "locks" / "0.output.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text("results/summary.csv\n")
    snakemake(fresh, "-n", "--quiet")
    assert lock.exists()
    lock.unlink()


def test_a_mistake_in_yaml_itself_is_named_with_its_line(fresh: Path) -> None:
    original = (fresh / "config.yaml").read_text()
    try:
        (fresh / "config.yaml").write_text(original.replace("run: [demo]", "run: [demo"))
        done = snakemake(fresh, "-n", ok=False)
        assert done.returncode == 1
        assert re.search(r"^config\.yaml:\d+: not valid YAML", done.stderr, re.MULTILINE)
        (fresh / "config.yaml").write_text(original + "  geo_500k: {family: geometric, theta: 7}\n")
        done = snakemake(fresh, "-n", ok=False)
        assert done.returncode == 1
        assert "spectra.geo_500k is given twice" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        (fresh / "config.yaml").write_text(original)


def test_a_config_mistake_is_one_line_and_writes_nothing(fresh: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("experiments: {demo: {baseline: geo_50k}}\n")
    before = sorted(path for path in fresh.rglob("*") if ".snakemake" not in path.parts)
    done = snakemake(fresh, "--configfile", str(tmp_path / "bad.yaml"), ok=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if "geo_50k" in line]
    assert lines == [
        "experiments.demo.baseline: 'geo_50k' is not among its spectra; did you mean 'geo_500k'?"
    ]
    assert before == sorted(path for path in fresh.rglob("*") if ".snakemake" not in path.parts)


def test_raw_tokens_need_no_tokenizer(fresh: Path) -> None:
    """A token file as nanoGPT writes it, through Snakemake; only bits per byte are unknown."""
    for name, count in (("train.bin", 5000), ("val.bin", 700)):
        (np.arange(count) ** 2 % 97).astype("<u2").tofile(fresh / name)
    (fresh / "raw.yaml").write_text(RAW)
    done = snakemake(fresh, "results/raw/summary.csv", "--configfile", "raw.yaml")
    assert not {"tokenizer", "tokenize_train", "tokenize_val"} & job_counts(done.stderr).keys()
    assert len(np.load(fresh / "results/data/my-tokens/train.npy", mmap_mode="r")) == 5000
    assert pd.read_csv(fresh / "results/raw/summary.csv")["bits_per_byte"].isna().all()


def aggregate_by_hand(
    project: Path, spectra: list[str], output: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    """The aggregate step as a user runs it, on the runs of the finished experiment."""
    definition = {
        **{
            "experiment": "quick",
            "description": "",
            "dataset": "quick",
            "model": "tiny",
            "training": "quick",
        },
        **{
            "seeds": [1, 2, 3],
            "baseline": spectra[0],
            "contrasts": spectra[1:],
            "selection": None,
            "noise_floor": 0,
            "lengths": [64, 256],
            "protocols": ["first_chunks", "full"],
            "remaps": ["none"],
            "equivalence_margin": 0.01,
            "head_dim": 32,
            "train_length": 64,
        },
        "spectra": [
            json.loads((project / f"results/quick/{it}/seed1/config.json").read_text())["spectrum"]
            for it in spectra
        ],
    }
    design = output.with_suffix(".json")
    design.write_text(json.dumps(definition))
    tables = ("--runs", output / "runs.csv", "--csv", output / "summary.csv")
    return by_hand(project, "aggregate", "--definition", design, *tables, *options)


def by_hand(project: Path, module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"rope_spectra.{module}", *map(str, arguments)]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60)


def test_missing_seeds_are_left_out_on_request_and_named(finished: Path, tmp_path: Path) -> None:
    """Seed 3 has run nowhere and seed 2 of the hybrid is hidden: the pairs are those of seed 1."""
    hidden = finished / "results/quick/hybrid_a0.2_t100k/seed2"
    hidden.rename(tmp_path / "seed2")
    try:
        done = aggregate_by_hand(finished, ["geo_500k", "hybrid_a0.2_t100k"], tmp_path, "--partial")
    finally:
        (tmp_path / "seed2").rename(hidden)
    assert done.returncode == 0, done.stderr
    assert "quick: 3 of 6 runs" in done.stderr
    row = pd.read_csv(tmp_path / "summary.csv").query("spectrum == 'hybrid_a0.2_t100k'").iloc[0]
    assert (row["n_seeds"], row["n_pairs"], row["unpaired_seeds"]) == (1, 1, "geo_500k only: 2")
    assert pd.isna(row["ppl_std"])
    assert pd.isna(row["p_sign_flip"])
    design, page = tmp_path.with_suffix(".json"), tmp_path / "summary.md"
    inputs = ("--definition", design, "--summary", tmp_path / "summary.csv")
    assert by_hand(finished, "page", *inputs, "--output", page).returncode == 0
    assert "seeds without a partner: geo_500k only: 2" in page.read_text()


def test_a_missing_run_is_an_error_without_being_asked(finished: Path, tmp_path: Path) -> None:
    done = aggregate_by_hand(finished, ["geo_500k"], tmp_path)
    assert done.returncode == 1
    assert "error: results/quick/geo_500k/seed3/" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_evaluation_of_another_run_is_refused(finished: Path, tmp_path: Path) -> None:
    ours, other = finished / RUNS[0] / "eval.npz", finished / RUNS[1] / "eval.npz"
    kept = ours.read_bytes()
    try:
        ours.write_bytes(other.read_bytes())
        done = aggregate_by_hand(finished, ["geo_500k"], tmp_path, "--partial")
    finally:
        ours.write_bytes(kept)
    assert done.returncode == 1
    assert f"{RUNS[0]}/eval.npz: not the file that {RUNS[0]}/eval.json describes" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_label_makes_figures_and_pages_again_and_nothing_else(finished: Path) -> None:
    label = "spectra={geo_500k: {label: Geometric}}"
    plan = planned(finished, "--configfile", "quick.yaml", "--config", label)
    drawn = {"appearance", "figures", "interactive", "page", "summary"}
    assert plan.keys() - {"all"} == drawn


def test_figures_for_a_paper_are_made_on_request_from_the_tables_there_are(finished: Path) -> None:
    assert planned(finished, "--configfile", "quick.yaml", "--", "paper") == {
        "paper": 1,
        "paper_figure": 6,
    }
