"""Choose the words that the tasks of the retrieval probe are made of (rule probe_words).

    python -m rope_spectra.probe_words \\
        --tokenizer results/data/toy-stories/tokenizer/tokenizer.json \\
        --tokens results/data/toy-stories/train.npy \\
        --manifest results/data/toy-stories/train.json \\
        --output results/data/toy-stories/probe.json

They are whole words of the text at hand, of one token each: the most frequent ones of four letters
or more.
"""

from rope_spectra.artifacts import seal
from rope_spectra.data.cache import check_tokenizer, open_tokens, read_manifest
from rope_spectra.data.episode_words import choose
from rope_spectra.data.tokenizers import load_tokenizer
from rope_spectra.runtime import cli


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        tokenizer="tokenizer.json",
        tokens="token cache of the training split",
        manifest="manifest of that cache",
        output="record to write (JSON)",
    )
    args = cli.parse(parser)

    manifest = read_manifest(args.manifest)
    tokenizer = load_tokenizer(args.tokenizer)
    check_tokenizer(args.manifest, manifest, args.tokenizer)
    words, texts = choose(tokenizer, open_tokens(args.tokens, manifest), manifest.vocab_size)
    seal.write(args.output, {**words.content(), "texts": texts})
    cli.log.info("The probe is made of %d words: %s", len(texts), ", ".join(texts))


if __name__ == "__main__":
    cli.run(main)
