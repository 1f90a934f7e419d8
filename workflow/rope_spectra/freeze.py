"""Write the frozen settings of a job, whole or not at all (rules run_config, data_config ...).

    python -m rope_spectra.freeze --text '{"log_every": 10}' --output /tmp/options.json

A study has one such file per run, so this imports nothing that takes time.
"""

import argparse
import sys
from pathlib import Path

from rope_spectra.artifacts import files


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--text", required=True, help="the settings; a line end follows them")
    parser.add_argument("--output", required=True, type=Path, help="the file to write")
    args = parser.parse_args()
    try:
        files.write_text(args.output, f"{args.text}\n")
    except OSError as error:
        sys.exit(f"error: {error.filename}: {error.strerror}")


if __name__ == "__main__":
    main()
