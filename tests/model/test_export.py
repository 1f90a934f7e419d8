"""Exports of a run that Snakemake has trained and evaluated: the folder, the card, refusals."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from tokenizers import Tokenizer, processors

from rope_spectra import export
from rope_spectra.artifacts import seal
from rope_spectra.config.sections import EvaluationSettings
from rope_spectra.data.cache import Manifest, read_manifest
from rope_spectra.data.sources import TokenizerFile
from rope_spectra.data.tokenizers import load_tokenizer
from rope_spectra.evaluation.record import read_evaluation
from rope_spectra.model import huggingface
from rope_spectra.report import model_card
from rope_spectra.rope.families import NamedSpectrum
from rope_spectra.runtime.errors import UserError
from rope_spectra.training.record import RunRecord, read_run
from support.checkout import snakemake
from support.data_steps import NEOX
from support.exports import VOCAB, model_of, read_elsewhere

RUN = "results/quick/hybrid_a0.2_t100k/seed1"
FIRST_TOKENS = np.random.default_rng(7).integers(0, VOCAB, 1024).tolist()


@pytest.fixture(scope="module")
def exported(finished: Path) -> Path:
    snakemake(finished, f"{RUN}/hf", "--configfile", "quick.yaml")
    return finished / RUN / "hf"


@pytest.fixture(scope="module")
def card(exported: Path) -> str:
    return (exported / "README.md").read_text()


@pytest.fixture(scope="module")
def run(finished: Path) -> RunRecord:
    return read_run(finished / RUN)


@pytest.fixture(scope="module")
def manifest(finished: Path) -> Manifest:
    return read_manifest(finished / "results/data/quick/train.json")


@pytest.fixture(scope="module")
def scores(finished: Path) -> pd.DataFrame:
    return pd.read_csv(finished / RUN / "eval.csv")


def code_of(page: str) -> str:
    return re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]


def arguments(finished: Path, run: Path, output: Path, **changes: Path | None) -> list[str]:
    """The command line of the step for a run of the finished experiment."""
    data = finished / "results/data/quick"
    options: dict[str, Path | None] = {
        "run": run,
        "settings": finished / "results/quick/evaluation.json",
        "manifest": data / "train.json",
        "tokenizer": data / "tokenizer/tokenizer.json",
        "output": output,
        **changes,
    }
    return [str(word) for key, value in options.items() if value for word in (f"--{key}", value)]


def with_source(manifest: Manifest, **source: object) -> Manifest:
    """The manifest of a cache that was made from another source."""
    content = manifest.model_dump(mode="json")
    content["settings"]["source"] = source
    if source["source"] == "tokens":
        content["documents"] = None
    return Manifest.model_validate(content)


def test_an_exported_run_is_read_as_it_was_trained(
    finished: Path,
    exported: Path,
    card: str,
    run: RunRecord,
    manifest: Manifest,
    scores: pd.DataFrame,
    tmp_path: Path,
) -> None:
    """Perplexity as eval.csv has it, the tokenizer's ids, and the code of both kinds of card."""
    text = "Once upon a time, there was\n  a café <|endoftext|> .  "
    validation = np.load(finished / "results/data/quick/validation.npy")
    bare = tmp_path / "bare"
    bare.mkdir()
    export.write(bare, model_of("mix"), 64, None, "identity")
    raw = with_source(manifest, source="tokens", file="train.bin", vocab_size=VOCAB)
    common = {"lengths": [64, 256], "prompt": [1, 2, 3], "text": text}
    requests = {
        "run": {
            **common,
            "folder": str(exported),
            "tokens": validation.tolist(),
            "code": code_of(card),
        },
        "bare": {
            **common,
            "folder": str(bare),
            "tokens": FIRST_TOKENS,
            "code": code_of(model_card.card(run, raw, None, scores, None)),
        },
    }
    answers = read_elsewhere(requests, tmp_path)
    first_chunks = scores[scores["protocol"] == "first_chunks"].set_index("length")["ppl"]
    for length in (64, 256):
        assert answers["run"]["ppl"][str(length)] == pytest.approx(first_chunks[length], rel=1e-6)
    tokenizer = load_tokenizer(finished / "results/data/quick/tokenizer/tokenizer.json")
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert (answers["run"]["ids"], answers["run"]["text"]) == (ids, text)
    assert answers["run"]["printed"].startswith("Once upon a time")
    assert answers["bare"]["printed"].startswith("[0, ")
    assert {path.name for path in bare.iterdir()} == {"config.json", "model.safetensors"}


