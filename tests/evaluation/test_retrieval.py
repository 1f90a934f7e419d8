"""The retrieval probe: what is asked, what is trained in, how it is scored and tabulated, and all of it through Snakemake."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from rope_spectra.analysis import retrieval_table, statistics
from rope_spectra.config import legacy as frozen
from rope_spectra.data import sentence as sentences
from rope_spectra.data import sentence_words, tokenizers
from rope_spectra.data.sentence import Sentence
from rope_spectra.evaluation import perplexity, probe
from rope_spectra.model.llama import Llama, ModelConfig
from rope_spectra.report import plots, style
from rope_spectra.runtime.errors import UserError
from rope_spectra.training import batches
from support import small_experiment as small
from support.checkout import ROOT, fresh_checkout, planned, snakemake
from support.damage import damages

KEY = Sentence(before=(900, 901), after=(902,), values=tuple(range(1000, 1032)))
TEXT = np.random.default_rng(0).integers(0, 800, 5000).astype(np.uint16)
GOLDEN_CANDIDATES = [[1028, 1000, 1023], [1007, 1004, 1018], [1019, 1018, 1016]]
POINTS = [
    *(
        ("geo", seed, length, right)
        for seed, length, right in [(1, 64, 15), (2, 64, 17), (1, 256, 4), (2, 256, 6)]
    ),
    *(("hybrid", seed, length, 15) for seed in (1, 2) for length in (64, 256)),
]
GOLDEN_IDS = [
    [0, 1, 2, 900, 901, 1028, 902, 3, 4, 900, 901],
    [7, 900, 901, 1007, 902, 8, 9, 10, 11, 900, 901],
    [15, 900, 901, 1019, 902, 16, 17, 18, 19, 900, 901],
]

# --- trials ---------------------------------------------------------------------------------------------------------------------


@given(length=st.integers(8, 300), count=st.integers(1, 40), distractors=st.integers(1, 31))
def test_a_trial_is_a_passage_of_the_text_with_the_sentence_and_the_question(
    length: int, count: int, distractors: int
) -> None:
    made = probe.trials(KEY, TEXT, length, count, distractors)
    assert made.ids.shape == (count, length - 1)
    assert made.candidates.shape == (count, 1 + distractors)
    for ids, candidates in zip(made.ids.tolist(), made.candidates.tolist(), strict=True):
        assert len(set(candidates)) == 1 + distractors
        assert set(candidates) <= set(KEY.values)
        place = ids.index(900)
        assert ids[place : place + 4] == [900, 901, candidates[0], 902]
        assert ids[-2:] == [900, 901]
        passage = np.array(ids[:place] + ids[place + 4 : -2], np.uint16)
        assert any(
            np.array_equal(TEXT[start : start + len(passage)], passage)
            for start in range(len(TEXT) - len(passage) + 1)
        )


def test_trials_have_different_passages_and_ask_the_same_at_every_length() -> None:
    short, long = (probe.trials(KEY, TEXT, length, 50, 9) for length in (64, 1024))
    assert len(np.unique(long.ids, axis=0)) == 50
    np.testing.assert_array_equal(short.candidates, long.candidates)
    places = [
        np.argmax(made.ids == 900, axis=1) / (made.ids.shape[1] - 6) for made in (short, long)
    ]
    np.testing.assert_allclose(*places, atol=2 / 58)
    assert places[1].min() < 0.1
    assert places[1].max() > 0.9


def test_trials_are_the_same_on_every_machine() -> None:
    made = probe.trials(KEY, np.arange(20, dtype=np.uint16), 12, 3, 2)
    assert made.candidates.tolist() == GOLDEN_CANDIDATES
    assert made.ids.tolist() == GOLDEN_IDS


@given(st.permutations(KEY.values))
def test_a_model_that_does_not_look_back_is_right_by_chance_whatever_it_prefers(
    preference: list[int],
) -> None:
    liking = {value: rank for rank, value in enumerate(preference)}
    candidates = probe.trials(KEY, TEXT, 16, 2000, 9).candidates
    nll = np.vectorize(liking.get)(candidates).astype(np.float32)
    low, high = statistics.wilson95(int(np.count_nonzero(nll[:, 0] < nll[:, 1:].min(axis=1))), 2000)
    # The trials are the same for all preferences, so that of many drawn ones some lie outside of a 95 % interval.
    assert low - 0.015 < 0.1 < high + 0.015


@pytest.mark.parametrize(
    ("length", "count", "message"),
    [
        (7, 1, "evaluation: length 7 is too short for retrieval, it needs 8 tokens; raise it"),
        (
            4990,
            100,
            "evaluation: retrieval has 100 trials, a text of 5000 tokens has too few passages of 4983; lower trials",
        ),
    ],
)
def test_what_cannot_be_asked_is_one_line(length: int, count: int, message: str) -> None:
    with pytest.raises(UserError) as error:
        probe.trials(KEY, TEXT, length, count, 9)
    assert str(error.value) == message


# --- training rows --------------------------------------------------------------------------------------------------------------


@given(share=st.floats(0, 1), n=st.integers(1, 500))
def test_of_the_first_rows_that_share_has_the_sentence(share: float, n: int) -> None:
    assert sum(sentences.has_sentence(number, share) for number in range(n)) == int(n * share)


@given(seq_len=st.integers(16, 128), share=st.floats(0.1, 1), start=st.integers(0, 1000))
def test_rows_have_the_sentence_between_their_own_text(
    seq_len: int, share: float, start: int
) -> None:
    rows, numbers = TEXT[: 16 * seq_len].reshape(16, seq_len), np.arange(start, start + 16)
    before = rows.copy()
    changed = sentences.with_sentences(rows, numbers, KEY, share)
    np.testing.assert_array_equal(rows, before)
    for old, new, number in zip(rows, changed, numbers.tolist(), strict=True):
        if not sentences.has_sentence(number, share):
            np.testing.assert_array_equal(new, old)
            continue
        places = np.flatnonzero(new == 900)
        assert (
            len(places) == sentences.mentions(KEY, seq_len) == min(sentences.MENTIONS, seq_len // 8)
        )
        named = {tuple(new[place : place + 4].tolist()) for place in places}
        assert len(named) == 1
        assert next(iter(named)) in {(900, 901, value, 902) for value in KEY.values}
        text = np.delete(new, (places[:, None] + np.arange(4)).ravel())
        np.testing.assert_array_equal(text, old[: len(text)])


def test_a_row_is_the_same_in_whatever_batch_it_comes() -> None:
    table = TEXT[:4992].reshape(-1, 64)

    def change(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        return sentences.with_sentences(rows, numbers, KEY, 0.5)

    whole = torch.cat(list(batches.batches(table, 6, 3, 0, slice(None), change)))
    resumed = torch.cat(list(batches.batches(table, 6, 3, 5, slice(None), change)))
    halves = [
        torch.cat(list(batches.batches(table, 6, 3, 0, part, change)))
        for part in (slice(0, 3), slice(3, 6))
    ]
    assert torch.equal(whole[30:], resumed)
    assert torch.equal(whole.view(-1, 6, 64)[:, :3].reshape(-1, 64), halves[0])
    assert torch.equal(whole.view(-1, 6, 64)[:, 3:].reshape(-1, 64), halves[1])
    plain = torch.cat(list(batches.batches(table, 6, 3, 0, slice(None))))
    changed = (whole != plain).any(dim=1)
    assert changed.sum() == len(table) // 2


def test_a_row_too_short_for_two_sentences_is_one_line() -> None:
    with pytest.raises(
        UserError,
        match=r"^training: seq_len 15 is too short for retrieval_share, it needs 16 tokens; raise it or",
    ):
        sentences.mentions(KEY, 15)


# --- the sentence in tokens -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return tokenizers.train_bpe(
        [
            "every morning they walked along the river under tall green trees with their brother Robert"
        ]
        * 9,
        600,
    )


def counts_of(encoder: Tokenizer, text: str) -> np.ndarray:
    return sentence_words.count_tokens(
        np.array(encoder.encode(text).ids, np.uint16), tokenizers.vocab_size(encoder)
    )


def test_values_are_frequent_words_of_one_token_with_the_same_tokens_around(
    words: Tokenizer,
) -> None:
    text = " they river river river morning walked along under green trees with their brother Robert every tall"
    made, named = sentence_words.in_tokens("Key: {value}.", words, counts_of(words, text))
    assert named[0] == "river"
    rare = {"every", "tall"}  # each is one token or not, as the tokenizer has learned it
    assert set(named) - rare == set(text.split()) - rare
    for value, word in zip(made.values, named, strict=True):
        assert words.encode(f"Key: {word}.").ids == made.naming(value).tolist()


def test_too_few_words_are_one_line_with_a_remedy(words: Tokenizer) -> None:
    with pytest.raises(
        UserError,
        match=r"^retrieval_sentence: 'Key: \{value\}\.' takes 2 frequent words .* 10 are needed; begin",
    ):
        sentence_words.in_tokens("Key: {value}.", words, counts_of(words, " river morning"))
    with pytest.raises(
        UserError, match="takes 0 frequent words"
    ):  # without a space each word is several tokens
        sentence_words.in_tokens(
            "Key:{value}", words, counts_of(words, " river morning with trees")
        )


def test_counting_in_blocks_is_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_words, "_BLOCK", 7)
    np.testing.assert_array_equal(
        sentence_words.count_tokens(TEXT, 800), np.bincount(TEXT, minlength=800)
    )


def test_the_real_tokenizer_has_words_enough(real_data: Path) -> None:
    encoder = tokenizers.load_tokenizer(real_data / "neox" / "tokenizer.json")
    text = (real_data / "tinystories/train.txt").read_text()[:300_000]
    _, named = sentence_words.in_tokens("Key: {value}.", encoder, counts_of(encoder, text))
    assert len(named) == sentence_words.VALUES
    assert {"Once", "They"} & set(named)


def test_the_identity_of_a_sentence_never_changes() -> None:
    """It is a part of the identity of finished runs."""
    assert KEY.sha256 == "0742cfc2ee1412f280d0dc475a42af57309ae2fe7b49918e8e63fa231dee2f70"


# --- scoring --------------------------------------------------------------------------------------------------------------------


def test_candidates_are_scored_as_the_next_token_of_their_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    sizes = ModelConfig(16, 1, 2, 8, 24, 1032, initializer_range=0.5)
    model = Llama(sizes, torch.tensor([1.0, 0.3, 0.1, 0.01])).eval()
    made = probe.trials(KEY, TEXT, 40, 7, 9)
    monkeypatch.setattr(perplexity, "TRUNK_TOKENS", 100)  # two trials at once and one left over
    nll = perplexity.candidate_nll(model, *made)
    for ids, candidates, scores in zip(made.ids, made.candidates, nll, strict=True):
        with torch.no_grad():
            expected = -model(torch.from_numpy(ids.astype(np.int64))[None])[0, -1].log_softmax(-1)[
                candidates
            ]
        np.testing.assert_allclose(scores, expected.numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (5, 10, 0.2366, 0.7634),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilson_intervals_of_the_literature(
    successes: int, trials: int, low: float, high: float
) -> None:
    """To the four digits that they are printed with; the last one is in Newcombe (1998), table I."""
    assert statistics.wilson95(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_wilson_interval_holds_the_share_and_mirrors(case: tuple[int, int]) -> None:
    successes, trials = case
    low, high = statistics.wilson95(successes, trials)
    assert 0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1
    assert statistics.wilson95(trials - successes, trials) == pytest.approx(
        (1 - high, 1 - low), abs=1e-12
    )


# --- tables ---------------------------------------------------------------------------------------------------------------------


def scores(right: int, trials: int = 20, gap: float = 2.0) -> np.ndarray:
    """NLL of 10 candidates in each trial: the first `right` trials are right, the others miss by one candidate."""
    nll = np.full((trials, 10), 3.0 + gap)
    nll[:, 0] = 3.0
    nll[right:, 4] = 2.5
    return nll


def test_a_run_is_counted_with_its_intervals() -> None:
    row = retrieval_table.by_run({("geo", 1, "none", 64): scores(15)}).iloc[0]
    assert (row["trials"], row["chance"], row["correct"], row["accuracy"]) == (20, 0.1, 15, 0.75)
    assert (row["accuracy_wilson95_low"], row["accuracy_wilson95_high"]) == statistics.wilson95(
        15, 20
    )
    gaps = np.array([2.0] * 15 + [(8 * 2.0 - 0.5) / 9] * 5)
    assert row["nll_gap"] == pytest.approx(gaps.mean())
    assert (row["nll_gap_ci95_low"], row["nll_gap_ci95_high"]) == pytest.approx(
        statistics.mean_ci95(gaps)
    )


def test_a_tie_is_not_right() -> None:
    assert (
        retrieval_table.by_run({("geo", 1, "none", 64): np.zeros((5, 10))}).iloc[0]["correct"] == 0
    )


def test_spectra_are_compared_on_the_seeds_that_both_have() -> None:
    nll = {("geo", seed, "none", 64): scores(right) for seed, right in [(1, 4), (2, 6), (3, 5)]}
    nll |= {
        ("hybrid", seed, "none", 64): scores(right, gap=3.0)
        for seed, right in [(2, 10), (3, 12), (4, 20)]
    }
    table = retrieval_table.summarize(retrieval_table.by_run(nll), "geo", ["hybrid"]).set_index(
        "spectrum"
    )
    assert table.loc["geo", ["n_seeds", "seeds", "baseline"]].tolist() == [3, "1 2 3", "geo"]
    assert table.loc["geo", "accuracy_mean"] == pytest.approx(0.25)
    assert table.loc["geo", "accuracy_std"] == pytest.approx(0.05)
    assert table.loc["geo", ["accuracy_wilson95_low", "accuracy_wilson95_high"]].tolist() == list(
        statistics.wilson95(15, 60)
    )
    assert np.isnan(table.loc["geo", "delta_accuracy"])
    hybrid = table.loc["hybrid"]
    assert (hybrid["n_pairs"], hybrid["wins"]) == (2, "2/2")
    assert hybrid["delta_accuracy"] == pytest.approx(np.mean([10 / 20 - 6 / 20, 12 / 20 - 5 / 20]))
    assert hybrid["p_sign_flip"] == 0.5
    assert (
        hybrid["delta_nll_gap_ci95_low"]
        < hybrid["delta_nll_gap"]
        < hybrid["delta_nll_gap_ci95_high"]
    )


def test_the_figure_shows_the_means_over_the_seeds_and_the_level_of_chance() -> None:
    nll = {(name, seed, "none", length): scores(right) for name, seed, length, right in POINTS}
    runs = retrieval_table.by_run(nll)
    axes = plots.retrieval(runs, 0.1, 64, style.line_styles(["geo", "hybrid"], "geo")).axes[0]
    means = {
        line.get_color(): line.get_ydata().tolist()
        for line in axes.lines
        if line.get_marker() in ("o", "s")
    }
    assert means == {style.BASELINE_COLOR: [0.8, 0.25], style.COLORS[0]: [0.75, 0.75]}
    assert [0.1, 0.1] in [list(line.get_ydata()) for line in axes.lines]
    assert axes.get_ylim() == (0.0, 1.03)


# --- configuration --------------------------------------------------------------------------------------------------------------


def loaded(**changes: Any) -> dict[str, Any]:
    raw = json.loads(json.dumps(small.EXPERIMENT))
    for path, value in changes.items():
        section, name, key = path.split("__")
        raw[section][name][key] = value
    return frozen.load(raw)


def test_without_the_probe_frozen_settings_are_what_they_were_before_there_was_one() -> None:
    off, on = loaded(), loaded(training__toy__retrieval_share=0.5, evaluation__toy__retrieval={})
    assert "retrieval_share" not in frozen.run_settings(off, "small", "geo", 1)["training"]
    assert "retrieval" not in frozen.evaluation_settings(off, "small") | frozen.experiment_settings(
        off, "small"
    )
    assert frozen.run_settings(on, "small", "geo", 1)["training"]["retrieval_share"] == 0.5
    evaluated = loaded(evaluation__toy__retrieval={})
    assert frozen.run_settings(evaluated, "small", "geo", 1) == frozen.run_settings(
        off, "small", "geo", 1
    )
    for settings in (
        frozen.evaluation_settings(on, "small"),
        frozen.experiment_settings(on, "small"),
    ):
        assert settings["retrieval"] == {"trials": 200, "distractors": 9}


@pytest.mark.parametrize("sentence", ["Key.", "{value} it is", " {value}", "{value} and {value}"])
def test_a_sentence_without_a_place_for_the_value_is_refused(sentence: str) -> None:
    with pytest.raises(
        UserError,
        match=r"^datasets\.toy\.retrieval_sentence: .* should have \{value\} once, after at least one word$",
    ):
        loaded(datasets__toy__retrieval_sentence=sentence)


def test_tokens_without_a_tokenizer_cannot_be_probed() -> None:
    tokens = {"source": "tokens", "train": "train.bin", "validation": "val.bin", "vocab_size": 100}
    raw = small.EXPERIMENT | {"datasets": {"toy": tokens}, "run": []}
    raw["training"] = {"toy": raw["training"]["toy"] | {"retrieval_share": 0.1}}
    raw["evaluation"] = {"toy": raw["evaluation"]["toy"] | {"retrieval": {}}}
    with pytest.raises(UserError) as error:
        frozen.load(raw | {"run": ["small"]})
    assert str(error.value).splitlines() == [
        "training.toy.retrieval_share: needs a tokenizer, which datasets.toy has not; leave it out",
        "evaluation.toy.retrieval: needs a tokenizer, which datasets.toy has not; leave it out",
    ]


def test_the_library_has_the_probe_at_both_sizes() -> None:
    library = frozen.load(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))
    for name in ("retrieval", "retrieval_small"):
        assert frozen.uses_sentence(library, name, "training")
        assert frozen.uses_sentence(library, name, "evaluation")
        assert len(library["experiments"][name]["seeds"]) >= 6
        assert library["experiments"][name]["selection"]
    assert not frozen.uses_sentence(library, "demo", "training")
    assert not frozen.uses_sentence(library, "unified_search", "evaluation")


# --- through Snakemake ----------------------------------------------------------------------------------------------------------

PROBED = """
run: [probed]
experiments:
  probed:
    {dataset: probed, model: tiny, training: probed, evaluation: probed, spectra: [geo_500k, hybrid_a0.2_t100k], seeds: [1, 2],
     baseline: geo_500k}
