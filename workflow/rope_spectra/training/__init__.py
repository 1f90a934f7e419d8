"""One run from its first step to its last, resumed where it was interrupted."""
