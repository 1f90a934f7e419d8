"""Text to token ids: gigatoken, as far as it gives the ids of the reference tokenizer, else the `tokenizers` library in batches.

The fast backend has to agree before any of its ids are used, and it is watched while they are:
 1. The first documents, a sample, are encoded by the reference, and these are the ids that are used.
 2. gigatoken must then give the same ids for all of them and for HARD_CASES, or the reference goes on.
 3. After that it is compared on every 200th document, and around every character that the text has not shown before.
A difference in (3) is a `Disagreement`: documents that were not compared may be wrong too, so all have to be encoded again.
"""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

log = logging.getLogger("rope_spectra")

_SAMPLE_CHARACTERS = 1 << 21  # of long documents fewer are enough
_COMPARE_EVERY = 200  # documents; half a percent of the text
_CONTEXT = 100  # characters compared on either side of a new one
_RENEW_CHARACTERS = (
    1 << 28
)  # gigatoken remembers every word it has met; loaded anew it holds none, so memory stays bounded

HARD_CASES = (
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
)


class Disagreement(Exception):
    """The fast backend and the reference differ; the text says where."""


@dataclass(frozen=True)
class Encoded:
    """Ids of some documents in a row: ids uint16 [tokens]; ends int64 [documents], the tokens up to the end of each."""

    ids: np.ndarray
    ends: np.ndarray

    def document(self, index: int) -> np.ndarray:
        """The ids of one document."""
        return self.ids[self.ends[index - 1] if index else 0 : self.ends[index]]

    def pick(self, indices: Sequence[int]) -> "Encoded":
        """Some of the documents."""
        return join([self.document(index) for index in indices])

    def cut(self, tokens: int) -> "Encoded":
        """The documents up to the one that brings the ids to `tokens`; the ids of that one are cut."""
        if tokens > len(self.ids):
            return self
        documents = int(np.searchsorted(self.ends, tokens)) + 1
        return Encoded(self.ids[:tokens], np.minimum(self.ends[:documents], tokens))


def join(documents: Sequence[np.ndarray]) -> Encoded:
    """The ids of documents, each uint16 [tokens], in a row."""
    return Encoded(np.concatenate(documents), np.cumsum([len(ids) for ids in documents]))


Encode = Callable[[Sequence[str]], Encoded]


def reference(tokenizer: "Tokenizer") -> Encode:
    """Encoding with the `tokenizers` library, without special tokens."""

    def encode(texts: Sequence[str]) -> Encoded:
        encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return join([np.array(encoding.ids, "<u2") for encoding in encodings])

    return encode


def gigatoken(tokenizer_file: Path) -> Encode:
    """Encoding with gigatoken, which adds no special tokens. Raises whatever it raises if it cannot read the tokenizer."""
    from gigatoken import Tokenizer

    tokenizer, characters = Tokenizer(tokenizer_file), 0

    def encode(texts: Sequence[str]) -> Encoded:
        nonlocal tokenizer, characters
        if characters > _RENEW_CHARACTERS:
            tokenizer, characters = Tokenizer(tokenizer_file), 0
        characters += sum(map(len, texts))
        rows = tokenizer.encode_batch(
            list(texts)
        ).layout  # all ids in one array, and where each document begins
        return Encoded(rows.content.data.astype("<u2"), rows.offsets.data[1:])

    return encode


def demand_equal(texts: Sequence[str], found: Encoded, expected: Encoded) -> None:
    """Raise Disagreement, which names the first such document, unless all documents have the ids that are expected."""
    if np.array_equal(found.ends, expected.ends) and np.array_equal(found.ids, expected.ids):
        return
    for index, text in enumerate(texts):
        if not np.array_equal(found.document(index), expected.document(index)):
            raise Disagreement(
                f"gigatoken and tokenizers give other ids for the text that begins {text[:60]!r}"
            )


