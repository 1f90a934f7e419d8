"""A made-up sentence of the retrieval probe, and a text for it."""

import numpy as np

from rope_spectra.data.sentence import Sentence

KEY = Sentence(before=(900, 901), after=(902,), values=tuple(range(1000, 1032)))
TEXT = np.random.default_rng(0).integers(0, 800, 5000).astype(np.uint16)