datasets:
  probed: {source: synthetic, train_tokens: 20_000, validation_tokens: 4_000, tokenizer: {train: 300_000, vocab_size: 512}}
training:
  probed: {tokens: 16_384, seq_len: 64, batch_size: 16, learning_rate: 3.0e-3, precision: fp32, compile: false, device: cpu,
           retrieval_share: 0.5}
evaluation:
  probed: {lengths: [64, 128], protocols: [full], remaps: [none, pi], retrieval: {trials: 20}}
"""


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of its own after an experiment with the probe."""
    project = fresh_checkout(tmp_path_factory.mktemp("probed"))
    (project / "probed.yaml").write_text(PROBED)
    snakemake(project, "--cores", "2", "--configfile", "probed.yaml")
    return project


def test_every_run_is_probed_and_tabulated(probed: Path) -> None:
    runs = pd.read_csv(probed / "results/probed/retrieval_runs.csv")
    assert len(runs) == 2 * 2 * 2 * 2
    assert set(runs["trials"]) == {20}
    assert set(runs["chance"]) == {0.1}
    at_64 = runs[runs["length"] == 64].pivot(
        index=["spectrum", "seed"], columns="remap", values="nll_gap"
    )
    assert (at_64["none"] == at_64["pi"]).all()  # no remap within the training length
    beyond = runs[runs["length"] == 128].pivot(
        index=["spectrum", "seed"], columns="remap", values="nll_gap"
    )
    assert (beyond["none"] != beyond["pi"]).all()
    summary = pd.read_csv(probed / "results/probed/retrieval.csv")
    assert len(summary) == 2 * 2 * 2
    page = (probed / "results/probed/summary.md").read_text()
    assert "## Retrieval" in page
    assert "the retrieval probe does, for one kind of sentence" in page
    assert (probed / "results/probed/figures/retrieval.svg").read_text().startswith("<?xml")


