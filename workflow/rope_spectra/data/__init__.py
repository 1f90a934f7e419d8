"""Text to token cache: sources of documents, tokenizers, shards, caches."""
