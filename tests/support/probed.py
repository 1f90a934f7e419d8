"""A made-up sentence and made-up words of the retrieval probe, and a text for them."""

import numpy as np

from rope_spectra.data.episodes import PIECES, Words
from rope_spectra.data.sentence import Sentence

KEY = Sentence(before=(900, 901), after=(902,), values=tuple(range(1000, 1032)))
TEXT = np.random.default_rng(0).integers(0, 800, 5000).astype(np.uint16)
WORDS = Words(
    words=tuple(range(1000, 1040)),
    pieces={text: (900 + place,) for place, text in enumerate(PIECES)},
)
