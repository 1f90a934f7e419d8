"""lm-evaluation-harness reads an exported model as we do: the same tokens, the same perplexity."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from rope_spectra.data.cache import read_manifest
from support.checkout import ROOT, snakemake
from support.small_experiment import step

HARNESS = ROOT / ".lm-eval/bin/python"
RUN = "results/quick/geo_500k/seed1"


def arguments(output: Path, dataset: str = "quick") -> list[object]:
    return ["--run", RUN, "--dataset", dataset, "--output", output]


def test_the_task_is_the_text_that_was_scored(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(finished)
    status, log = step("lm_eval_task", *arguments(tmp_path))
    assert (status, log) == (0, [])
    text = json.loads((tmp_path / "validation.jsonl").read_text())["text"]
    printed = capsys.readouterr().out
    scores = pd.read_csv(finished / RUN / "eval.csv").query("protocol == 'full'")
    tokens = scores["tokens"].iloc[0]
    assert f"{tokens} tokens in {len(text.encode())} bytes" in printed
    for score in scores.itertuples():
        assert re.search(
            rf"^# {score.length} tokens: bits_per_byte \S+, perplexity {score.ppl:.4f}$",
            printed,
            re.MULTILINE,
        )
    manifest = read_manifest(finished / "results/data/quick/validation.json")
    assert len(text.encode()) / manifest.bytes == pytest.approx(tokens / manifest.tokens, rel=0.05)


def test_another_text_than_that_of_the_evaluation_is_refused(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/data").mkdir(parents=True)
    (tmp_path / "results/quick").symlink_to(finished / "results/quick")
    (tmp_path / "results/data/other").mkdir()
    train = finished / "results/data/quick/train.json"
    (tmp_path / "results/data/other/validation.json").write_bytes(train.read_bytes())
    status, log = step("lm_eval_task", *arguments(tmp_path, "other"))
    assert status == 1
    assert "not the text that the run was evaluated on; give its dataset" in log[-1]


@pytest.mark.slow
@pytest.mark.skipif(
    not HARNESS.exists(), reason="lm-evaluation-harness is not here; `make lm-eval` installs it"
)
def test_the_harness_finds_our_perplexity(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    snakemake(finished, f"{RUN}/hf", "--configfile", "quick.yaml")
    monkeypatch.chdir(finished)
    assert step("lm_eval_task", *arguments(tmp_path))[0] == 0
    printed = capsys.readouterr().out
    size, tokens = (int(re.search(rf"(\d+) {unit}", printed)[1]) for unit in ("bytes", "tokens"))
    # The line as it was printed, for four times the training length.
    line = re.search(r"^# 256 tokens.*\n((?:.*\\\n)*.*)$", printed, re.MULTILINE)[1]
    program, *words = shlex.split(line.replace("\\\n", " "))
    assert program == "lm_eval"
    words += ["--device", "cpu", "--output_path", str(tmp_path / "out")]
    done = subprocess.run(
        [HARNESS, "-m", "lm_eval", *words],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    (found,) = (tmp_path / "out").rglob("results_*.json")
    result = json.loads(found.read_text())["results"]["rope_spectra"]
    ppl = result["byte_perplexity,none"] ** (size / tokens)
    scores = pd.read_csv(finished / RUN / "eval.csv").set_index(["protocol", "length"])
    # Both add up fp32 losses of the same tokens. Each is off by about 1e-7 of its value, and more
    # tokens make the mean no worse; 7e-9 was measured.
    assert ppl == pytest.approx(scores.loc[("full", 256), "ppl"], rel=1e-6)
