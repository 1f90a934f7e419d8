"""A run in the terms of transformers: settings, weights and tokenizer of a plain LlamaForCausalLM (evaluation.md section 7).

Pure. Any spectrum goes into rope type `longrope` with base 1: transformers then takes 1 / factor as the frequency of a pair,
and a spectrum snapped by spectra.snap comes back bit for bit, also through JSON.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rope_spectra.runtime.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

# radians per token; over a million tokens a slower pair turns by less than fp32 can add to a number: it stands still
_STANDSTILL = np.float32(1e-30)

# tokenizer.json lists special tokens but not their roles; these are the names by which the common tokenizers call them
_ROLES = {
    "bos_token": ("<|endoftext|>", "<|begin_of_text|>", "<s>"),
    "eos_token": ("<|endoftext|>", "<|end_of_text|>", "</s>"),
    "unk_token": ("<|endoftext|>", "<unk>"),
    "pad_token": ("<|padding|>", "<pad>"),
}


def longrope(inv_freq: NDArray[np.float32], length: int) -> dict[str, Any]:
    """Rope parameters for the spectrum `inv_freq` [K]: one set of factors at every length, attention factor 1.

    Both lengths are `length`, because vLLM derives an attention factor from their ratio whatever the file says.
    """
    factors = (np.float32(1.0) / np.maximum(inv_freq, _STANDSTILL)).tolist()
    return {
        "rope_type": "longrope",
        "short_factor": factors,
        "long_factor": factors,
        "factor": 1.0,
        "attention_factor": 1.0,
        "original_max_position_embeddings": length,
    }


def model_config(
    sizes: dict[str, Any],
    inv_freq: NDArray[np.float32],
    length: int,
    special_ids: dict[str, int | None],
) -> dict[str, Any]:
    """config.json for the sizes of a run, usable up to `length` tokens.

    The spectrum is given twice: as transformers 5 reads it (`rope_parameters`) and as transformers 4 does
    (`rope_theta`, `rope_scaling`). Raises UserError for sizes that transformers refuses.
    """
    if sizes["hidden_size"] % sizes["num_attention_heads"]:
        raise UserError(
            f"models: hidden_size {sizes['hidden_size']} is not a multiple of num_attention_heads {sizes['num_attention_heads']},"
            " and transformers loads no such Llama; train a model whose sizes are"
        )
    rope = longrope(inv_freq, length)
    return {
        **sizes,
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_key_value_heads": sizes["num_attention_heads"],
        "max_position_embeddings": length,
        "rope_theta": 1.0,
        "rope_scaling": rope,
        "rope_parameters": {"rope_theta": 1.0, **rope},
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "dtype": "float32",
        **special_ids,
    }


def model_weights(weights: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """Weights by transformers' names, the fused projection cut into q, k and v; the tied head stays out."""
    renamed = {}
    for name, tensor in weights.items():
        if name.endswith("qkv_proj.weight"):
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                renamed[f"model.{name.replace('qkv_proj', f'{part}_proj')}"] = rows.clone()
        elif name != "lm_head.weight":
            renamed[f"model.{name}"] = tensor.contiguous()
    return renamed


def special_tokens(tokenizer: "Tokenizer") -> dict[str, str]:
    """The special tokens of a tokenizer by their roles; a role that none of them plays is left out."""
    special = {
        token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special
    }
    found = {
        role: next((name for name in names if name in special), None)
        for role, names in _ROLES.items()
    }
    return {role: name for role, name in found.items() if name is not None}


def special_ids(tokenizer: "Tokenizer | None") -> dict[str, int | None]:
    """bos_token_id, eos_token_id and pad_token_id of config.json, None where there is no such token."""
    tokens = special_tokens(tokenizer) if tokenizer else {}
    ids = (
        {role: tokenizer.token_to_id(token) for role, token in tokens.items()} if tokenizer else {}
    )
    return {f"{role}_id": ids.get(role) for role in ("bos_token", "eos_token", "pad_token")}


def tokenizer_config(tokenizer: "Tokenizer", length: int) -> dict[str, Any]:
    """tokenizer_config.json: tokenizer.json is taken as it is, text comes back as it went in."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": length,
        "clean_up_tokenization_spaces": False,
        **special_tokens(tokenizer),
    }