def test_the_default_target_exports_nothing(finished: Path, exported: Path) -> None:
    assert "Nothing to be done" in snakemake(finished, "-n", "--configfile", "quick.yaml").stdout
    assert (
        "Nothing to be done"
        in snakemake(finished, "-n", f"{RUN}/hf", "--configfile", "quick.yaml").stdout
    )
    assert {path.name for path in exported.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "README.md",
    }
    assert not list(exported.parent.glob("*.tmp.*"))


def test_all_that_a_run_of_the_workflow_writes_has_the_mode_of_the_umask(
    finished: Path, exported: Path
) -> None:
    """The export, the logs and the heartbeats included."""
    umask = os.umask(0o022)
    os.umask(umask)
    found = {
        path: oct(stat.S_IMODE(path.stat().st_mode))
        for path in (finished / "results").rglob("*")
        if path.is_file()
    }
    assert exported / "model.safetensors" in found
    assert {path: mode for path, mode in found.items() if mode != oct(0o666 & ~umask)} == {}


def test_raw_tokens_are_exported_without_a_tokenizer(fresh: Path, tmp_path: Path) -> None:
    for token, name in enumerate(("train", "validation")):
        np.full(5000, token, "<u2").tofile(tmp_path / name)
    dataset = {
        "source": "tokens",
        "train": str(tmp_path / "train"),
        "validation": str(tmp_path / "validation"),
        "vocab_size": 97,
    }
    experiment = {
        "dataset": "raw",
        "model": "tiny",
        "training": "tiny",
        "evaluation": "tiny",
        "spectra": ["geo_10k"],
        "seeds": [1],
        "baseline": "geo_10k",
    }
    config = {"run": ["raw"], "experiments": {"raw": experiment}, "datasets": {"raw": dataset}}
    path = tmp_path / "raw.yaml"
    path.write_text(json.dumps(config))
    target = "results/raw/geo_10k/seed1/hf"
    plan = snakemake(fresh, "-n", "-p", target, "--configfile", str(path)).stdout
    command = re.search(r"python -m rope_spectra\.export .*", plan)[0]
    assert "--tokenizer" not in command
    assert "rule tokenizer" not in plan


# --- the model card ---


def test_the_card_states_what_the_files_say(
    finished: Path, card: str, run: RunRecord, scores: pd.DataFrame
) -> None:
    front = yaml.safe_load(card.split("---")[1])
    assert (front["library_name"], front["license"]) == ("transformers", "mit")
    assert "datasets" not in front, "generated text is no data set of the hub"
    assert front["language"] == "en"
    (model,) = front["model-index"]
    listed = {
        metric["name"]: metric["value"]
        for result in model["results"]
        for metric in result["metrics"]
    }
    assert listed == {
        f"Perplexity at {score.length} tokens, protocol {score.protocol}": round(score.ppl, 4)
        for score in scores.itertuples()
    }
    for score in scores.itertuples():
        length = rf"{score.length}( \(trained\))?"
        ppl = f"{score.ppl:.3f}"
        row = rf"\| {score.protocol} \| {length} \| {ppl} \| {score.tokens:,} \|"
        assert re.search(row, card)
    summary = pd.read_csv(finished / "results/quick/summary.csv")
    row = summary.query(
        "spectrum == 'hybrid_a0.2_t100k' and protocol == 'full' and length == 256"
    ).iloc[0]
    assert f"{row['ppl_mean']:.3f} ± {row['ppl_std']:.3f}" in card
    assert f"ratio {row['ppl_ratio']:.3f}" in card
    assert f"verdict **{row['verdict']}**" in card
    assert run.identity in card
    assert f"torch {run.versions['torch']}" in card
    assert f"| training | learning_rate | {run.settings.training.learning_rate} |" in card
    assert "stories generated by rope-spectra, seed 0" in card
    assert str(finished) not in card


