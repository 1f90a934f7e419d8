"""The label, color and marker of each spectrum, for all that shows it.

A spectrum looks the same in every experiment. Pure, imports nothing heavy.
"""

from collections import Counter, defaultdict
from pathlib import Path

from pydantic import Field

from rope_spectra.artifacts import seal
from rope_spectra.config.design import label
from rope_spectra.config.sections import Config
from rope_spectra.runtime.settings import Name, Settings

COLORS = 7  # that report/style.py has


class Appearance(Settings):
    """The labels and places of the arms of an experiment; no training or table depends on them.

    labels: of the spectra that have one. places: numbers in a list of pairs of color and marker;
    places with the same remainder by COLORS share the color.
    """

    labels: dict[Name, str] = Field({})
    places: dict[str, int] = Field({})

    def shown(self, arm: str) -> str:
        """The words for an arm: its name, or `label + remap` where its spectrum has a label."""
        spectrum, plus, remap = arm.partition("+")
        if spectrum not in self.labels:
            return arm
        return f"{self.labels[spectrum]} + {remap}" if plus else self.labels[spectrum]


def read(path: Path | None) -> Appearance:
    """The appearance that a command is given; without one arms are shown by their names."""
    return Appearance() if path is None else seal.load_settings(path, Appearance)


def appearance(config: Config, experiment: str) -> Appearance:
    """Labels and places of the arms of an experiment."""
    return of_arms(config, _arms(config, experiment))


def of_arms(config: Config, arms: list[str]) -> Appearance:
    """Labels and places of these arms, such as geo_500k+yarn, as all experiments have them."""
    names = dict.fromkeys(arm.partition("+")[0] for arm in arms)
    spectra = {name: config.spectra[name] for name in names if name in config.spectra}
    of_all = places(config)
    return Appearance(
        labels={name: one.label for name, one in spectra.items() if one.label is not None},
        places={arm: of_all[arm] for arm in arms if arm in of_all},
    )


def places(config: Config) -> dict[str, int]:
    """The place of every arm of all experiments, different for each.

    Each takes the color that the fewest have with which it shares an experiment. The spectra of
    the library come first, by how many experiments have them, so a new one hardly ever changes the
    color of another.
    """
    arms = {name: _arms(config, name) for name in config.experiments}
    used: dict[str, Counter[int]] = {name: Counter() for name in arms}
    neighbors = defaultdict(list)
    for name, members in arms.items():
        for arm in members:
            neighbors[arm].append(used[name])
    # By name at last: the order of the keys depends on which file or option gave them.
    order = sorted(
        neighbors, key=lambda arm: (arm not in config.spectra, -len(neighbors[arm]), arm)
    )
    taken: Counter[int] = Counter()
    seen: Counter[int] = Counter()  # how often each color is in an experiment
    result = {}
    for arm in order:
        near: Counter[int] = Counter()
        for colors in neighbors[arm]:
            near.update(colors)
        color = min(range(COLORS), key=lambda color: (near[color], seen[color], color))
        result[arm] = color + COLORS * taken[color]
        for colors in (taken, *neighbors[arm]):
            colors[color] += 1
        seen[color] += len(neighbors[arm])
    return result


def _arms(config: Config, experiment: str) -> list[str]:
    """The names of the arms of an experiment, the spectra as they are trained first."""
    spectra = config.experiments[experiment].spectra
    remaps = sorted(config.evaluation_of(experiment).remaps, key=lambda remap: remap != "none")
    return [label((spectrum, remap)) for remap in remaps for spectrum in spectra]
