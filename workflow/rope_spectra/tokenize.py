"""Encode a split of a dataset into uint16 shards, in document order, nothing between the documents.

    python -m rope_spectra.tokenize --settings train.config.json --tokenizer tokenizer.json \\
        --output shards/train --threads 2

The work is done in `<output>.partial`, which becomes `<output>` when it is complete; an interrupted
run resumes there after the last whole shard. The bytes of all shards in a row do not depend on
interruptions, threads or --shard-tokens. With --kept nothing is encoded if the store has the tokens
of the same text, by content, and the same tokenizer.
"""

import gc
import os
from pathlib import Path

# numpy starts threads for linear algebra, of which there is none here, and these wait busily.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

from rope_spectra.artifacts import seal
from rope_spectra.artifacts.kept import Store
from rope_spectra.data.encoding import THREADS
from rope_spectra.data.sources import SplitSettings, TokenizeOptions
from rope_spectra.data.tokenization import tokenize
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        settings="frozen settings of the split (JSON)",
        tokenizer="tokenizer.json",
        output="folder of shards to write",
    )
    parser.add_argument(
        "--options", type=Path, help="what does not change the tokens (JSON: tokenizer_check)"
    )
    cli.add_paths(
        parser, required=False, kept="store of finished tokens: write a note if these are there"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads that encode (default: 1)")
    parser.add_argument(
        "--shard-tokens",
        type=int,
        default=4_000_000,
        help="tokens after which a shard ends (default: 4000000)",
    )
    args = cli.parse(parser)
    if args.threads < 1 or args.shard_tokens < 1:
        raise UserError("--threads and --shard-tokens should be at least 1")
    os.environ[THREADS] = str(args.threads)
    # Python looks for garbage while it imports; there is none, nor is any made later.
    gc.set_threshold(100_000)

    settings = seal.load_settings(args.settings, SplitSettings)
    options = TokenizeOptions()
    if args.options:
        options = seal.load_settings(args.options, TokenizeOptions)
    store = Store(args.kept) if args.kept else None
    check = options.tokenizer_check
    tokenize(settings, args.tokenizer, args.output, args.shard_tokens, check, store)


if __name__ == "__main__":
    cli.run(main)
