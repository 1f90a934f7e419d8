"""The Llama-style model, its kernels, its weights on disk and in transformers' form."""
