"""The arrays of usage.npz of a run that is made up."""

import numpy as np

from rope_spectra.analysis.usage_table import Arrays
from rope_spectra.evaluation.perplexity import bin_edges


def made_up_usage(train_length: int, pairs: int, seed: int = 0) -> Arrays:
    """Two layers, two heads and three blocks, at the training length and at twice that."""
    random = np.random.default_rng(seed)
    arrays = {}
    for part in ("in_length", "beyond"):
        arrays[f"trained/{part}"] = random.uniform(1, 2, 3)
        for kind in ("stilled", "slower"):
            costs = random.exponential(0.05, (pairs, 3))
            arrays[f"{kind}/{part}"] = arrays[f"trained/{part}"] + costs
    for name in ("q", "k"):
        arrays[f"norm/{name}"] = random.uniform(0, 3, (2, 2, pairs))
    for length in (train_length, 2 * train_length):
        edges = bin_edges(length, train_length)
        arrays[f"attention/{length}"] = random.dirichlet(np.ones(len(edges) - 1), 2)
        arrays[f"attention/{length}/edges"] = edges
    return arrays
