"""Fetch, copy or train the tokenizer of a dataset, and count the bytes behind each of its tokens.

    python -m rope_spectra.tokenizer --settings tokenizer.config.json --output tokenizer.json \\
        --token-bytes token_bytes.npy

The settings are {"path", "revision"} (a hub id, or a folder that holds a tokenizer.json), which is
taken byte for byte as it is, or {"train": characters to learn from, "vocab_size", "source"} for a
byte-level BPE learned here.
"""

import numpy as np

from rope_spectra.artifacts import seal
from rope_spectra.data import tokenizers
from rope_spectra.data.base import ReadyTokenizer
from rope_spectra.data.sources import TokenizerFile
from rope_spectra.runtime import cli


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        settings="frozen settings of the tokenizer (JSON)",
        output="tokenizer.json to write",
        token_bytes="token_bytes.npy to write: bytes per token, uint16",
    )
    args = cli.parse(parser)

    settings = seal.load_settings(args.settings, TokenizerFile).root
    content = tokenizers.make_tokenizer(settings)
    where = settings.path if isinstance(settings, ReadyTokenizer) else str(args.output)
    tokenizer = tokenizers.parse_tokenizer(content, where)

    record = tokenizers.record_path(args.output)
    facts = {"settings": settings.content()}
    with seal.publishing(record, facts, args.output, args.token_bytes) as (json_file, bytes_file):
        json_file.write_bytes(content)
        # An open file, because np.save would put .npy behind the name of a temporary one.
        with bytes_file.open("wb") as file:
            np.save(file, tokenizers.count_token_bytes(tokenizer))
    cli.log.info("%s: %d tokens", args.output, tokenizers.vocab_size(tokenizer))


if __name__ == "__main__":
    cli.run(main)