class WatchedEncoder:
    """A fast encoder under the eyes of the reference: proven on a sample first, compared again and again as the text goes on."""

    def __init__(self, fast: Encode, reference: Encode) -> None:
        self._fast, self._reference = fast, reference
        self._known_characters = np.zeros(sys.maxunicode + 1, bool)
        self._documents = 0

    def prove(self, texts: Sequence[str], expected: Encoded) -> None:
        """Raise Disagreement unless these documents get the ids that the reference gave."""
        demand_equal(texts, self._fast(texts), expected)
        self._around_new_characters(texts)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The ids of the next documents. Raises Disagreement where one of those compared is wrong."""
        encoded = self._fast(texts)
        if indices := range(-self._documents % _COMPARE_EVERY, len(texts), _COMPARE_EVERY):
            documents = [texts[index] for index in indices]
            demand_equal(documents, encoded.pick(indices), self._reference(documents))
        if around := self._around_new_characters(texts):
            demand_equal(around, self._fast(around), self._reference(around))
        self._documents += len(texts)
        return encoded

    def _around_new_characters(self, texts: Sequence[str]) -> list[str]:
        text = "".join(text for text in texts if not text.isascii())
        codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
        new = np.flatnonzero(~self._known_characters[codes])
        self._known_characters[codes] = True
        first = new[np.unique(codes[new], return_index=True)[1]]
        return [text[max(0, at - _CONTEXT) : at + _CONTEXT] for at in first.tolist()]


class Encoder:
    """Encodes the batches of a split in file order, with what the module's docstring says; `backend` tells with what and why.

    `sample` is the number of documents in (1); with None the reference encodes everything, for the reason `why`.
    """

    def __init__(
        self,
        tokenizer: "Tokenizer",
        tokenizer_file: Path,
        sample: int | None,
        why: str = "no check is wanted",
    ) -> None:
        self._reference = reference(tokenizer)
        self._tokenizer_file, self._sample_documents = tokenizer_file, sample or 0
        self._use(
            "tokenizers", f"the first {sample} documents, to check gigatoken on" if sample else why
        )

    def encode(self, batches: Iterable[list[str]]) -> Iterator[tuple[list[str], Encoded]]:
        """Yield each batch with its ids. Raises Disagreement where ids that were yielded before may be wrong."""
        encode: Encode | None = None if self._sample_documents else self._reference
        sample: list[tuple[list[str], Encoded]] = []
        for texts in batches:
            if encode is None and self._is_short(sample):
                sample.append((texts, self._reference(texts)))
                yield sample[-1]
            else:
                encode = encode or self._choose(sample)
                yield texts, encode(texts)

    def _is_short(self, sample: list[tuple[list[str], Encoded]]) -> bool:
        lengths = [len(text) for texts, _ in sample for text in texts]
        return len(lengths) < self._sample_documents and sum(lengths) < _SAMPLE_CHARACTERS

    def _choose(self, sample: list[tuple[list[str], Encoded]]) -> Encode:
        try:
            encoder = WatchedEncoder(gigatoken(self._tokenizer_file), self._reference)
            for texts, expected in [(HARD_CASES, self._reference(HARD_CASES)), *sample]:
                encoder.prove(texts, expected)
        except ImportError:
            self._use("tokenizers", "gigatoken is not installed")
        except Disagreement as difference:
            self._use("tokenizers", str(difference))
        except Exception as error:  # the library raises nothing more specific
            self._use(
                "tokenizers", f"gigatoken cannot use this tokenizer: {' '.join(str(error).split())}"
            )
        else:
            documents = sum(len(texts) for texts, _ in sample)
            self._use(
                f"gigatoken {version('gigatoken')}",
                f"it gave the same ids for {documents} documents and the hard cases",
            )
            return encoder.encode
        return self._reference

    def _use(self, name: str, why: str) -> None:
        self.backend = {"name": name, "why": why}
        log.info("encoding with %s (%s)", name, why)
