"""rope-spectra: the rotary frequencies that degrade least beyond the training length."""

__version__ = "0.1.0"
