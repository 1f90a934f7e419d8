"""Exports to Hugging Face: what transformers makes of the folder alone equals what this project computes."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra import export, spectra
from rope_spectra.data.tokenizers import load_tokenizer
from rope_spectra.evaluation import perplexity
from rope_spectra.model import huggingface
from rope_spectra.model.config import ModelConfig
from rope_spectra.model.llama import Llama
from rope_spectra.model.weights import build_model
from rope_spectra.report import model_card
from rope_spectra.rope.families import NamedSpectrum
from rope_spectra.runtime.errors import UserError
from support.checkout import ROOT, snakemake
from support.data_steps import NEOX
from support.read_export import NEW_TOKENS

TRAIN_LENGTH = 32
LENGTHS = (TRAIN_LENGTH, 8 * TRAIN_LENGTH)
RUN = "results/quick/hybrid_a0.2_t100k/seed1"

SPECTRA = {
    "geometric": {"family": "geometric", "theta": 500_000.0},
    "anchored_poly": {"family": "anchored_poly", "theta": 500_000.0, "p": 3.9, "omf": 0.3},
    "slow_start": {
        "family": "sigmoid",
        "theta": 100_000.0,
        "steepness": 8.0,
        "midpoint": 0.5,
        "omf": 0.3,
    },
    "mix": {
        "family": "mix",
        "alpha": 0.2,
        "a": {"family": "geometric", "theta": 100_000.0},
        "b": {"family": "anchored_poly", "theta": 100_000.0, "p": 3.9, "omf": 0.3},
    },
    "standstill": {"family": "values", "inv_freq": [0.7, 0.0, 1.9, 0.1, 0.0]},
    "nothing_turns": {"family": "values", "inv_freq": [0.0, 0.0]},
    "one_pair": {"family": "values", "inv_freq": [math.pi / 10]},
}
PAIRS = {"standstill": 5, "nothing_turns": 2, "one_pair": 1}


def model_of(name: str) -> Llama:
    """A model with large random weights, so that attention is sharp and a wrong angle shows in the logits."""
    sizes = {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 40,
        "vocab_size": 61,
    }
    config = ModelConfig(**sizes, head_dim=2 * PAIRS.get(name, 8), initializer_range=0.2)
    torch.manual_seed(5)
    return build_model(config, NamedSpectrum(name=name, shape=SPECTRA[name])).eval()


def read_elsewhere(requests: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What a fresh process makes of the folders, with transformers and without this project."""
    (folder / "request.json").write_text(json.dumps(requests))
    command = [
        sys.executable,
        str(ROOT / "tests/support/read_export.py"),
        str(folder / "request.json"),
        str(folder / "answers.json"),
    ]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
        "HF_HUB_OFFLINE": "1"
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "rope" not in done.stderr, "transformers complains about the rope parameters"
    return json.loads((folder / "answers.json").read_text())


@torch.inference_mode()
def greedy(model: Llama, prompt: list[int]) -> list[int]:
    """The likeliest continuation, without a cache: the whole text anew for each token."""
    ids = list(prompt)
    for _ in range(NEW_TOKENS):
        ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 61, 4 * LENGTHS[-1]).astype(np.uint16)


