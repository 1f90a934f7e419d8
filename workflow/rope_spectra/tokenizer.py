"""Fetch, copy or train the tokenizer of a dataset, and count the bytes behind each of its tokens.

    python -m rope_spectra.tokenizer --settings tokenizer.config.json --output tokenizer.json \\
        --token-bytes token_bytes.npy

The settings are {"path", "revision"} (a hub id, or a folder that holds a tokenizer.json), which is
taken byte for byte as it is, or {"train": characters to learn from, "vocab_size", "source"} for a
byte-level BPE learned here.
"""

from rope_spectra.artifacts import seal
from rope_spectra.artifacts.kept import Store
from rope_spectra.data import tokenizers
from rope_spectra.data.sources import LearnedTokenizer, TokenizerFile
from rope_spectra.runtime import cli


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        settings="frozen settings of the tokenizer (JSON)",
        output="tokenizer.json to write",
        token_bytes="token_bytes.npy to write: bytes per token, uint16",
    )
    cli.add_paths(
        parser,
        required=False,
        kept="store of finished tokenizers: adopt the learned one from there, or keep it there",
    )
    args = cli.parse(parser)

    settings = seal.load_settings(args.settings, TokenizerFile).root
    if args.kept and isinstance(settings, LearnedTokenizer):
        tokenizers.learn_once(Store(args.kept), settings, args.output, args.token_bytes)
    else:
        content = tokenizers.make_tokenizer(settings)
        tokenizers.publish(settings, content, args.output, args.token_bytes)


if __name__ == "__main__":
    cli.run(main)
