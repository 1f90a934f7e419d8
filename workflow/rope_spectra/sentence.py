"""Put the sentence of the retrieval probe into tokens, and choose the values that it can name (rule sentence).

    python -m rope_spectra.sentence --settings results/data/toy-stories/sentence.config.json \\
        --tokenizer results/data/toy-stories/tokenizer/tokenizer.json --tokens results/data/toy-stories/train.npy \\
        --manifest results/data/toy-stories/train.json --output results/data/toy-stories/sentence.json

The values are words of the text at hand that are one token within the sentence: the most frequent ones of four letters or more.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rope_spectra.artifacts import files, seal
from rope_spectra.data.base import PLACE
from rope_spectra.data.cache import open_tokens, read_manifest
from rope_spectra.data.corpus import check_keys
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError
from rope_spectra.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VALUES = 32
FEWEST = 10
_LETTERS = 4
_BLOCK = 1 << 22

Around = tuple[tuple[int, ...], tuple[int, ...]]


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--settings",
        type=Path,
        required=True,
        help='frozen settings: {"sentence": "Key: {value}."}',
    )
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json")
    parser.add_argument(
        "--tokens", type=Path, required=True, help="token cache of the training split"
    )
    parser.add_argument("--manifest", type=Path, required=True, help="manifest of that cache")
    parser.add_argument("--output", type=Path, required=True, help="record to write (JSON)")
    args = cli.parse(parser)

    settings, manifest = seal.read_if_sealed(args.settings), read_manifest(args.manifest)
    check_keys(settings, str(args.settings), {"sentence": (str,)})
    tokenizer = load_tokenizer(args.tokenizer)
    if manifest.tokenizer_sha256 != files.sha256(args.tokenizer):
        raise UserError(
            f"{args.manifest}: its tokens were made with another tokenizer than {args.tokenizer}; make them again"
        )
    counts = count(open_tokens(args.tokens, manifest), manifest.vocab_size)
    content = {"settings": settings, **in_tokens(settings["sentence"], tokenizer, counts)}
    seal.write(args.output, content)
    cli.log.info(
        "%s names one of %d words: %s",
        settings["sentence"],
        len(content["words"]),
        ", ".join(content["words"]),
    )


def count(tokens: np.ndarray, vocab_size: int) -> np.ndarray:
    """How often each token is there, int64 [vocab_size]; block by block, for counting makes each token eight bytes long."""
    blocks = (tokens[start : start + _BLOCK] for start in range(0, len(tokens), _BLOCK))
    return sum(
        (np.bincount(block, minlength=vocab_size) for block in blocks),
        np.zeros(vocab_size, np.int64),
    )


def in_tokens(sentence: str, tokenizer: "Tokenizer", counts: np.ndarray) -> dict[str, Any]:
    """The ids of probe.Sentence, {"before", "after", "values"}, and the values as "words", the most frequent first.

    All words have the same tokens around them. Raises UserError if there are fewer than FEWEST.
    """
    found: defaultdict[Around, dict[int, str]] = defaultdict(dict)
    for index, word in _frequent_words(tokenizer, counts):
        around = _around(
            index, tokenizer.encode(sentence.replace(PLACE, word), add_special_tokens=False).ids
        )
        if around:
            found[around][index] = word
            if len(found[around]) == VALUES:
                break
    (before, after), values = max(
        found.items(), key=lambda item: len(item[1]), default=(((), ()), {})
    )
    if len(values) < FEWEST:
        raise UserError(
            f"retrieval_sentence: {sentence!r} takes {len(values)} frequent words of the text as one token, {FEWEST} are needed; "
            "begin it with a word, put a space before {value}, or choose a tokenizer with more whole words"
        )
    return {
        "before": before,
        "after": after,
        "values": list(values),
        "words": list(values.values()),
    }


def _frequent_words(tokenizer: "Tokenizer", counts: np.ndarray) -> Iterator[tuple[int, str]]:
    """The tokens that are a space and a word, the most frequent first, with the word."""
    for index in np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)].tolist():
        text = tokenizer.decode([index], skip_special_tokens=False)
        if text.startswith(" ") and text[1:].isalpha() and len(text) > _LETTERS:
            yield index, text[1:]


def _around(value: int, ids: list[int]) -> Around | None:
    """What stands before and after the value in a sentence; None unless it is there once, with something before it."""
    if ids.count(value) != 1 or ids[0] == value:
        return None
    place = ids.index(value)
    return tuple(ids[:place]), tuple(ids[place + 1 :])


if __name__ == "__main__":
    cli.run(main)
