"""Text to token ids: gigatoken where it gives the ids of the `tokenizers` library, else the latter.

gigatoken is much faster. It has to agree with the reference before any of its ids are used, and it
is compared again while they are:

1. The reference encodes the first documents, the sample; these ids are used.
2. gigatoken must give the same ids for the sample and for HARD_CASES, else it stays unused.
3. From then on it is compared on every 200th document, and around each character that the text has
   not had before.

A difference in (3) raises `Disagreement`: documents that were not compared may be wrong too, so
that all of them have to be encoded again.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from itertools import filterfalse
from pathlib import Path
from typing import TypeAlias

import numpy as np
from tokenizers import Tokenizer

from rope_spectra.data.base import Pieces, groups
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Record

log = logging.getLogger("rope_spectra")

_SAMPLE_CHARACTERS = 1 << 21  # of long documents fewer are enough
_COMPARE_EVERY = 200  # documents: half a percent of the text
_CONTEXT = 100  # characters compared on either side of a new one
_RELOAD_TOKENS = 1 << 26
_REFERENCE_CHARACTERS = 1 << 20  # at a time: the reference needs some 150 bytes for each

# Both libraries take the number of their threads from this variable of the environment.
THREADS = "RAYON_NUM_THREADS"

HARD_CASES = [
    "",
    " ",
    "\n",
    "\r\n\r\n",
    "\t \u00a0\u2003\u3000 \n",
    "a" * 20_000,
    " " * 3_000,
    "\n" * 500,
    "it's we'll I'D THEY'VE don’t",
    "0123456789 3.14159 1,000,000 ½ ٣٤ Ⅷ",
    "<|endoftext|>",
    "before<|endoftext|>after <|padding|> <|endoftext",
    "<s></s> [CLS] <unk> <|im_start|>",
    "naïve café Übergröße ŁÓDŹ ¿qué?",
    "e\u0301 o\u0308 A\u030a \u212b \ufb01 \u1e9b\u0323 q\u0307\u0323",
    "Привет, мир! Γειά σου שלום مرحبا नमस्ते สวัสดี",
    "漢字とかな 한국어 中文，没有空格。",
    "😀 👩‍👩‍👧‍👦 👋🏽 🇩🇪 ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "zero\u200bwidth\u200djoin\u2060er\ufeff \u202eright to left\u202c \u2028\u2029",
    "\x00\x01\x07\x08\x0b\x0c\x1b\x1f\x7f\x85 control",
    "\ufffd \ue000 \U0010ffff \ud7ff",
    "def f(x):\n    return {'a': [x ** 2]}\t# comment\n\n\n",
]


class Disagreement(Exception):
    """The two backends give other ids; the text says for which document."""


class Backend(Record):
    """The library that encodes, and the reason."""

    name: str
    why: str


@dataclass(frozen=True)
class Encoded:
    """Ids of consecutive documents.

    ids: uint16 [tokens]. ends: int64 [documents], the tokens up to the end of each document.
    """

    ids: np.ndarray
    ends: np.ndarray

    def document(self, index: int) -> np.ndarray:
        """The ids of one document, uint16 [tokens of it]."""
        start = self.ends[index - 1] if index else 0
        return self.ids[start : self.ends[index]]

    def first(self, tokens: int) -> "Encoded":
        """The first `tokens` ids (fewer if there are no more) and the documents they come from."""
        if tokens > len(self.ids):
            return self
        documents = int(np.searchsorted(self.ends, tokens)) + 1
        return Encoded(self.ids[:tokens], np.minimum(self.ends[:documents], tokens))


Encode: TypeAlias = Callable[[list[str]], Encoded]


def concatenate(documents: Sequence[np.ndarray]) -> Encoded:
    """Documents one after the other, each given as its ids, uint16 [tokens]."""
    ids = np.concatenate([np.empty(0, "<u2"), *documents])
    return Encoded(ids, np.cumsum([len(part) for part in documents], dtype=np.int64))


def reference(tokenizer: Tokenizer) -> Encode:
    """Encoding with the `tokenizers` library, without special tokens."""

    def encode(texts: list[str]) -> Encoded:
        try:
            documents: list[np.ndarray] = []
            for group in groups(texts, _REFERENCE_CHARACTERS):
                encodings = tokenizer.encode_batch_fast(group, add_special_tokens=False)
                documents += [np.array(encoding.ids, "<u2") for encoding in encodings]
        except (KeyboardInterrupt, SystemExit):
            raise
        # A panic in the library, as of a hopeless regular expression, is no Exception.
        except BaseException as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"tokenizer: cannot encode the text ({reason}); choose another tokenizer"
            ) from None
        return concatenate(documents)

    return encode


class Gigatoken:
    """Encoding with gigatoken, which adds no special tokens.

    The constructor raises whatever gigatoken raises if it cannot read the tokenizer.
    """

    def __init__(self, tokenizer_file: Path) -> None:
        self._file = tokenizer_file
        self._load()

    def _load(self) -> None:
        from gigatoken import Tokenizer

        self._tokenizer = Tokenizer(self._file)
        self._tokens = 0
        # Of two threads the other one is busy with reading, comparing and writing.
        self._is_parallel = int(os.environ.get(THREADS, 1)) > 2

    def __call__(self, texts: list[str]) -> Encoded:
        # It remembers every word that it has met; loaded anew it has none, which bounds the memory.
        if self._tokens > _RELOAD_TOKENS:
            self._load()
        # All ids in one array, and where each document begins.
        layout = self._tokenizer.encode_batch(texts, parallel=self._is_parallel).layout
        ids = layout.content.data.astype("<u2")
        self._tokens += len(ids)
        return Encoded(ids, layout.offsets.data[1:])


def check_equal(texts: list[str], found: Encoded, expected: Encoded) -> None:
    """Raises Disagreement, naming the first such text, unless all have the ids expected."""
    if np.array_equal(found.ids, expected.ids) and np.array_equal(found.ends, expected.ends):
        return
    for index, text in enumerate(texts):
        if not np.array_equal(found.document(index), expected.document(index)):
            raise Disagreement(
                f"gigatoken and tokenizers give other ids for the text that begins {text[:60]!r}"
            )


class CheckedEncoder:
    """A fast encoder that is compared with the reference, at first and now and then after."""

    def __init__(self, fast: Encode, reference: Encode) -> None:
        self._fast = fast
        self._reference = reference
        self._known_characters = np.zeros(sys.maxunicode + 1, bool)
        self._documents = 0
        self._thread = ThreadPoolExecutor(max_workers=1)

    def check_sample(self, texts: list[str], expected: Encoded) -> None:
        """Raises Disagreement unless these documents get the ids that the reference gave."""
        check_equal(texts, self._fast(texts), expected)
        self._around_new_characters(texts)

    def encode(self, texts: list[str]) -> Encoded:
        """The ids of the next documents; Disagreement where one of those compared is wrong."""
        # Every so many documents of the whole text, wherever the batches begin.
        compared = range(-self._documents % _COMPARE_EVERY, len(texts), _COMPARE_EVERY)
        documents = [texts[index] for index in compared]
        # The two encode at the same time.
        expected = self._thread.submit(self._reference, documents)
        encoded = self._fast(texts)
        found = concatenate([encoded.document(index) for index in compared])
        check_equal(documents, found, expected.result())
        excerpts = self._around_new_characters(texts)
        if excerpts:
            check_equal(excerpts, self._fast(excerpts), self._reference(excerpts))
        self._documents += len(texts)
        return encoded

    def _around_new_characters(self, texts: list[str]) -> list[str]:
        """An excerpt around each character that no text has had before, which are known then."""
        # ASCII is in HARD_CASES as far as it is special, and most text is nothing else.
        text = "".join(filterfalse(str.isascii, texts))
        codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
        new = np.flatnonzero(~self._known_characters[codes])
        self._known_characters[codes] = True
        _, first = np.unique(codes[new], return_index=True)
        return [text[max(0, at - _CONTEXT) : at + _CONTEXT] for at in new[first].tolist()]


class Encoder:
    """Encodes the batches of a split in file order, as the docstring of the module describes.

    `backend` names the library in use. `sample` is the number of documents in (1); with None the
    reference encodes everything, for the reason `why`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        tokenizer_file: Path,
        sample: int | None,
        why: str = "no check is wanted",
    ) -> None:
        self._reference = reference(tokenizer)
        self._tokenizer_file = tokenizer_file
        self._sample_documents = sample or 0
        if sample:
            why = f"the first {sample} documents, to check gigatoken on"
        self._use("tokenizers", why)

    def encode(self, batches: Iterable[Pieces]) -> Iterator[tuple[Pieces, Encoded]]:
        """Yields each batch with its ids; each piece is encoded as a document of its own.

        Raises Disagreement where ids that were yielded before may be wrong.
        """
        encode = None if self._sample_documents else self._reference
        sample: list[tuple[list[str], Encoded]] = []
        with ThreadPoolExecutor(max_workers=1) as thread:
            for pieces in batches:
                texts = pieces.texts
                done = 0
                if encode is None:
                    done = self._end_of_sample(sample, texts)
                    # With text behind the sample, gigatoken loads while that is encoded.
                    loading = thread.submit(self._load) if done < len(texts) else None
                    if done:
                        sample.append((texts[:done], self._reference(texts[:done])))
                        yield pieces.first(done), sample[-1][1]
                    if loading:
                        encode = self._choose(loading, sample)
                if encode:
                    rest = pieces.behind(done) if done else pieces
                    yield rest, encode(rest.texts)

    def _end_of_sample(self, sample: list[tuple[list[str], Encoded]], texts: list[str]) -> int:
        """The number of the next texts that are still in the sample."""
        lengths = [len(text) for group, _ in sample for text in group]
        documents = self._sample_documents - len(lengths)
        characters = _SAMPLE_CHARACTERS - sum(lengths)
        count = 0
        while count < min(documents, len(texts)) and characters > 0:
            characters -= len(texts[count])
            count += 1
        return count

    def _load(self) -> CheckedEncoder:
        """gigatoken, which agrees on the hard cases; else Disagreement, or what it raises."""
        encoder = CheckedEncoder(Gigatoken(self._tokenizer_file), self._reference)
        encoder.check_sample(HARD_CASES, self._reference(HARD_CASES))
        return encoder

    def _choose(
        self, loading: Future[CheckedEncoder], sample: list[tuple[list[str], Encoded]]
    ) -> Encode:
        """gigatoken, if it agrees on the hard cases and the sample, else the reference."""
        try:
            encoder = loading.result()
            for texts, expected in sample:
                encoder.check_sample(texts, expected)
        except ImportError:
            self._use("tokenizers", "gigatoken is not installed")
        except Disagreement as difference:
            self._use("tokenizers", str(difference))
        except Exception as error:  # the library raises nothing more specific
            reason = " ".join(str(error).split())
            self._use("tokenizers", f"gigatoken cannot use this tokenizer: {reason}")
        else:
            documents = sum(len(texts) for texts, _ in sample)
            self._use(
                f"gigatoken {version('gigatoken')}",
                f"it gave the same ids for {documents} documents and the hard cases",
            )
            return encoder.encode
        return self._reference

    def _use(self, name: str, why: str) -> None:
        self.backend = Backend(name=name, why=why)
        log.info("encoding with %s (%s)", name, why)
