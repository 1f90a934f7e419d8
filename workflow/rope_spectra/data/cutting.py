"""Long documents in pieces that have the tokens of the whole, so that memory does not grow.

A tokenizer needs some 150 bytes for each character that it encodes at a time. It splits text into
words before it looks for tokens, and no token crosses the border of two words: where a word begins,
a document can be cut. The places that are tried are between two plain words. Each is compared on
the text around it first. A tokenizer that knows no words never agrees, and its documents stay
whole.
"""

import logging
import re
from collections.abc import Iterable, Iterator

from tokenizers import Tokenizer

from rope_spectra.data.base import Pieces, piece

log = logging.getLogger("rope_spectra")

_PIECE = 1 << 17  # characters: a piece ends at the first good place after these
_CONTEXT = 200  # characters compared on either side of a cut
_TRIES = 50  # places without a good one among them, after which no more are tried
# Before the space of a next word, before a full stop of Chinese or Japanese, after a line.
_PLACES = re.compile(r"\w(?= \w|[。、，！？；：])|\S\n(?=\w)")


class Cutter:
    """Cuts the long documents of a split, in their order, for one tokenizer.

    Where it cuts depends on the text alone, not on the pieces in which that comes.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._is_proved = False
        self._failures = 0  # since the last good place

    def cut(self, pieces: Iterable[Pieces]) -> Iterator[Pieces]:
        """Yields the same documents in other pieces."""
        text = ""
        tried = _PIECE  # up to here no place is good
        parts: list[str] = []
        for some in pieces:
            if not text and not parts and _are_short(some):
                yield some
                continue
            for part, is_last in some:
                parts.append(part)
                if not is_last and self._has_given_up():
                    continue
                text = "".join([text, *parts])
                parts = []
                begin = 0
                while len(text) - _CONTEXT > tried and not self._has_given_up():
                    at, tried = self._place(text, tried)
                    if at:
                        yield piece(text[begin:at], is_last=False)
                        begin = at
                        tried = begin + _PIECE
                # Once for each block, not for each piece: a long document may come as one.
                text = text[begin:]
                tried -= begin
                if is_last:
                    yield piece(text, is_last=True)
                    text = ""
                    tried = _PIECE

    def _has_given_up(self) -> bool:
        return self._failures >= _TRIES and not self._is_proved

    def _place(self, text: str, start: int) -> tuple[int, int]:
        """The first good place from `start` on, 0 if there is none; and where to go on."""
        end = len(text) - _CONTEXT
        # A match is up to two characters before the place, and looks at two behind it.
        for match in _PLACES.finditer(text, max(0, start - 2), end + 2):
            at = match.end()
            if not start <= at < end:
                continue
            if self._is_good(text[max(0, at - _CONTEXT) : at], text[at : at + _CONTEXT]):
                self._is_proved = True
                self._failures = 0
                return at, at
            # Neighbors are often alike: the next one that is tried is farther away each time.
            start = at + (_CONTEXT << min(self._failures, 8))
            self._failures += 1
            if self._has_given_up():
                log.info("this tokenizer joins words: long documents are encoded whole")
                break
        return 0, max(start, end)

    def _is_good(self, before: str, after: str) -> bool:
        """True if a word begins at this place, and no token is another with the text cut there."""
        normalizer = self._tokenizer.normalizer
        whole = before + after
        if normalizer:
            parts = (normalizer.normalize_str(before), normalizer.normalize_str(after))
            whole = normalizer.normalize_str(whole)
            if whole != "".join(parts):
                return False
            before = parts[0]
        splitter = self._tokenizer.pre_tokenizer
        if splitter is None:
            return False
        words = splitter.pre_tokenize_str(whole)
        if len(before) not in {begin for _, (begin, _) in words}:
            return False
        return self._ids(whole) == self._ids(before) + self._ids(whole[len(before) :])

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids


def _are_short(pieces: Pieces) -> bool:
    """True of whole documents that need no cut."""
    return all(pieces.are_last) and max(map(len, pieces.texts), default=0) <= _PIECE
