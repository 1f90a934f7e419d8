"""Put the sentence of the retrieval probe into tokens, with words to name (rule sentence).

    python -m rope_spectra.sentence --settings results/data/toy-stories/sentence.config.json \\
        --tokenizer results/data/toy-stories/tokenizer/tokenizer.json \\
        --tokens results/data/toy-stories/train.npy \\
        --manifest results/data/toy-stories/train.json \\
        --output results/data/toy-stories/sentence.json

The words are those of the text at hand that are one token within the sentence: the most frequent
ones of four letters or more.
"""

from rope_spectra.artifacts import seal
from rope_spectra.config.frozen import SentenceSettings
from rope_spectra.data.cache import check_tokenizer, open_tokens, read_manifest
from rope_spectra.data.sentence_words import count_tokens, in_tokens
from rope_spectra.data.tokenizers import load_tokenizer
from rope_spectra.runtime import cli


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        settings='frozen settings: {"sentence": "Key: {value}."}',
        tokenizer="tokenizer.json",
        tokens="token cache of the training split",
        manifest="manifest of that cache",
        output="record to write (JSON)",
    )
    args = cli.parse(parser)

    settings = seal.load_settings(args.settings, SentenceSettings)
    manifest = read_manifest(args.manifest)
    tokenizer = load_tokenizer(args.tokenizer)
    check_tokenizer(args.manifest, manifest, args.tokenizer)
    counts = count_tokens(open_tokens(args.tokens, manifest), manifest.vocab_size)
    sentence, words = in_tokens(settings.sentence, tokenizer, counts)
    content = {"settings": settings.content(), **sentence.model_dump(), "words": words}
    seal.write(args.output, content)
    cli.log.info("%s names one of %d words: %s", settings.sentence, len(words), ", ".join(words))


if __name__ == "__main__":
    cli.run(main)
