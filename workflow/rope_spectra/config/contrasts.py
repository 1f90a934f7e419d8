"""What an experiment compares with what: the names in `baseline` and `contrasts` of the config. Pure, imports nothing heavy.

An arm is a trained spectrum under a remap, a row of the tables. `geo_500k+yarn` names one; `geo_500k` alone names that spectrum
under every remap, and as something to compare with, under the remap of the row. A contrast is `name`, compared with the
baseline, or `name vs other`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Arm = tuple[str, str]

NATIVE = "none"


def label(arm: Arm) -> str:
    """How an arm is written: `geo_500k+yarn`, and `geo_500k` for the spectrum as it was trained."""
    spectrum, remap = arm
    return spectrum if remap == NATIVE else f"{spectrum}+{remap}"


def parse(name: str) -> tuple[str, str | None]:
    """Spectrum and remap of a name in the config; None where it names no remap."""
    spectrum, plus, remap = name.partition("+")
    return spectrum, remap if plus else None


@dataclass(frozen=True)
class Contrasts:
    """against: the declared contrasts, what a name is compared with by that name; all else is compared with the baseline."""

    baseline: str
    against: Mapping[str, str]

    @classmethod
    def of(cls, baseline: str, contrasts: Iterable[str]) -> "Contrasts":
        """From the two keys of an experiment."""
        pairs = (entry.partition(" vs ") for entry in contrasts)
        return cls(baseline, {name.strip(): other.strip() or baseline for name, _, other in pairs})

    def reference(self, arm: Arm) -> Arm:
        """What the row of an arm is compared with; the arm itself if it is a baseline."""
        spectrum, remap = arm
        names = (f"{spectrum}+{remap}", spectrum)
        other, own_remap = parse(
            next((self.against[name] for name in names if name in self.against), self.baseline)
        )
        return other, remap if own_remap is None else own_remap

    def family(self, remaps: Iterable[str]) -> list[Arm]:
        """The declared contrasts as arms, in their order: a name without a remap stands for one per remap."""
        remaps, named = list(remaps), map(parse, self.against)
        arms = [
            (spectrum, each)
            for spectrum, remap in named
            for each in (remaps if remap is None else [remap])
        ]
        return [arm for arm in dict.fromkeys(arms) if self.reference(arm) != arm]
