"""The candidates of one round of a search, or of its confirmation, and what they follow from.

Both are frozen files of a part of a search: search.json has the settings that its candidates follow
from, candidates.json says what they are.
"""

from typing import Annotated, Any

from pydantic import Field

from rope_spectra.config.design import Design
from rope_spectra.config.search import Objective, Sampler, Space
from rope_spectra.runtime.errors import UserError
from rope_spectra.runtime.settings import Name, Seed, Settings


class EarlierRound(Settings):
    """A finished round: its runs, and how many of its candidates were new, the last of them."""

    design: Design
    candidates: list[Name]
    proposals: int


class SearchStep(Settings):
    """All that the candidates of a part depend on, besides the scores of the rounds before.

    names: of its candidates, the best so far first, then `new` ones. proposals: the numbers of new
    ones of all rounds up to the last that has any, by which a sampler sizes its generations.
    """

    search: Name
    space: Space
    objective: Objective
    sampler: Sampler
    seed: Seed
    head_dim: int
    train_length: int
    earlier: list[EarlierRound]
    names: Annotated[list[Name], Field(min_length=1)]
    new: int
    proposals: list[int]


class Candidate(Settings):
    """A spectrum that a search has proposed.

    name: its place in this part. proposal: its number in the order of first proposal, which is the
    same in all parts. point: its parameters, each in [0, 1], by name.
    """

    name: Name
    proposal: int
    point: dict[str, float]
    inv_freq: list[Annotated[float, Field(ge=0)]]


class Candidates(Settings):
    """The content of candidates.json; basis is the hash of all that they follow from."""

    search: Name
    basis: str
    candidates: list[Candidate]

    def fill(self, content: Any) -> Any:
        """Settings as JSON holds them, their proposed spectra given number by number.

        Raises UserError for a proposed spectrum that is not among the candidates.
        """
        if isinstance(content, list):
            return [self.fill(item) for item in content]
        if not isinstance(content, dict):
            return content
        if content.get("family") == "proposed":
            return self._spectrum(content["name"])
        return {key: self.fill(value) for key, value in content.items()}

    def _spectrum(self, name: str) -> dict[str, Any]:
        for candidate in self.candidates:
            if candidate.name == name:
                return {"name": name, "family": "values", "inv_freq": candidate.inv_freq}
        raise UserError(
            f"{name}: not among the candidates of {self.search}; delete its candidates.json"
        )
