"""The spectra: the rotary frequencies omega_0..omega_{K-1} of a head as they are trained and exported (K = head_dim / 2).

RoPE turns pair k of a head by the angle omega_k * distance; only the vector omega is designed here. How a family defines it is
in spectra_families, and so is how to add one.

    python -m rope_spectra.spectra --show geo_500k hybrid_a0.2_t100k    # what a spectrum does, without training
"""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rope_spectra.config import spectra
from rope_spectra.rope import diagnostics
from rope_spectra.rope.families import omega
from rope_spectra.runtime import cli
from rope_spectra.runtime.errors import UserError


def snap(frequencies: NDArray[np.floating]) -> NDArray[np.float32]:
    """The nearest fp32 spectrum that survives export as factors 1/omega (evaluation.md section 7).

    fp32 reciprocals are not onto: f = fp32(1/omega), omega = fp32(1/f) are two roundings,
    and doing it again changes nothing. A pair that does not rotate (0) stays 0.
    """
    rotating = frequencies > 0
    factors = (1.0 / np.where(rotating, frequencies, 1.0)).astype(np.float32)
    return np.where(rotating, np.float32(1.0) / factors, np.float32(0.0)).astype(np.float32)


def inv_freq(definition: dict[str, Any], head_dim: int) -> NDArray[np.float32]:
    """The spectrum of a complete definition, fp32 [head_dim / 2], radians per token, as trained and exported."""
    return snap(omega(definition, head_dim // 2))


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
    sizes = args.head_dim, args.train_length
    diagnoses = {
        name: diagnostics.diagnose(_look_up(library, name, *sizes), sizes[1], args.longest)
        for name in args.show
    }
    print(diagnostics.as_text(diagnoses, args.train_length, args.longest))


def _read_library(config: Path) -> dict[str, Any]:
    """The spectra of a config file by name, with their defaults."""
    import yaml

    from rope_spectra.config import schema

    try:
        content = yaml.safe_load(config.read_bytes())
    except yaml.YAMLError as error:
        raise UserError(f"{config}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict) or not isinstance(content.get("spectra"), dict):
        raise UserError(f"{config}: has no `spectra`")
    library = {str(name): definition for name, definition in content["spectra"].items()}
    for mistake in schema.complete({"spectra": library}):
        if mistake.startswith("spectra"):  # the rest of the file is not our concern
            raise UserError(mistake)
    return library


def _look_up(
    library: dict[str, Any], name: str, head_dim: int, train_length: int
) -> NDArray[np.float32]:
    if name not in library:
        near = get_close_matches(name, library, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(library)}"
        raise UserError(f"--show: unknown spectrum '{name}'; {hint}")
    try:
        return inv_freq(spectra.completed(library[name], head_dim, train_length), head_dim)
    except ValueError as error:
        raise UserError(f"spectra.{name}: {error}") from None


if __name__ == "__main__":
    cli.run(main)