def test_the_card_states_what_share_of_the_rows_was_not_only_text(
    card: str, run: RunRecord, manifest: Manifest, scores: pd.DataFrame
) -> None:
    assert "retrieval probe" not in card
    content = run.model_dump(mode="json")
    content["settings"]["training"]["retrieval_share"] = 0.25
    page = model_card.card(RunRecord.model_validate(content), manifest, None, scores, None)
    assert "Sentences of the retrieval probe between the text of 25 % of the rows" in page


def test_the_card_names_a_hub_data_set_and_no_local_folder(
    run: RunRecord, manifest: Manifest, scores: pd.DataFrame
) -> None:
    hub = {"source": "hub", "revision": "f54c", "split": "train", "text_column": "text"}
    on_the_hub = with_source(manifest, path="roneneldan/TinyStories", **hub)
    neox = TokenizerFile({"path": "EleutherAI/gpt-neox-20b", "revision": "c292"}).root
    page = model_card.card(run, on_the_hub, neox, scores, None)
    assert yaml.safe_load(page.split("---")[1])["datasets"] == ["roneneldan/TinyStories"]
    assert "`roneneldan/TinyStories` at revision `f54c`" in page
    assert "`EleutherAI/gpt-neox-20b` at revision `c292`" in page
    secret = TokenizerFile({"path": "/home/alice/neox", "revision": None}).root
    text = {
        "source": "text",
        "files": ["/home/alice/one.txt", "~/two.txt"],
        "separator": None,
        "text_column": "text",
    }
    for source in ({"path": "/home/alice/stories", **hub}, text):
        page = model_card.card(run, with_source(manifest, **source), secret, scores, None)
        assert "alice" not in page
        assert "datasets" not in yaml.safe_load(page.split("---")[1])
    assert "`one.txt`, `two.txt`" in page


def test_a_summary_of_another_evaluation_is_left_out_of_the_card(
    finished: Path, run: RunRecord, tmp_path: Path
) -> None:
    summary = finished / "results/quick/summary.csv"
    settings = seal.load_settings(finished / "results/quick/evaluation.json", EvaluationSettings)
    evaluation = read_evaluation(finished / RUN, settings)
    assert len(export.read_summary(summary, run, evaluation)) == 4
    other = evaluation.model_copy(update={"files": {**evaluation.files, "eval.csv": "0"}})
    assert export.read_summary(summary, run, other) is None
    other_seed = run.model_copy(update={"settings": run.settings.model_copy(update={"seed": 3})})
    assert export.read_summary(summary, other_seed, evaluation) is None
    assert export.read_summary(tmp_path / "none.csv", run, evaluation) is None
    for name in ("summary.csv", "tables.json"):
        shutil.copy(finished / "results/quick" / name, tmp_path)
    (tmp_path / "summary.csv").write_text(summary.read_text().replace("0", "1", 1))
    with pytest.raises(UserError, match=r"summary\.csv: not the file that .*tables\.json"):
        export.read_summary(tmp_path / "summary.csv", run, evaluation)


# --- refusals ---


