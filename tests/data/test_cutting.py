"""Long documents in pieces: the tokens of the whole, wherever the text is cut."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from rope_spectra.artifacts import seal
from rope_spectra.data import cache, cutting, encoding, synthetic, tokenizers
from rope_spectra.data.base import Pieces, apart, joined, piece, whole
from rope_spectra.data.cutting import Cutter
from rope_spectra.data.tokenization import tokenize
from support.data_steps import learn_tokenizer, split_settings, text_source

# The expressions of tiktoken's cl100k_base and o200k_base (the latter without its letter cases).
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXT = "".join(synthetic.story(0, "train", index) for index in range(4))
CHINESE = "他说：“很好。”然后走了，没有回头；天黑了！\n第二天早上。"
LEARNED = [TEXT, CHINESE * 20, "for i in x:\n    y += 12345 * i\r\n\r\n\t# ok  \n" * 30]


def learned(splitter: pre_tokenizers.PreTokenizer | None, nfc: bool = False) -> Tokenizer:
    """A BPE of 900 tokens with this rule for words."""
    tokenizer = Tokenizer(models.BPE())
    if splitter is not None:
        tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LEARNED, trainer)
    tokenizer.add_special_tokens(["<eot>"])
    return tokenizer


def words(expression: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(expression), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


CUT = {
    "gpt2": learned(pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "neox": learned(pre_tokenizers.ByteLevel(add_prefix_space=False), nfc=True),
    "cl100k": learned(words(CL100K)),
    "o200k": learned(words(O200K), nfc=True),
}
OTHERS = {
    "prefix": learned(pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "no words": learned(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)),
}
FRAGMENTS = st.sampled_from(
    "a| Zoe| |  |\n|\r\n|\t|.|,|'s|it's|12|_|é|e\u0301|漢|字。|，|！|\u3000|<eot>|<|한"  # noqa: SIM905
    "|\u1112\u1161|😀|\u200d".split("|")
)
TEXTS = st.lists(FRAGMENTS | st.text(max_size=3), min_size=20, max_size=200).map("".join)


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "_PIECE", 40)
    monkeypatch.setattr(cutting, "_CONTEXT", 20)


def ids(tokenizer: Tokenizer, pieces: list[Pieces]) -> list[int]:
    found: list[int] = []
    for text, _ in apart(pieces):
        found += tokenizer.encode(text, add_special_tokens=False).ids
    return found


def in_blocks(text: str, size: int) -> Iterator[Pieces]:
    for start in range(0, len(text), size):
        yield piece(text[start : start + size], is_last=False)
    yield piece("", is_last=True)


@pytest.mark.parametrize("name", [*CUT, *OTHERS])
@settings(max_examples=40)
@given(text=TEXTS, size=st.integers(1, 90))
def test_pieces_have_the_tokens_of_the_whole(name: str, text: str, size: int) -> None:
    tokenizer = (CUT | OTHERS)[name]
    text = text.encode(errors="ignore").decode()
    pieces = list(Cutter(tokenizer).cut(whole([text, "", text])))
    assert list(joined(pieces)) == [text, "", text]
    expected = tokenizer.encode(text, add_special_tokens=False).ids
    assert ids(tokenizer, pieces) == 2 * expected
    assert list(Cutter(tokenizer).cut(in_blocks(text, size))) == list(
        Cutter(tokenizer).cut(whole([text]))
    )


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("text", [TEXT, CHINESE * 50, "0.5 17 1e-3 " * 90, "a\n1\nb\n" * 90])
def test_long_text_is_cut(name: str, text: str) -> None:
    pieces = list(Cutter(CUT[name]).cut(whole([text])))
    texts, are_last = zip(*apart(pieces), strict=True)
    assert max(map(len, texts)) < 200
    assert ids(CUT[name], pieces) == CUT[name].encode(text, add_special_tokens=False).ids
    assert [*are_last] == [False] * (len(pieces) - 1) + [True]


def test_a_tokenizer_that_joins_words_gets_whole_documents() -> None:
    documents = [*whole([TEXT, TEXT])]
    assert [*apart(Cutter(OTHERS["no words"]).cut(documents))] == [*apart(documents)]


def test_text_without_words_stays_whole() -> None:
    assert len(list(Cutter(CUT["gpt2"]).cut(whole(["x" * 9000])))) == 1


def test_books_are_cut_for_neox(real_data: Path) -> None:
    tokenizer = tokenizers.load_tokenizer(real_data / "neox" / "tokenizer.json")
    book = (real_data / "books" / "train" / "pg236-the-jungle-book.txt").read_text()[:60_000]
    pieces = list(Cutter(tokenizer).cut(whole([book])))
    assert len(pieces) > 500
    assert ids(tokenizer, pieces) == tokenizer.encode(book, add_special_tokens=False).ids


@pytest.mark.parametrize("sample", [None, 1])
@pytest.mark.parametrize("budget", [None, 3000])
def test_a_cache_of_long_documents_is_that_of_whole_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: int | None, budget: int | None
) -> None:
    tokenizer_file = learn_tokenizer(tmp_path)
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(f"  {name} {TEXT}<eot>{CHINESE}<eot> \n<eot>{TEXT[::-1]}\n")
    made = []
    for number, longest in enumerate((1 << 20, 500, 40)):
        monkeypatch.setattr(cutting, "_PIECE", longest)
        for separator in (None, "<eot>"):
            split = split_settings(text_source(tmp_path / "*.txt", separator=separator), budget)
            folder = tmp_path / f"{number}{bool(separator)}"
            tokenize(split, tokenizer_file, folder / "shards", 1000, sample)
            cache.publish(split, folder / "shards", folder / "train.npy", folder / "train.json")
            seals = (folder / "train.json").read_bytes(), (folder / "train.npy").read_bytes()
            made.append((separator, seals))
    assert made[0] == made[2] == made[4]
    assert made[1] == made[3] == made[5]


def test_an_interrupted_run_resumes_within_a_document(tmp_path: Path) -> None:
    tokenizer_file = learn_tokenizer(tmp_path)
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name + TEXT)
    split = split_settings(text_source(tmp_path / "*.txt"), None)
    tokenize(split, tokenizer_file, tmp_path / "shards", 1000)
    expected = cache.build(split, tmp_path / "shards", tmp_path / "train.npy")
    shards = seal.read(tmp_path / "shards" / "index.json")["shards"]
    assert any(shard.get("pieces") for shard in shards)
    for kept in (1, len(shards) // 2, len(shards) - 1, len(shards)):
        partial = (tmp_path / "shards").rename(tmp_path / "shards.partial")
        index = seal.read(partial / "index.json")
        seal.write(partial / "index.json", index | {"shards": shards[:kept]})
        tokenize(split, tokenizer_file, tmp_path / "shards", 1000)
        assert seal.read(tmp_path / "shards" / "index.json")["shards"] == shards
        assert cache.build(split, tmp_path / "shards", tmp_path / "train.npy") == expected


def test_a_tokenizer_learned_from_pieces_is_that_of_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [TEXT, CHINESE * 9, TEXT.replace(" ", "\u3000")]
    cut = tokenizers.train_bpe(texts, 700).to_str()
    monkeypatch.setattr(cutting, "_PIECE", 1 << 30)
    assert tokenizers.train_bpe(texts, 700).to_str() == cut


def test_the_reference_encodes_few_characters_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [TEXT[:300], "", "one", TEXT[:500]]
    expected = encoding.reference(CUT["gpt2"])(texts)
    monkeypatch.setattr(encoding, "_REFERENCE_CHARACTERS", 200)
    found = encoding.reference(CUT["gpt2"])(texts)
    assert np.array_equal(found.ids, expected.ids)
    assert np.array_equal(found.ends, expected.ends)
