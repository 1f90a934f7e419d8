"""A run in the terms of transformers: a plain LlamaForCausalLM (docs/protocol.md section 7). Pure.

Any spectrum goes into rope type `longrope` with base 1: transformers then takes 1 / factor as the
frequency of a pair, and a spectrum that frequencies.snap has rounded comes back bit for bit, also
through JSON.
"""

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rope_spectra.model.config import ModelConfig
from rope_spectra.runtime.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

# The content of a JSON file of transformers.
Json: TypeAlias = dict[str, object]

# In radians per token. Over a million tokens a slower pair turns by less than fp32 can add to a
# number, so it stands still as well as one of frequency 0, for which there is no factor.
_STANDSTILL = np.float32(1e-30)

# tokenizer.json lists special tokens but not their roles. These are the names by which the common
# tokenizers call them, the more specific ones first.
_ROLES = {
    "bos_token": ("<|endoftext|>", "<|begin_of_text|>", "<s>"),
    "eos_token": ("<|endoftext|>", "<|end_of_text|>", "</s>"),
    "unk_token": ("<|endoftext|>", "<unk>"),
    "pad_token": ("<|padding|>", "<pad>"),
}


def longrope(inv_freq: NDArray[np.float32], length: int) -> Json:
    """Rope parameters for a spectrum [K]: one set of factors at every length, attention factor 1.

    Both lengths are `length`, because vLLM derives an attention factor from their ratio whatever
    the file says.
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
    sizes: ModelConfig,
    inv_freq: NDArray[np.float32],
    length: int,
    special_ids: dict[str, int | None],
) -> Json:
    """config.json of a model that is used up to `length` tokens.

    Raises UserError for sizes that transformers refuses.
    """
    if sizes.hidden_size % sizes.num_attention_heads:
        raise UserError(
            f"models: hidden_size {sizes.hidden_size} is not a multiple of num_attention_heads"
            f" {sizes.num_attention_heads}, and transformers loads no such Llama; train a model"
            " whose sizes are"
        )
    rope = longrope(inv_freq, length)
    return {
        **sizes.content(),
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_key_value_heads": sizes.num_attention_heads,
        "max_position_embeddings": length,
        # The spectrum twice: as transformers 4 reads it, and as transformers 5 does.
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
    """Weights by transformers' names, the fused projection split into q, k and v.

    The output head stays out: it is tied to the embedding.
    """
    renamed = {}
    for name, tensor in weights.items():
        if name.endswith("qkv_proj.weight"):
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                # safetensors takes no views that share memory.
                renamed[f"model.{name.replace('qkv_proj', f'{part}_proj')}"] = rows.clone()
        elif name != "lm_head.weight":
            renamed[f"model.{name}"] = tensor.contiguous()
    return renamed


def special_tokens(tokenizer: "Tokenizer") -> dict[str, str]:
    """The special tokens of a tokenizer by their roles; a role that none has is left out."""
    added = tokenizer.get_added_tokens_decoder().values()
    special = {token.content for token in added if token.special}
    found = {}
    for role, names in _ROLES.items():
        present = [name for name in names if name in special]
        if present:
            found[role] = present[0]
    return found


def special_ids(tokenizer: "Tokenizer | None") -> dict[str, int | None]:
    """bos_token_id, eos_token_id and pad_token_id; None where there is no such token."""
    ids: dict[str, int | None] = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    if tokenizer:
        for role, token in special_tokens(tokenizer).items():
            if f"{role}_id" in ids:  # config.json has none for unk_token
                ids[f"{role}_id"] = tokenizer.token_to_id(token)
    return ids


def tokenizer_config(tokenizer: "Tokenizer", length: int) -> Json:
    """tokenizer_config.json: tokenizer.json is taken as it is, text comes back as it went in."""
    # tokenizer.json has no place for it: names of special tokens in a text are text.
    as_text = {"split_special_tokens": True} if tokenizer.encode_special_tokens else {}
    return {
        **as_text,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": length,
        "clean_up_tokenization_spaces": False,
        **special_tokens(tokenizer),
    }
