"""Write the candidates of a round of a search, or of its confirmation (rule propose).

    python -m rope_spectra.propose --settings results/search_small/round1/search.json \\
        --output results/search_small/round1/candidates.json

The best of the round before go on, in order of their scores; the sampler proposes the new ones. It
is rebuilt from the candidates and scores of all earlier rounds, so nothing else is kept on disk.
"""

from rope_spectra.artifacts import seal
from rope_spectra.config.candidates import SearchStep
from rope_spectra.runtime import cli
from rope_spectra.search.rounds import next_candidates, read_rounds


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_paths(
        parser,
        settings="search.json: what the candidates follow from besides scores",
        output="candidates.json, to write",
    )
    args = cli.parse(parser)

    step = seal.load_settings(args.settings, SearchStep)
    found = next_candidates(step, read_rounds(step))
    seal.freeze(args.output, found.content())


if __name__ == "__main__":
    cli.run(main)
