"""Perplexity by length and position, and the retrieval probe."""
