"""The mean of a paired difference when both the seeds and the text are a sample.

Every seed reads the same blocks of text, so a difference belongs to one seed and one block: a table
in which seeds and blocks are crossed. A t interval over the seeds holds for this text alone; the
interval here also counts how much the blocks differ. Definitions, assumptions and simulated
coverage: docs/statistics.md, sections 2 and 8.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

# Neighboring blocks resemble each other, so they are joined until at least this many stretches are
# left. Fewer would widen the interval where the text varies most, more would leave them dependent.
STRETCHES = 10


@dataclass(frozen=True)
class Estimate:
    """A mean difference, its standard error, and the degrees of freedom that this rests on.

    sem_text is the part of the standard error that more seeds do not reduce. All four have the
    leading axes of the differences, none for a single table. Below two seeds all but the mean are
    NaN.
    """

    mean: NDArray[np.float64]
    sem: NDArray[np.float64]
    df: NDArray[np.float64]
    sem_text: NDArray[np.float64]

    def interval(self, level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The two-sided interval of the mean, by Student's t."""
        half = special.stdtrit(self.df, (1 + level) / 2) * self.sem
        return self.mean - half, self.mean + half

    def p_difference(self) -> NDArray[np.float64]:
        """Two-sided p of a mean of 0: below 0.05 exactly where the 95 % interval excludes 0."""
        return 2 * self._tail(np.abs(self.mean))

    def p_equivalence(self, limit: float) -> NDArray[np.float64]:
        """p of the two one-sided tests that the mean lies within +-limit (Schuirmann 1987).

        Below 0.05 exactly where the 90 % interval lies within the limits.
        """
        return self._tail(limit - np.abs(self.mean))

    def _tail(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability that a t variable is beyond distance / sem; a step where sem is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            tail = special.stdtr(self.df, -distance / self.sem)
        # Equal differences leave no doubt, except about a distance of 0.
        certain = np.where(distance > 0, 0.0, np.where(distance < 0, 1.0, 0.5))
        return np.where(self.sem == 0, certain, tail)


@np.errstate(invalid="ignore")  # diverged runs are inf
def crossed(deltas: ArrayLike) -> Estimate:
    """The mean of deltas [..., seeds, blocks], both random, by a two-way analysis of variance.

    deltas: one arm minus the other on the same seed and the same block, in nats per token; blocks
    of equal size in the order of the text. A single block leaves Student's t over the seeds, which
    holds for that text alone.

    The variance of the mean is (MS_seeds + MS_blocks - MS_rest) / (seeds * blocks), and never below
    what seeds or blocks alone give; its degrees of freedom are Satterthwaite's (1946).
    """
    d = np.asarray(deltas, dtype=np.float64)
    mean = d.mean(axis=(-2, -1))
    d = _stretches(d)
    n_seeds, n_blocks = d.shape[-2:]
    if n_seeds < 2:
        nothing = np.full_like(mean, np.nan)
        return Estimate(mean, nothing, nothing, nothing)
    per_seed = d.mean(axis=-1)
    per_block = d.mean(axis=-2)
    ms_seeds = n_blocks * per_seed.var(axis=-1, ddof=1)
    if n_blocks == 1:
        df = np.full_like(mean, n_seeds - 1)
        return Estimate(mean, np.sqrt(ms_seeds / n_seeds), df, np.zeros_like(mean))
    ms_blocks = n_seeds * per_block.var(axis=-1, ddof=1)
    center = d.mean(axis=(-2, -1), keepdims=True)
    rest = d - per_seed[..., :, None] - per_block[..., None, :] + center
    ms_rest = (rest**2).sum(axis=(-2, -1)) / ((n_seeds - 1) * (n_blocks - 1))

    # An estimate of a component may come out below 0; the component cannot.
    of_blocks = np.maximum(ms_blocks - ms_rest, 0)
    total = np.maximum(ms_seeds + of_blocks, ms_blocks)
    terms = ms_seeds**2 / (n_seeds - 1) + ms_blocks**2 / (n_blocks - 1)
    df = total**2 / terms
    # Blocks that add nothing leave the t interval over the seeds.
    df = np.where(of_blocks > 0, df, n_seeds - 1)
    size = n_seeds * n_blocks
    return Estimate(mean, np.sqrt(total / size), df, np.sqrt(of_blocks / size))


def _stretches(deltas: NDArray[np.float64]) -> NDArray[np.float64]:
    """The means of stretches of neighboring blocks, [..., seeds, stretches].

    From 10 to 19 stretches of equal length, to a block; below 20 blocks, the blocks themselves.
    """
    n_blocks = deltas.shape[-1]
    stretches = n_blocks // max(1, n_blocks // STRETCHES)
    parts = np.array_split(deltas, stretches, axis=-1)
    return np.stack([part.mean(axis=-1) for part in parts], axis=-1)
