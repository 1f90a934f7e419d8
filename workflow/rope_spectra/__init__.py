"""rope-spectra: how should rotary frequencies be distributed to degrade least beyond the training length?"""

__version__ = "0.1.0"