@pytest.fixture(scope="module")
def answers(tokens: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All spectra exported as usable to twice the training length, and read elsewhere at up to eight times."""
    folder = tmp_path_factory.mktemp("exports")
    requests = {}
    for name in SPECTRA:
        (folder / name).mkdir()
        export.write(folder / name, model_of(name), 2 * TRAIN_LENGTH, None, "identity")
        prompt = tokens[
            : 2 * TRAIN_LENGTH - NEW_TOKENS // 2
        ].tolist()  # the answer crosses that length
        requests[name] = {
            "folder": str(folder / name),
            "tokens": tokens.tolist(),
            "lengths": LENGTHS,
            "prompt": prompt,
        }
    return {
        name: {**answer, **requests[name]}
        for name, answer in read_elsewhere(requests, folder).items()
    }


@pytest.mark.parametrize("name", SPECTRA)
def test_transformers_has_the_trained_frequencies_bit_for_bit(answers, name: str) -> None:
    ours = [float(omega).hex() for omega in model_of(name).inv_freq]
    standstill = float(np.float32(1e-30)).hex()
    for when in ("loaded", "after"):
        assert [
            omega if ours[k] != "0x0.0p+0" else ours[k]
            for k, omega in enumerate(answers[name][when])
        ] == ours
        assert all(
            answers[name][when][k] == standstill
            for k, omega in enumerate(ours)
            if omega == "0x0.0p+0"
        )


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", SPECTRA)
def test_logits_are_ours_at_once_and_eight_times_the_training_length(
    answers, tokens, name: str, length: int
) -> None:
    assert answers[name]["dtype"] == "torch.float32"
    with torch.inference_mode():
        ours = model_of(name)(torch.from_numpy(tokens[:length].astype(np.int64))[None])[0]
    theirs = torch.load(answers[name]["logits"][str(length)], weights_only=True)
    assert (ours - theirs).abs().max() <= 1e-5 * ours.abs().max()


@pytest.mark.parametrize("name", SPECTRA)
def test_greedy_text_with_a_cache_is_ours_without_one(answers, name: str) -> None:
    text = greedy(model_of(name), answers[name]["prompt"])
    assert answers[name]["greedy"] == text


@pytest.mark.parametrize("name", SPECTRA)
def test_perplexity_through_transformers_is_ours(answers, tokens, name: str) -> None:
    for length in LENGTHS:
        ours = math.exp(perplexity.first_chunks(model_of(name), tokens, length, 4).nll)
        assert answers[name]["ppl"][str(length)] == pytest.approx(ours, rel=1e-6)


def test_another_spectrum_would_show(answers, tokens) -> None:
    """The comparison above is no formality: with the weights of one spectrum and the angles of another, logits differ."""
    model = model_of("geometric")
    model.inv_freq = model_of("slow_start").inv_freq
    for length in LENGTHS:
        with torch.inference_mode():
            wrong = model(torch.from_numpy(tokens[:length].astype(np.int64))[None])[0]
        theirs = torch.load(answers["geometric"]["logits"][str(length)], weights_only=True)
        assert (wrong - theirs).abs().max() > 1e-2 * wrong.abs().max()


@given(st.lists(st.just(0.0) | st.floats(1e-35, 1e6), min_size=1, max_size=64))
def test_any_snapped_spectrum_survives_json_bit_for_bit(omega: list[float]) -> None:
    snapped = spectra.snap(np.array(omega))
    rope = json.loads(json.dumps(huggingface.longrope(snapped, 64), allow_nan=False))
    for key in ("short_factor", "long_factor"):
        back = 1.0 / (np.array(rope[key], np.float32) * np.float32(1.0))
        slow = snapped < np.float32(1e-30)
        assert [x.hex() for x in back[~slow].tolist()] == [x.hex() for x in snapped[~slow].tolist()]
        assert (back[slow] == np.float32(1e-30)).all()


def test_no_pair_that_is_replaced_by_a_standstill_could_be_told_from_one() -> None:
    """Over a million tokens such a pair turns by less than half a unit in the last place of any rotated number."""
    angle = torch.tensor(1e6) * torch.tensor(1e-30)
    x, y = torch.tensor(1e-3), torch.tensor(1e3)
    assert angle.cos() == 1
    assert x * angle.cos() - y * angle.sin() == x


def test_a_model_that_transformers_cannot_load_is_refused() -> None:
    sizes = {"hidden_size": 25, "num_attention_heads": 3}
    with pytest.raises(
        UserError,
        match=r"hidden_size 25 is not a multiple of num_attention_heads 3.*; train a model",
    ):
        huggingface.model_config(sizes, np.ones(4, np.float32), 64, {})


# From here on a run of the real chain: trained, evaluated and exported by Snakemake.


@pytest.fixture(scope="module")
def exported(finished: Path) -> Path:
    snakemake(finished, f"{RUN}/hf", "--configfile", "quick.yaml")
    return finished / RUN / "hf"


@pytest.fixture(scope="module")
def card(exported: Path) -> str:
    return (exported / "README.md").read_text()


def code_of(page: str) -> str:
    return re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]


@pytest.fixture(scope="module")
def run(finished: Path) -> dict[str, Any]:
    return json.loads((finished / RUN / "run.json").read_text())


@pytest.fixture(scope="module")
def scores(finished: Path) -> pd.DataFrame:
    return pd.read_csv(finished / RUN / "eval.csv")


def arguments(finished: Path, run: Path, output: Path, **changes: Path | None) -> list[str]:
    """The command line of the step for a run of the finished experiment."""
    data = finished / "results/data/quick"
    options: dict[str, Path | None] = {
        **{
            "run": run,
            "settings": finished / "results/quick/evaluation.json",
            "manifest": data / "train.json",
        },
        **{"tokenizer": data / "tokenizer/tokenizer.json", "output": output},
        **changes,
    }
    return [str(word) for key, value in options.items() if value for word in (f"--{key}", value)]


def test_an_exported_run_is_read_as_it_was_trained(
    finished, exported, card, run, scores, tokens, tmp_path: Path
) -> None:
    """Perplexity as eval.csv has it, the tokenizer's ids, and the code of both kinds of model card."""
    text = "Once upon a time, there was\n  a café <|endoftext|> .  "
    validation = np.load(finished / "results/data/quick/validation.npy")
    common = {"lengths": [64, 256], "prompt": [1, 2, 3], "text": text}
    requests = {
        "run": {
            **common,
            "folder": str(exported),
            "tokens": validation.tolist(),
            "code": code_of(card),
        }
    }
    bare = tmp_path / "bare"
    bare.mkdir()
    export.write(bare, model_of("mix"), 64, None, "identity")
    raw = json.loads((finished / "results/data/quick/train.json").read_text())
    page = model_card.card(
        run, with_source(raw, source="tokens", file="train.bin", vocab_size=61), None, scores, None
    )
    requests["bare"] = {
        **common,
        "folder": str(bare),
        "tokens": tokens.tolist(),
        "code": code_of(page),
    }
    answers = read_elsewhere(requests, tmp_path)
    first_chunks = scores[scores["protocol"] == "first_chunks"].set_index("length")["ppl"]
    for length in (64, 256):
        assert answers["run"]["ppl"][str(length)] == pytest.approx(first_chunks[length], rel=1e-6)
    ids = (
        load_tokenizer(finished / "results/data/quick/tokenizer/tokenizer.json")
        .encode(text, add_special_tokens=False)
        .ids
    )
    assert (answers["run"]["ids"], answers["run"]["text"]) == (ids, text)
    assert answers["run"]["printed"].startswith("Once upon a time")
    assert answers["bare"]["printed"].startswith("[0, ")
    assert {path.name for path in bare.iterdir()} == {"config.json", "model.safetensors"}


def test_the_default_target_exports_nothing(finished: Path, exported: Path) -> None:
    assert "Nothing to be done" in snakemake(finished, "-n", "--configfile", "quick.yaml").stdout
    names = {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "README.md",
    }
    assert {
        path.name for path in exported.iterdir() if path.name != ".snakemake_timestamp"
    } == names
    assert not list(exported.parent.glob("*.tmp.*"))


def test_raw_tokens_are_exported_without_a_tokenizer(fresh: Path, tmp_path: Path) -> None:
    for name in ("train", "validation"):
        np.zeros(5000, "<u2").tofile(tmp_path / name)
    dataset = {
        "source": "tokens",
        "train": str(tmp_path / "train"),
        "validation": str(tmp_path / "validation"),
        "vocab_size": 97,
    }
    parts = {"dataset": "raw", "model": "tiny", "training": "tiny", "evaluation": "tiny"}
    experiment = {**parts, "spectra": ["geo_10k"], "seeds": [1], "baseline": "geo_10k"}
    (tmp_path / "raw.yaml").write_text(
        json.dumps(
            {"run": ["raw"], "experiments": {"raw": experiment}, "datasets": {"raw": dataset}}
        )
    )
    plan = snakemake(
        fresh,
        "-n",
        "-p",
        "results/raw/geo_10k/seed1/hf",
        "--configfile",
        str(tmp_path / "raw.yaml"),
    ).stdout
    command = re.search(r"python -m rope_spectra\.export .*", plan)[0]
    assert "--tokenizer" not in command
    assert "rule tokenizer" not in plan


def test_the_card_states_what_the_files_say(
    finished: Path, card: str, run: dict[str, Any], scores: pd.DataFrame
) -> None:
    front = yaml.safe_load(card.split("---")[1])
    assert (front["library_name"], front["license"]) == ("transformers", "mit")
    assert "datasets" not in front, "generated text is no data set of the hub"
    for score in scores.itertuples():
        row = rf"\| {score.protocol} \| {score.length}( \(trained\))? \| {score.ppl:.3f} \| {score.tokens:,} \|"
        assert re.search(row, card)
    summary = pd.read_csv(finished / "results/quick/summary.csv")
    row = summary.query(
        "spectrum == 'hybrid_a0.2_t100k' and protocol == 'full' and length == 256"
    ).iloc[0]
    assert f"{row['ppl_mean']:.3f} ± {row['ppl_std']:.3f}" in card
    assert f"ratio {row['ppl_ratio']:.3f}" in card
    assert f"verdict **{row['verdict']}**" in card
    assert run["identity"] in card
    assert f"torch {run['versions']['torch']}" in card
    assert "stories generated by rope-spectra, seed 0" in card
    assert str(finished) not in card


def test_the_card_states_what_share_of_the_rows_was_not_only_text(
    finished: Path, card: str, run: dict[str, Any], scores
) -> None:
    assert "retrieval probe" not in card
    manifest = json.loads((finished / "results/data/quick/train.json").read_text())
    settings = {
        **run["settings"],
        "training": {**run["settings"]["training"], "retrieval_share": 0.25},
    }
    page = model_card.card(
        {**run, "settings": settings},
        with_source(manifest, source="synthetic", seed=0),
        None,
        scores,
        None,
    )
    assert "Sentences of the retrieval probe between the text of 25 % of the rows" in page


def with_source(manifest: dict[str, Any], **source: object) -> dict[str, Any]:
    documents = None if source["source"] == "tokens" else manifest["documents"]
    return {
        **manifest,
        "documents": documents,
        "settings": {**manifest["settings"], "source": source},
    }


def test_the_card_names_a_hub_data_set_and_no_local_folder(finished, run, scores) -> None:
    manifest = json.loads((finished / "results/data/quick/train.json").read_text())
    hub = {"source": "hub", "revision": "f54c", "split": "train", "text_column": "text"}
    tokenizer = {"path": "EleutherAI/gpt-neox-20b", "revision": "c292"}
    page = model_card.card(
        run, with_source(manifest, path="roneneldan/TinyStories", **hub), tokenizer, scores, None
    )
    assert yaml.safe_load(page.split("---")[1])["datasets"] == ["roneneldan/TinyStories"]
    assert "`roneneldan/TinyStories` at revision `f54c`" in page
    assert "`EleutherAI/gpt-neox-20b` at revision `c292`" in page
    secret = {"path": "/home/alice/neox", "revision": None}
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
    finished: Path, run: dict[str, Any], tmp_path: Path
) -> None:
    summary, evaluation = (
        finished / "results/quick/summary.csv",
        json.loads((finished / RUN / "eval.json").read_text()),
    )
    assert len(export.read_summary(summary, run, evaluation)) == 4
    assert (
        export.read_summary(summary, run, {"files": {**evaluation["files"], "eval.csv": "0"}})
        is None
    )
    assert (
        export.read_summary(summary, {"settings": {**run["settings"], "seed": 3}}, evaluation)
        is None
    )
    assert export.read_summary(tmp_path / "none.csv", run, evaluation) is None
    for name in ("summary.csv", "tables.json"):
        shutil.copy(finished / "results/quick" / name, tmp_path)
    (tmp_path / "summary.csv").write_text(summary.read_text().replace("0", "1", 1))
    with pytest.raises(
        UserError, match=r"summary\.csv: not the file that .*tables\.json describes"
    ):
        export.read_summary(tmp_path / "summary.csv", run, evaluation)