def test_a_run_says_what_sentences_it_saw(probed: Path, finished: Path) -> None:
    run = json.loads((probed / "results/probed/geo_500k/seed1/run.json").read_text())
    record = json.loads((probed / "results/data/probed/sentence.json").read_text())
    assert run["data"]["sentence"] == Sentence(**record).sha256
    assert run["settings"]["training"]["retrieval_share"] == 0.5
    other = json.loads((finished / "results/quick/geo_500k/seed1/run.json").read_text())
    assert "sentence" not in other["data"]
    assert "retrieval_share" not in other["settings"]["training"]


def test_nothing_is_left_to_do_and_another_sentence_trains_again(probed: Path) -> None:
    assert "Nothing to be done" in snakemake(probed, "-n", "--configfile", "probed.yaml").stdout
    (probed / "other.yaml").write_text(
        'datasets: {probed: {retrieval_sentence: "Remember {value}!"}}\n'
    )
    plan = planned(probed, "--configfile", "probed.yaml", "other.yaml")
    assert (plan["sentence"], plan["train"], plan["evaluate"]) == (1, 4, 4)
    assert "tokenize_train" not in plan


def test_a_step_that_needs_the_sentence_says_so(
    probed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(probed)
    data = (
        "--tokens",
        "results/data/probed/validation.npy",
        "--manifest",
        "results/data/probed/validation.json",
    )
    status, lines = small.step(
        "evaluate",
        "--run",
        "results/probed/geo_500k/seed1",
        "--settings",
        "results/probed/evaluation.json",
        *data,
    )
    assert status == 1
    assert lines == [
        "error: --sentence: is missing, but these settings have the retrieval probe; give the file that rope_spectra.sentence wrote"
    ]


def test_damage_to_the_sentence_is_found(probed: Path, tmp_path: Path) -> None:
    path, content = (
        tmp_path / "sentence.json",
        (probed / "results/data/probed/sentence.json").read_bytes(),
    )
    for _, damaged in damages(content, random.Random(0)):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"sentence\.json: "):
            sentences.read_sentence(path, wanted=True)
    path.write_bytes(content)
    assert sentences.read_sentence(path, wanted=True) == Sentence(**json.loads(content))


@pytest.mark.slow
def test_a_trained_toy_model_finds_the_word_within_its_training_length(fresh: Path) -> None:
    (fresh / "one.yaml").write_text(
        "experiments: {retrieval_small: {spectra: [geo_500k], seeds: [42, 123]}}\n"
    )
    snakemake(fresh, "--cores", "2", "--configfile", "one.yaml", "--config", "run=retrieval_small")
    runs = pd.read_csv(fresh / "results/retrieval_small/retrieval_runs.csv").set_index("length")
    assert runs.loc[128, "accuracy_wilson95_low"] > 2 * runs.loc[128, "chance"]
    assert runs.loc[128, "nll_gap_ci95_low"] > 0