def refusal(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> str:
    monkeypatch.setattr(sys, "argv", ["export", *words])
    with pytest.raises((UserError, OSError)) as error:
        export.main()
    return str(error.value)


@pytest.mark.parametrize("missing", ["run.json", "eval.csv", "model.safetensors"])
def test_an_unfinished_run_is_refused(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    shutil.copytree(finished / RUN, tmp_path / "run", ignore=shutil.ignore_patterns("hf"))
    (tmp_path / "run" / missing).unlink()
    assert missing in refusal(monkeypatch, arguments(finished, tmp_path / "run", tmp_path / "hf"))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_damaged_model_is_refused_in_one_line(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / RUN, tmp_path / "run", ignore=shutil.ignore_patterns("hf"))
    weights = (tmp_path / "run/model.safetensors").read_bytes()
    (tmp_path / "run/model.safetensors").write_bytes(weights[: len(weights) // 2])
    words = arguments(finished, tmp_path / "run", tmp_path / "hf")
    command = [sys.executable, "-m", "rope_spectra.export", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert re.fullmatch(r"\S+ error: \S+/model\.safetensors: .*; delete it .*\n", done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"manifest": "results/data/quick/validation.json"},
            "not the tokens that .* was trained on",
        ),
        (
            {"tokenizer": "results/data/quick/train.json"},
            "--tokenizer: .*, not what made the tokens of .*; give that",
        ),
        ({"tokenizer": None}, "--tokenizer: none given, not what made the tokens"),
        ({"output": RUN}, "exists already; delete it, or name another folder"),
    ],
    ids=["tokens", "tokenizer", "no_tokenizer", "output"],
)
def test_what_does_not_belong_to_the_run_is_refused(
    finished: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    given = {key: value and finished / value for key, value in changes.items()}
    before = sorted((finished / RUN).iterdir())
    words = arguments(finished, finished / RUN, **{"output": finished / "elsewhere", **given})
    assert re.search(message, refusal(monkeypatch, words))
    assert before == sorted((finished / RUN).iterdir())
    assert not (finished / "elsewhere").exists()


def test_a_spectrum_that_means_something_else_by_now_is_refused(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a change of a family's code: the weights were trained with other angles."""
    inv_freq = NamedSpectrum.inv_freq
    monkeypatch.setattr(
        NamedSpectrum, "inv_freq", lambda *arguments: inv_freq(*arguments) * np.float32(0.5)
    )
    message = refusal(monkeypatch, arguments(finished, finished / RUN, finished / "elsewhere"))
    assert re.search(r"run\.json: was trained with other frequencies .*; export it with", message)
    assert not (finished / "elsewhere").exists()


# --- the tokenizer ---


def added_start(folder: Path, tokenizer: Path) -> Path:
    """A copy of a tokenizer that puts a start token before each text, unless told not to."""
    changed = Tokenizer.from_file(str(tokenizer))
    changed.add_special_tokens(["<s>"])
    changed.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", changed.token_to_id("<s>"))]
    )
    changed.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def test_no_token_is_put_around_a_text_that_training_did_not_see(
    finished: Path, tmp_path: Path
) -> None:
    path = added_start(tmp_path, finished / "results/data/quick/tokenizer/tokenizer.json")
    text = "Once upon a time"
    trained = load_tokenizer(path).encode(text, add_special_tokens=False).ids
    assert load_tokenizer(path).encode(text).ids != trained
    tokenizer = export.read_tokenizer(path)
    assert tokenizer.encode(text).ids == trained
    assert huggingface.special_ids(tokenizer)["bos_token_id"] == tokenizer.token_to_id("<s>")


@pytest.mark.skipif(
    not NEOX.exists(), reason="the real tokenizer (shared/data next to the repository) is not here"
)
def test_the_neox_tokenizer_keeps_its_special_tokens() -> None:
    tokenizer = export.read_tokenizer(NEOX)
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    assert huggingface.special_ids(tokenizer) == ids
    assert huggingface.special_tokens(tokenizer)["eos_token"] == "<|endoftext|>"


def test_a_learned_tokenizer_has_an_end_and_a_padding_token(finished: Path, exported: Path) -> None:
    config: dict[str, Any] = json.loads((exported / "config.json").read_text())
    trained = load_tokenizer(finished / "results/data/quick/tokenizer/tokenizer.json")
    end, padding = trained.token_to_id("ÿ"), trained.token_to_id("þ")
    assert [config[f"{role}_token_id"] for role in ("bos", "eos", "pad")] == [end, end, padding]
    assert max(end, padding) < config["vocab_size"]
    shipped = Tokenizer.from_file(str(exported / "tokenizer.json"))
    assert shipped.id_to_token(end) == "<|endoftext|>"
    assert shipped.get_vocab_size() == trained.get_vocab_size()
    rope = config["rope_parameters"]
    assert config["max_position_embeddings"] == rope["original_max_position_embeddings"] == 256
