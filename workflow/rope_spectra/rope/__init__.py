"""The subject of the study: rotary spectra, remaps of them, and what can be said of a spectrum without training."""
