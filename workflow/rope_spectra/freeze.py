"""Write the frozen settings of a job, whole or not at all (rules run_config, data_config ...).

    python -m rope_spectra.freeze --text '{"log_every": 10}' --output /tmp/options.json

A study has one such file per run, so this imports nothing that takes time.
"""

import argparse
import json
import sys
from pathlib import Path

from rope_spectra.artifacts import files
from rope_spectra.runtime.errors import or_exit


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--text", required=True, help="the settings; a line end follows them")
    parser.add_argument("--output", required=True, type=Path, help="the file to write")
    parser.add_argument(
        "--candidates",
        type=Path,
        help="candidates.json, whose spectra take the places in the settings; it is sealed then",
    )
    args = parser.parse_args()
    try:
        text = or_exit(_filled, args.text, args.candidates) if args.candidates else args.text
        files.write_text(args.output, f"{text}\n")
    except OSError as error:
        sys.exit(f"error: {error.filename}: {error.strerror}")


def _filled(text: str, candidates: Path) -> str:
    """The settings with the spectra that a search has proposed."""
    from rope_spectra.artifacts import seal
    from rope_spectra.config.candidates import Candidates

    return seal.dumps(seal.load_settings(candidates, Candidates).fill(json.loads(text)))


if __name__ == "__main__":
    main()
