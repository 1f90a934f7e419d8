"""Join the shards of a split, or take a raw token file, into one .npy file to be memory-mapped.

    python -m rope_spectra.memmap_cache --settings train.config.json --shards shards/train \\
        --output train.npy --manifest train.json

The cache is a plain numpy array, uint16 [tokens], exactly as long as its tokens; the manifest next
to it describes and certifies it. Same shards in, same bytes out.
"""

from rope_spectra.artifacts import seal
from rope_spectra.artifacts.kept import Store
from rope_spectra.data.cache import publish
from rope_spectra.data.sources import SplitSettings
from rope_spectra.runtime import cli


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        settings="frozen settings of the split (JSON)",
        shards="folder of shards; for source 'tokens' the raw uint16 file",
        output="token cache to write (.npy)",
        manifest="manifest to write (.json)",
    )
    cli.add_paths(
        parser,
        required=False,
        kept="store of finished tokens: link these from there, or keep them there",
    )
    args = cli.parse(parser)
    settings = seal.load_settings(args.settings, SplitSettings)
    store = Store(args.kept) if args.kept else None
    publish(settings, args.shards, args.output, args.manifest, store)


if __name__ == "__main__":
    cli.run(main)
