"""The tokenizer: copied or learned, its bytes per token, what it says about unfit files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from rope_spectra.artifacts import seal
from rope_spectra.artifacts.files import write_json
from rope_spectra.data import encoding, tokenizers
from rope_spectra.data.sources import TokenizerFile
from rope_spectra.runtime.errors import UserError
from support.data_steps import DATA, NEOX, STORIES, learn_tokenizer, run, step

needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the TinyStories excerpt and the NeoX tokenizer are not here"
)
ROLES = ("<|endoftext|>", "<|padding|>")
TOKENS = {"source": "tokens", "file": "raw.bin", "vocab_size": 300}
AWKWARD = [
    "👩‍👩‍👧 emoji 🎉",
    "a\n\n\t  b" + " " * 57 + "c",
    "naïve „Zitat“ 日本語",
    "\x00\x7f",
    "",
    "<|endoftext|> in the text",
    "e\u0301",
]


@pytest.fixture(scope="module")
def small_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learn_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def learned(small_tokenizer: Path) -> tuple[Tokenizer, Tokenizer]:
    """A tokenizer as training uses it, and as an export has it."""
    trained = tokenizers.load_tokenizer(small_tokenizer)
    return trained, tokenizers.marked(trained)


def test_the_learned_tokenizer_is_the_same_each_time(small_tokenizer: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "settings.json", {"train": 100_000, "vocab_size": 400, "source": STORIES})
    output, sizes = tmp_path / "tokenizer.json", tmp_path / "token_bytes.npy"
    settings = tmp_path / "settings.json"
    done = run(step("tokenizer", settings=settings, output=output, token_bytes=sizes))
    assert done.returncode == 0, done.stderr
    assert output.read_bytes() == small_tokenizer.read_bytes()
    token_bytes = np.load(sizes)
    assert (token_bytes.dtype, token_bytes.shape) == (np.uint16, (400,))
    assert token_bytes.tolist().count(1) == 256


@settings(max_examples=60)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_token_bytes_add_up_to_the_text(small_tokenizer: Path, text: str) -> None:
    loaded = tokenizers.load_tokenizer(small_tokenizer)
    ids = encoding.reference(loaded)([text]).ids
    assert tokenizers.count_token_bytes(loaded)[ids].sum() == len(text.encode())
    assert loaded.decode(ids.tolist()) == text


@needs_data
def test_token_bytes_of_real_text_and_a_real_tokenizer() -> None:
    loaded = tokenizers.load_tokenizer(NEOX)
    sizes = tokenizers.count_token_bytes(loaded)
    texts = [*AWKWARD, (DATA / "tinystories" / "validation.txt").read_text()[:300_000]]
    encoded = encoding.reference(loaded)(texts)
    for index, text in enumerate(texts):
        assert sizes[encoded.document(index)].sum() == len(
            loaded.normalizer.normalize_str(text).encode()
        )
    assert len(sizes) == 50_277


@needs_data
def test_the_encoder_follows_the_protocol() -> None:
    transformers = pytest.importorskip("transformers")
    reference = transformers.AutoTokenizer.from_pretrained(NEOX.parent)
    texts = [*AWKWARD, (DATA / "tinystories" / "train.txt").read_text()[:20_000]]
    encoded = encoding.reference(tokenizers.load_tokenizer(NEOX))(texts)
    for index, text in enumerate(texts):
        assert encoded.document(index).tolist() == reference.encode(text, add_special_tokens=False)


def unfit(content: dict[str, Any], **change: Any) -> bytes:
    return json.dumps(content | change).encode()


def test_unfit_tokenizers_are_named(small_tokenizer: Path, tmp_path: Path) -> None:
    good = json.loads(small_tokenizer.read_bytes())
    big = good["model"] | {"vocab": good["model"]["vocab"] | {"ab" * 40: 65_536}}
    long = {"vocab": good["model"]["vocab"] | {"a" * 65_536: 400}}
    special = {"id": 400, "special": True, "normalized": False}
    special |= dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    for content, message in [
        (b"{}", "x: not a tokenizer.json that can be read"),
        (unfit(good, decoder=None), "x: not a byte-level tokenizer"),
        (unfit(good, model=big), "x: 65537 tokens, but ids are stored as uint16"),
        (unfit(good, model=good["model"] | long), "x: a token of 65536 bytes, .* at most 65535"),
        (unfit(good, added_tokens=[special | {"content": "é" * 32768}]), "x: a token of 65536 "),
        (unfit(good, model=good["model"] | {"vocab": {}, "merges": []}), "x: .* is empty"),
        (b'{"model":' * 100_000, "x: not a tokenizer.json that can be read"),
    ]:
        with pytest.raises(UserError, match=message):
            tokenizers.parse_tokenizer(content, "x")
    with pytest.raises(
        UserError, match=r"tokenizer.json: no such file; tokenizer.path should be a folder"
    ):
        tokenizers.fetch(str(tmp_path), None)


def test_a_tokenizer_that_truncates_and_pads_does_neither_here(small_tokenizer: Path) -> None:
    content = unfit(
        json.loads(small_tokenizer.read_bytes()),
        truncation={"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        padding={
            "strategy": {"Fixed": 9},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "!",
        },
    )
    encoded = encoding.reference(tokenizers.parse_tokenizer(content, "x"))(
        ["Once upon a time there was a pony.", "a"]
    )
    assert len(encoded.document(0)) > 4
    assert len(encoded.document(1)) == 1


def test_the_longest_token_is_counted(small_tokenizer: Path) -> None:
    good = json.loads(small_tokenizer.read_bytes())
    longest = {"vocab": good["model"]["vocab"] | {"a" * 65_535: 400}}
    tokenizer = tokenizers.parse_tokenizer(unfit(good, model=good["model"] | longest), "x")
    assert tokenizers.count_token_bytes(tokenizer)[400] == 65_535


def test_a_tokenizer_that_draws_its_merges_at_random_does_not_here(small_tokenizer: Path) -> None:
    good = json.loads(small_tokenizer.read_bytes())
    content = unfit(good, model=good["model"] | {"dropout": 0.5})
    encode = encoding.reference(tokenizers.parse_tokenizer(content, "x"))
    assert (
        len({encode(["Once upon a time there was a pony."]).ids.tobytes() for _ in range(9)}) == 1
    )


def test_a_tokenizer_that_cannot_encode_a_text_is_one_line(small_tokenizer: Path) -> None:
    replace = {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "x"}
    content = unfit(json.loads(small_tokenizer.read_bytes()), normalizer=replace)
    encode = encoding.reference(tokenizers.parse_tokenizer(content, "x"))
    with pytest.raises(UserError, match=r"tokenizer: cannot encode the text .*retry-limit"):
        encode(["a" * 40 + "!"])


def test_an_unreachable_hub_is_one_line(tmp_path: Path) -> None:
    write_json(
        tmp_path / "settings.json", {"path": "no-such-owner/no-such-tokenizer", "revision": "abc"}
    )
    command = step(
        "tokenizer",
        settings=tmp_path / "settings.json",
        output=tmp_path / "t.json",
        token_bytes=tmp_path / "b.npy",
    )
    done = run(command)
    assert done.returncode == 1
    assert (
        "no-such-owner/no-such-tokenizer: cannot fetch tokenizer.json at revision abc"
        in done.stderr.splitlines()[-1]
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "dictionary|mapping"),
        ({"revision": None}, "path"),
        ({"path": "x", "vocab": 300}, "vocab"),
        ({"train": 0, "vocab_size": 300, "source": STORIES}, "train: "),
        ({"train": 9, "vocab_size": 255, "source": STORIES}, "vocab_size: .*256"),
        ({"train": 9, "vocab_size": 70_000, "source": STORIES}, "vocab_size: .*65536"),
        ({"train": 9, "vocab_size": 300, "source": {}}, "source"),
        ({"train": 9, "vocab_size": 300, "source": TOKENS}, "source: .*hub.*text.*synthetic"),
    ],
)
def test_malformed_tokenizer_settings_are_named(tmp_path: Path, value: Any, message: str) -> None:
    write_json(tmp_path / "tokenizer.config.json", value)
    with pytest.raises(UserError, match=f"tokenizer.config.json: .*{message}") as caught:
        seal.load_settings(tmp_path / "tokenizer.config.json", TokenizerFile)
    assert "\n" not in str(caught.value)


@given(text=st.text())
@settings(max_examples=50)
def test_end_and_padding_of_a_learned_tokenizer_change_no_text(
    learned: tuple[Tokenizer, Tokenizer], text: str
) -> None:
    """Also where their names stand in a text, or the characters that stand for their bytes."""
    trained, marked = learned
    for each in (text, *AWKWARD, "<|padding|> ÿþ ÿ"):
        ids = trained.encode(each).ids
        assert marked.encode(each).ids == ids
        assert marked.decode(ids) == each
        assert not {marked.token_to_id(name) for name in ROLES} & set(ids)


def test_end_and_padding_take_no_new_rows(learned: tuple[Tokenizer, Tokenizer]) -> None:
    trained, marked = learned
    assert marked.get_vocab_size() == trained.get_vocab_size()
    added = marked.get_added_tokens_decoder().values()
    assert {token.content for token in added if token.special} == set(ROLES)
    assert trained.get_added_tokens_decoder() == {}
