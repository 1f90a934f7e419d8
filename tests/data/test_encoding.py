"""The fast tokenizer is used only where it gives the ids of the reference.

All that it gave is thrown away if it errs later.
"""

import json
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_spectra.artifacts import seal
from rope_spectra.artifacts.files import write_json
from rope_spectra.data import base, encoding, synthetic
from rope_spectra.data.encoding import Encode, Encoded
from rope_spectra.data.tokenization import tokenize
from rope_spectra.data.tokenizers import load_tokenizer
from support.data_steps import (
    STORIES,
    learn_tokenizer,
    run,
    split_settings,
    step,
    text_source,
)

BUDGET = 20_000
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def small_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learn_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def fast(small_tokenizer: Path) -> Encode:
    return encoding.Gigatoken(small_tokenizer)


@pytest.fixture(scope="module")
def reference(small_tokenizer: Path) -> Encode:
    return encoding.reference(load_tokenizer(small_tokenizer))


@pytest.fixture(scope="module")
def expected(small_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The tokens of the reference alone."""
    return shards(tmp_path_factory.mktemp("reference"), small_tokenizer, None)


def shards(
    folder: Path,
    tokenizer_file: Path,
    sample: int | None,
    source: dict = STORIES,
    budget: int | None = BUDGET,
) -> bytes:
    """Tokenize into many small shards; their tokens in a row."""
    tokenize(split_settings(source, budget), tokenizer_file, folder / "shards", 1000, sample)
    return b"".join(file.read_bytes() for file in sorted((folder / "shards").glob("*.bin")))


def backend(folder: Path) -> dict[str, str]:
    return seal.read(folder / "shards" / "index.json")["backend"]


def wrong_for(is_wrong: Callable[[str], bool], true: Encode) -> Encode:
    """An encoder that errs by one id, and only in documents that `is_wrong` picks."""

    def encode(texts: list[str]) -> Encoded:
        documents = [true([text]).ids for text in texts]
        for text, ids in zip(texts, documents, strict=True):
            ids[3:4] ^= is_wrong(text)
        return encoding.concatenate(documents)

    return encode


def use(monkeypatch: pytest.MonkeyPatch, fake: Encode) -> None:
    monkeypatch.setattr(encoding, "Gigatoken", lambda _: fake)


def test_it_gives_the_tokens_of_the_reference(
    small_tokenizer: Path, expected: bytes, tmp_path: Path
) -> None:
    assert shards(tmp_path, small_tokenizer, 2) == expected
    assert backend(tmp_path)["name"].startswith("gigatoken ")
    assert "gave the same ids for 2 documents" in backend(tmp_path)["why"]


@given(TEXTS)
def test_it_agrees_on_any_text(fast: Encode, reference: Encode, texts: list[str]) -> None:
    encoding.check_equal(texts, fast(texts), reference(texts))


def test_it_agrees_on_real_text_and_the_hard_cases(real_data: Path) -> None:
    file = real_data / "neox/tokenizer.json"
    fast, reference = encoding.Gigatoken(file), encoding.reference(load_tokenizer(file))
    stories = (real_data / "tinystories/validation.txt").read_text().split("<|endoftext|>")
    for texts in (encoding.HARD_CASES, stories, ["".join(stories)[:200_000]]):
        encoding.check_equal(texts, fast(texts), reference(texts))


def test_loading_it_anew_changes_no_id(
    small_tokenizer: Path, expected: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "_RELOAD_TOKENS", 2_500)
    assert shards(tmp_path, small_tokenizer, 1) == expected


def test_a_difference_in_the_sample_leaves_it_unused(
    small_tokenizer: Path,
    expected: bytes,
    reference: Encode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = synthetic.story(0, "train", 1)
    use(monkeypatch, wrong_for(lambda text: text == second, reference))
    assert shards(tmp_path, small_tokenizer, 2) == expected
    why = f"gigatoken and tokenizers give other ids for the text that begins {second[:60]!r}"
    assert backend(tmp_path) == {"name": "tokenizers", "why": why}


@pytest.mark.parametrize(
    "hard",
    [text for text in encoding.HARD_CASES if len(text) > 3],
    ids=lambda text: ascii(text[:6]),
)
def test_a_difference_in_a_hard_case_leaves_it_unused(
    hard: str, small_tokenizer: Path, reference: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, wrong_for(lambda text: text == hard, reference))
    encoder = encoding.Encoder(load_tokenizer(small_tokenizer), small_tokenizer, 1)
    assert len(list(encoder.encode([base.piece(text, is_last=True) for text in "ab"]))) == 2
    assert encoder.backend.name == "tokenizers"


def test_without_the_package_the_reference_goes_on(
    small_tokenizer: Path, expected: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gigatoken", None)
    assert shards(tmp_path, small_tokenizer, 1) == expected
    assert backend(tmp_path) == {"name": "tokenizers", "why": "gigatoken is not installed"}


def test_a_tokenizer_it_cannot_read_is_encoded_by_the_reference(
    small_tokenizer: Path, tmp_path: Path
) -> None:
    content = json.loads(small_tokenizer.read_bytes())
    content["pre_tokenizer"] = {"type": "Digits", "individual_digits": True}
    unusual = tmp_path / "tokenizer.json"
    write_json(unusual, content)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert shards(tmp_path / "a", unusual, 1) == shards(tmp_path / "b", unusual, None)
    assert backend(tmp_path / "a")["why"].startswith("gigatoken cannot use this tokenizer: ")


def story_number(number: int) -> Callable[[str], bool]:
    wanted = synthetic.story(0, "train", number)
    return lambda text: text == wanted


def test_a_later_difference_makes_all_shards_again(
    small_tokenizer: Path,
    expected: bytes,
    reference: Encode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Story 3 is wrong but not compared; its ids are in a shard when story 5 shows the error."""
    wrong, found = story_number(3), story_number(5)
    # After the sample of one: stories 1, 5, 9 ...
    monkeypatch.setattr(encoding, "_COMPARE_EVERY", 4)
    use(monkeypatch, wrong_for(lambda text: wrong(text) or found(text), reference))
    assert shards(tmp_path, small_tokenizer, 1) == expected
    assert backend(tmp_path)["name"] == "tokenizers"


def test_without_the_later_comparison_that_error_would_stay(
    small_tokenizer: Path,
    expected: bytes,
    reference: Encode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, wrong_for(story_number(3), reference))
    assert shards(tmp_path, small_tokenizer, 1) != expected


def test_the_chance_to_catch_a_rare_error_does_not_fall_with_the_position() -> None:
    """Of documents anywhere in a text, however long, one in 200 is compared."""

    def true(texts: list[str]) -> Encoded:
        return encoding.concatenate([np.array([int(text)], "<u2") for text in texts])

    def is_caught(number: int) -> bool:
        def wrong(texts: list[str]) -> Encoded:
            ids = true(texts).ids
            return Encoded(ids ^ (ids == number), np.arange(1, len(ids) + 1))

        encoder = encoding.CheckedEncoder(wrong, true)
        try:
            for start in range(0, 4000, 150):
                encoder.encode([str(index) for index in range(start, start + 150)])
        except encoding.Disagreement:
            return True
        return False

    assert [number for number in range(3401, 4000, 67) if is_caught(number)] == []
    assert [number for number in range(0, 4000, 100) if is_caught(number)] == [*range(0, 4000, 200)]


def test_a_character_not_seen_before_is_compared(
    small_tokenizer: Path, reference: Encode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = list(islice(synthetic.stories(0, "train"), 6))
    plain[4] = plain[4][:500] + "ß" + plain[4][500:]
    (tmp_path / "a.txt").write_text("<eot>".join(plain))
    source = text_source(tmp_path / "a.txt", separator="<eot>")
    use(
        monkeypatch,
        wrong_for(lambda text: "ß" in text and text not in encoding.HARD_CASES, reference),
    )
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert shards(tmp_path / "a", small_tokenizer, 1, source, None) == shards(
        tmp_path / "b", small_tokenizer, None, source, None
    )
    assert backend(tmp_path / "a")["name"] == "tokenizers"


def test_a_run_that_was_wrong_once_goes_on_with_the_reference(
    small_tokenizer: Path, expected: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = tmp_path / "shards.partial"
    shards(tmp_path, small_tokenizer, None)
    (tmp_path / "shards").rename(partial)
    index = seal.read(partial / "index.json")
    seal.write(
        partial / "index.json",
        index
        | {"shards": index["shards"][:-1], "backend": {"name": "tokenizers", "why": "it erred"}},
    )
    monkeypatch.setattr(encoding, "Gigatoken", pytest.fail)
    assert shards(tmp_path, small_tokenizer, 1) == expected
    assert backend(tmp_path) == {"name": "tokenizers", "why": "it erred"}


def test_a_text_within_the_sample_never_loads_it(
    small_tokenizer: Path, expected: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "Gigatoken", pytest.fail)
    assert shards(tmp_path, small_tokenizer, 1000) == expected


def test_the_sample_ends_within_a_batch(
    small_tokenizer: Path, expected: bytes, tmp_path: Path
) -> None:
    """One batch holds all documents here; the reference encodes no more than those asked for."""
    tokenize(split_settings(STORIES, BUDGET), small_tokenizer, tmp_path / "shards", 10**6, 2)
    assert (tmp_path / "shards/00000.bin").read_bytes() == expected
    assert "gave the same ids for 2 documents" in backend(tmp_path)["why"]


def test_long_documents_make_a_short_sample(
    small_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "_SAMPLE_CHARACTERS", 10_000)
    shards(tmp_path, small_tokenizer, 1000)
    assert "gave the same ids for 2 documents" in backend(tmp_path)["why"]


def test_by_hand_the_size_of_the_sample_comes_from_the_options(
    small_tokenizer: Path, tmp_path: Path
) -> None:
    write_json(tmp_path / "settings.json", split_settings(STORIES, BUDGET).content())
    write_json(tmp_path / "options.json", {"tokenizer_check": 3})
    command = step(
        "tokenize",
        settings=tmp_path / "settings.json",
        tokenizer=small_tokenizer,
        output=tmp_path / "shards",
        options=tmp_path / "options.json",
        shard_tokens=1000,
    )
    done = run(command)
    assert "encoding with tokenizers (the first 3 documents, to check gigatoken on)" in done.stderr
    assert "it gave the same ids for 3 documents and the hard cases" in done.stderr


@given(st.lists(st.integers(0, 5), min_size=1), st.data())
def test_a_cut_ends_with_the_document_that_brings_the_tokens(
    lengths: list[int], data: st.DataObject
) -> None:
    documents = [np.arange(length, dtype="<u2") for length in lengths]
    encoded = encoding.concatenate(documents)
    tokens = data.draw(st.integers(1, sum(lengths) + 3))
    short = encoded.first(tokens)
    assert short.ids.tolist() == encoded.ids[:tokens].tolist()
    taken = next(
        (count for count in range(1, len(lengths) + 1) if sum(lengths[:count]) >= tokens),
        len(lengths),
    )
    assert len(short.ends) == taken
    assert short.ends[-1] == len(short.ids)
    assert [ids.tolist() for ids in map(short.document, range(taken - 1))] == [
        ids.tolist() for ids in documents[: taken - 1]
    ]
