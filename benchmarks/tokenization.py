"""Tokenization speed: transformers one text at a time, `tokenizers` in batches, our whole rule.

    PYTHONPATH=workflow python benchmarks/tokenization.py
    PYTHONPATH=workflow python benchmarks/tokenization.py --tokenizer neox/tokenizer.json \\
        --text "books/*.txt"

The three take turns. Without arguments a tokenizer is trained on the generated corpus, so that it
works from the repository alone. Our side is measured as users run it (`python -m
rope_spectra.tokenize`: start-up, check against the reference tokenizer, hashes, files). Megabytes
are of UTF-8 text. Where other work shares the machine, only the ratio by CPU time means something:
it is that of one core, and two cores reach at most twice as much.
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import common

from rope_spectra.data import synthetic
from rope_spectra.data.base import joined
from rope_spectra.data.text_files import TextSplit, find_files

Figures = dict[str, float]


def one_at_a_time(tokenizer: Path, texts: list[str], size: int) -> Figures:
    from transformers import PreTrainedTokenizerFast

    encoder = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer))
    return speed(size, lambda: [encoder.encode(text, add_special_tokens=False) for text in texts])


def in_batches(tokenizer: Path, texts: list[str], size: int) -> Figures:
    from tokenizers import Tokenizer

    encoder = Tokenizer.from_file(str(tokenizer))
    batches = [texts[start : start + 1000] for start in range(0, len(texts), 1000)]
    return speed(
        size, lambda: [encoder.encode_batch(batch, add_special_tokens=False) for batch in batches]
    )


def speed(size: int, work: Callable[[], object]) -> Figures:
    began = time.perf_counter()
    used = time.process_time()
    work()
    return figures(size, time.perf_counter() - began, time.process_time() - used)


def figures(size: int, wall_s: float, cpu_s: float) -> Figures:
    return {"megabytes_per_s": size / 1e6 / wall_s, "megabytes_per_cpu_s": size / 1e6 / cpu_s}


def our_rule(folder: Path, tokenizer: Path, size: int, threads: int) -> Figures:
    output = folder / "shards"
    shutil.rmtree(output, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "rope_spectra.tokenize",
        "--settings",
        folder / "settings.json",
        "--tokenizer",
        tokenizer,
    ]
    measured = common.measure_command([*command, "--output", output, "--threads", str(threads)])
    return figures(size, measured["wall_s"], measured["cpu_s"])


def prepare(
    folder: Path, patterns: list[str], tokenizer: Path | None, repeat: int
) -> tuple[Path, TextSplit]:
    """The tokenizer and the source of the text: the user's, or ones made from generated stories."""
    if patterns:
        separator = "<|endoftext|>"
        files = [path.read_text(encoding="utf-8") for path in find_files(patterns)]
        text = separator.join(files * repeat)
    else:
        separator = "<|end|>"
        text = separator.join(stories(20_000_000))
    (folder / "text.txt").write_text(text, encoding="utf-8")
    source = TextSplit(
        source="text",
        files=[str(folder / "text.txt")],
        separator=separator,
        text_column="text",
    )
    return tokenizer or train_tokenizer(folder), source


def train_tokenizer(folder: Path) -> Path:
    """A tokenizer of 4096 tokens, learned from generated stories."""
    settings = {
        "train": 500_000,
        "vocab_size": 4096,
        "source": {"source": "synthetic", "seed": 0, "split": "train"},
    }
    (folder / "tokenizer.settings.json").write_text(json.dumps(settings))
    tokenizer = folder / "tokenizer.json"
    files = ["--settings", folder / "tokenizer.settings.json", "--output", tokenizer]
    files += ["--token-bytes", folder / "token_bytes.npy"]
    common.measure_command([sys.executable, "-m", "rope_spectra.tokenizer", *files])
    return tokenizer


def stories(characters: int) -> Iterator[str]:
    """Yields so much of the generated corpus."""
    for text in synthetic.stories(1, "train"):
        yield text
        characters -= len(text)
        if characters <= 0:
            return


def excerpt(source: TextSplit) -> tuple[list[str], int, int]:
    """The first 5 MB of texts, for the slow sides; then the bytes and documents of the whole text.

    No more texts are kept: with 450 MB of them in memory, transformers took twice as long.
    """
    texts: list[str] = []
    size = documents = 0
    for text in joined(source.pieces()):
        if size < 5_000_000:
            texts.append(text)
        size += len(text.encode())
        documents += 1
    return texts, size, documents


def main() -> None:
    parser = common.parser(__doc__, "tokenization", rounds=3)
    parser.add_argument(
        "--tokenizer",
        type=Path,
        help="tokenizer.json (default: one trained on the generated corpus)",
    )
    parser.add_argument(
        "--text",
        nargs="*",
        default=[],
        help="text files or globs (default: 20 MB of the generated corpus)",
    )
    parser.add_argument(
        "--repeat", type=int, default=1, help="join the text so many times (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, default=2, help="threads of our rule (default: %(default)s)"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer, source = prepare(folder, args.text, args.tokenizer, args.repeat)
        (folder / "settings.json").write_text(
            json.dumps({"split": "train", "tokens": None, "source": source.content()})
        )
        sample, size, documents = excerpt(source)
        sample_size = sum(len(text.encode()) for text in sample)
        sides = {
            "transformers, one text at a time": lambda: one_at_a_time(
                tokenizer, sample, sample_size
            ),
            "tokenizers, in batches": lambda: in_batches(tokenizer, sample, sample_size),
            "ours, the whole rule": lambda: our_rule(folder, tokenizer, size, args.threads),
        }
        results = {
            "megabytes": size / 1e6,
            "documents": documents,
            "sides": common.compare(sides, args.rounds),
        }
    print(f"{results['megabytes']:.1f} MB, {results['documents']} documents\n")
    print(
        common.table(
            results["sides"],
            {"megabytes_per_s": "MB/s", "megabytes_per_cpu_s": "MB a second of CPU"},
            {"megabytes_per_s": "x one at a time", "megabytes_per_cpu_s": "x by CPU"},
        )
    )
    print(common.publish("tokenization", vars(args), results, args.output))


if __name__ == "__main__":
    main()
