"""Shows what spectra do at a training length, without training: a line of numbers for each.

    python -m rope_spectra.spectra --show geo_500k hybrid_a0.2_t100k

rope_spectra.rope.families defines the families; docs/adding-a-spectrum.md says how to add one.
"""

from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError

from rope_spectra.config import text
from rope_spectra.config.load import plain
from rope_spectra.config.text import SafeLoader
from rope_spectra.rope import diagnostics
from rope_spectra.rope.diagnostics import Diagnosis
from rope_spectra.rope.families import NamedSpectrum, Spectrum
from rope_spectra.runtime import cli, messages
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Name, Settings


class _Library(Settings):
    """The one section of config.yaml that is of interest here."""

    spectra: dict[Name, Spectrum]


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--show", nargs="+", required=True, metavar="NAME", help="spectra of the config to diagnose"
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=Path("config.yaml"),
        help="file that defines them (default: %(default)s)",
    )
    parser.add_argument(
        "--head-dim", type=int, default=64, help="dimensions of a head (default: %(default)s)"
    )
    parser.add_argument(
        "--train-length",
        type=int,
        default=2048,
        help="tokens of a training row (default: %(default)s)",
    )
    parser.add_argument(
        "--longest",
        type=int,
        default=16384,
        help="longest evaluation length in tokens (default: %(default)s)",
    )
    args = cli.parse(parser)

    if args.head_dim < 2 or args.head_dim % 2:
        raise UserError(
            f"--head-dim: {args.head_dim} does not make whole pairs; give an even number"
        )
    for option, length in (("--train-length", args.train_length), ("--longest", args.longest)):
        if length < 1:
            raise UserError(f"{option}: {length} is no length; give at least 1 token")
    library = _read_library(args.config)
    diagnoses: dict[str, Diagnosis] = {}
    for name in args.show:
        omega = _frequencies(library, name, args.head_dim, args.train_length)
        diagnoses[name] = diagnostics.diagnose(omega, args.train_length, args.longest)
    print(diagnostics.as_text(diagnoses, args.train_length, args.longest))


def _read_library(config: Path) -> dict[str, Spectrum]:
    """The spectra of a config file by name. The rest of the file may be wrong: it is not read."""
    text.check([config])
    content = plain(yaml.load(config.read_bytes(), Loader=SafeLoader))
    section = content.get("spectra") if isinstance(content, dict) else None
    if not isinstance(section, dict):
        raise UserError(f"{config}: has no `spectra`")
    try:
        return _Library(spectra=section).spectra
    except ValidationError as error:
        raise UserError(messages.in_words(_Library, error)[0]) from None


def _frequencies(
    library: dict[str, Spectrum], name: str, head_dim: int, train_length: int
) -> NDArray[np.float32]:
    """The frequencies [head_dim / 2] of a spectrum, as a model of these sizes would train them."""
    if name not in library:
        raise UserError(f"--show: {messages.unknown('spectrum', name, library)}")
    shape = library[name].completed(head_dim, train_length)
    try:
        return NamedSpectrum(name=name, shape=shape).inv_freq(head_dim)
    except ValueError as error:  # a list of numbers for another head_dim
        raise UserError(f"spectra.{name}: {error}") from None


if __name__ == "__main__":
    cli.run(main)
