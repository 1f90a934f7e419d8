"""Made-up results of the tasks of the retrieval probe."""

import numpy as np

from rope_spectra.analysis.retrieval_tasks import Asked, TaskKey

TRIALS = 40


def nll(right: np.ndarray, gap: float = 2.0) -> np.ndarray:
    """NLL of 10 candidates a trial; where it is not right, another candidate is likelier."""
    scores = np.full((len(right), 10), 3.0 + gap)
    scores[:, 0] = 3.0
    scores[~right, 4] = 2.5
    return scores


def asked(seed: int, share: float, length: int = 128) -> Asked:
    """Trials of which about `share` are right; 4 are without statements. L_train is 64."""
    random = np.random.default_rng(seed)
    right = random.random(TRIALS) < share
    distance = np.exp(random.uniform(np.log(2), np.log(length - 8), TRIALS)).astype(np.int64)
    return Asked(
        nll=nll(right),
        control=nll(np.arange(TRIALS) < 4),
        truncated=nll(right & (distance < 64)) if length > 64 else None,
        distance=distance,
    )


def study(shares: dict[str, float], seeds: tuple[int, ...] = (3, 1, 2)) -> dict[TaskKey, Asked]:
    """Two tasks at two lengths, of spectra that are right in about these shares of the trials."""
    return {
        (name, seed, "none", length, task): asked(10 * seed + length + place, share, length)
        for name, share in shares.items()
        for seed in seeds
        for length in (64, 128)
        for place, task in enumerate(("key", "pairs"))
    }