def refusal(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> str:
    monkeypatch.setattr(sys, "argv", ["export", *words])
    with pytest.raises((UserError, OSError)) as error:
        export.main()
    return str(error.value)


@pytest.mark.parametrize("missing", ["run.json", "eval.csv", "model.safetensors"])
def test_an_unfinished_run_is_refused(
    finished: Path, tmp_path: Path, monkeypatch, missing: str
) -> None:
    shutil.copytree(finished / RUN, tmp_path / "run", ignore=shutil.ignore_patterns("hf"))
    (tmp_path / "run" / missing).unlink()
    assert missing in refusal(monkeypatch, arguments(finished, tmp_path / "run", tmp_path / "hf"))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_damaged_model_is_refused_in_one_line(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / RUN, tmp_path / "run", ignore=shutil.ignore_patterns("hf"))
    weights = (tmp_path / "run/model.safetensors").read_bytes()
    (tmp_path / "run/model.safetensors").write_bytes(weights[: len(weights) // 2])
    command = [
        sys.executable,
        "-m",
        "rope_spectra.export",
        *arguments(finished, tmp_path / "run", tmp_path / "hf"),
    ]
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
    finished, monkeypatch, changes, message: str
) -> None:
    given = {key: value and finished / value for key, value in changes.items()}
    before = sorted((finished / RUN).iterdir())
    words = arguments(finished, finished / RUN, **{"output": finished / "elsewhere", **given})
    assert re.search(message, refusal(monkeypatch, words))
    assert before == sorted((finished / RUN).iterdir())
    assert not (finished / "elsewhere").exists()


def test_a_spectrum_that_means_something_else_by_now_is_refused(finished, monkeypatch) -> None:
    """As after a change of a family's code: the weights would turn by angles they were not trained with."""
    inv_freq = NamedSpectrum.inv_freq
    monkeypatch.setattr(
        NamedSpectrum, "inv_freq", lambda *arguments: inv_freq(*arguments) * np.float32(0.5)
    )
    message = refusal(monkeypatch, arguments(finished, finished / RUN, finished / "elsewhere"))
    assert re.search(
        r"run\.json: was trained with other frequencies .*; export it with version", message
    )
    assert not (finished / "elsewhere").exists()


def added_start(folder: Path, tokenizer: Path) -> Path:
    """A copy of a tokenizer that puts a start token before each text when it is asked for special tokens."""
    from tokenizers import Tokenizer, processors

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
    not NEOX.exists(), reason="the real tokenizer (shared/data beside the repository) is not here"
)
def test_the_neox_tokenizer_keeps_its_special_tokens() -> None:
    tokenizer = export.read_tokenizer(NEOX)
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    assert huggingface.special_ids(tokenizer) == ids
    assert huggingface.special_tokens(tokenizer)["eos_token"] == "<|endoftext|>"


def test_a_learned_tokenizer_has_no_special_tokens(exported: Path) -> None:
    config: dict[str, Any] = json.loads((exported / "config.json").read_text())
    assert [config[f"{role}_token_id"] for role in ("bos", "eos", "pad")] == [None, None, None]
    assert (
        config["max_position_embeddings"]
        == config["rope_parameters"]["original_max_position_embeddings"]
        == 256
    )
