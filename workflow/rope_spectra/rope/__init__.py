"""The subject of the study: rotary spectra, their remaps, and diagnoses without training."""
