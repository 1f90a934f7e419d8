"""Shows what spectra do in an experiment, without training: a line of numbers for each.

    python -m rope_spectra.spectra                                  # those of `run` in config.yaml
    python -m rope_spectra.spectra --config run=350m_final
    python -m rope_spectra.spectra --show geo_500k hybrid_a0.2_t100k --configfile mine.yaml
    python -m rope_spectra.spectra --figure wavelengths.pdf         # the wavelength of each pair

The head size and the lengths are those of the experiments of `run`; --head-dim, --train-length and
--longest try others. The text of the experiments need not be there.

rope_spectra.rope.families defines the families; docs/adding-a-spectrum.md says how to add one.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rope_spectra.config import appearance, files
from rope_spectra.config.library import completed
from rope_spectra.config.sections import Config
from rope_spectra.rope import diagnostics
from rope_spectra.runtime import cli, messages
from rope_spectra.runtime.errors import UserError


class Sizes(NamedTuple):
    """The sizes that the numbers of a spectrum depend on: of a head, and lengths in tokens."""

    head_dim: int
    train_length: int
    longest: int


def main() -> None:
    parser = cli.parser(__doc__)
    files.add_arguments(parser)
    parser.add_argument(
        "--show",
        nargs="+",
        default=[],
        metavar="NAME",
        help="spectra of the configuration (default: those of the experiments)",
    )
    other = "(default: that of the experiment)"
    parser.add_argument("--head-dim", type=int, help=f"dimensions of a head {other}")
    parser.add_argument("--train-length", type=int, help=f"tokens of a training row {other}")
    parser.add_argument("--longest", type=int, help=f"longest evaluation length {other}")
    parser.add_argument(
        "--figure", type=Path, help="draw their wavelengths too, as .svg, .pdf or .png"
    )
    args = cli.parse(parser)

    _check(args)
    config = files.load(args, reads_text=False)
    shown = []
    by_sizes = _experiments_by_sizes(config, args)
    if args.figure and len(by_sizes) > 1:
        raise UserError("--figure: these experiments differ in sizes; name one with --config run=")
    for sizes, experiments in by_sizes.items():
        own = [name for each in experiments for name in config.experiments[each].spectra]
        names = args.show or list(dict.fromkeys(own))
        omegas = {name: _frequencies(config, name, sizes) for name in names}
        shown.append(_title(experiments, sizes) + "\n" + _table(omegas, sizes))
        if args.figure:
            _draw(config, omegas, sizes, args.figure)
    print("\n\n".join(shown))


def _check(args: argparse.Namespace) -> None:
    """Raises UserError for a size that no head and no text can have."""
    head_dim = args.head_dim
    if head_dim is not None and (head_dim < 2 or head_dim % 2):
        raise UserError(f"--head-dim: {head_dim} does not make whole pairs; give an even number")
    for option, length in (("--train-length", args.train_length), ("--longest", args.longest)):
        if length is not None and length < 1:
            raise UserError(f"{option}: {length} is no length; give at least 1 token")


def _experiments_by_sizes(config: Config, args: argparse.Namespace) -> dict[Sizes, list[str]]:
    """The experiments of `run`; those of equal sizes share a table."""
    found: dict[Sizes, list[str]] = {}
    for name in config.tabulated:
        sizes = Sizes(
            args.head_dim or config.model_of(name).head_dim,
            args.train_length or config.training_of(name).seq_len,
            args.longest or max(config.evaluation_of(name).lengths),
        )
        found.setdefault(sizes, []).append(name)
    return found


def _title(experiments: list[str], sizes: Sizes) -> str:
    return (
        f"{', '.join(experiments)}: heads of {sizes.head_dim}, trained at {sizes.train_length}"
        f" tokens, evaluated up to {sizes.longest}"
    )


def _table(omegas: dict[str, NDArray[np.float32]], sizes: Sizes) -> str:
    diagnoses = {
        name: diagnostics.diagnose(omega, sizes.train_length, sizes.longest)
        for name, omega in omegas.items()
    }
    return diagnostics.as_text(diagnoses, sizes.train_length, sizes.longest)


def _draw(config: Config, omegas: dict[str, NDArray[np.float32]], sizes: Sizes, path: Path) -> None:
    # Only here, because drawing takes long to import.
    from rope_spectra.report import plots, style

    with style.applied(appearance.of_arms(config, list(omegas))):
        styles = style.line_styles(list(omegas))
        figure = plots.spectra(omegas, sizes.train_length, sizes.longest, styles)
        style.save(figure, path)


def _frequencies(config: Config, name: str, sizes: Sizes) -> NDArray[np.float32]:
    """The frequencies [head_dim / 2] of a spectrum, as a model of these sizes would train them."""
    if name not in config.spectra:
        raise UserError(f"--show: {messages.unknown('spectrum', name, config.spectra)}")
    spectrum = completed(name, config.spectra[name], sizes.head_dim, sizes.train_length)
    return spectrum.inv_freq(sizes.head_dim)


if __name__ == "__main__":
    cli.run(main)
