"""The model of docs/protocol.md section 3: a Llama whose rotary spectrum is an input.

Shapes: B batch, T tokens, H heads, D head_dim, K = D/2 rotary pairs, E hidden_size, V vocab_size.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rope_spectra.model.config import ModelConfig
from rope_spectra.model.linear import Linear

# The target of a position that does not count in the loss; the value is torch's own default.
IGNORE_INDEX = -100


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context in which products are in bf16 on fp32 weights (`bf16`), or in fp32.

    `bf16_products` is of training alone, which sets it for the layers; so it is fp32 here.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def rotary_cos_sin(
    inv_freq: Tensor, length: int, attention_factor: float = 1.0
) -> tuple[Tensor, Tensor]:
    """cos and sin [T, D] in fp32 of position * inv_freq [K], each pair's angle in both halves.

    `attention_factor` multiplies both q and k, so it is squared in the attention scores; only a
    remap has another factor than 1.
    """
    # fp32 whatever the autocast: in bf16 the positions above 256 would no longer be whole numbers.
    positions = torch.arange(length, device=inv_freq.device, dtype=torch.float32)
    angles = torch.outer(positions, inv_freq).repeat(1, 2)
    return angles.cos() * attention_factor, angles.sin() * attention_factor


def apply_rotary(x_BHTD: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
    """Turns each pair (x_k, x_{k+D/2}) by its angle, in fp32 (the rotate-half layout of Llama)."""
    x = x_BHTD.float()
    first, second = x.chunk(2, dim=-1)
    return x * cos_TD + torch.cat((-second, first), dim=-1) * sin_TD


class RMSNorm(nn.Module):
    """x / rms(x) * weight, in fp32 whatever the autocast."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.weight.shape, self.weight, self.eps)


class Attention(nn.Module):
    """Causal multi-head attention with rotary q and k; the rows of qkv_proj are q, k, v."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.head_dim = config.head_dim
        width = self.heads * self.head_dim
        self.qkv_proj = Linear(config.hidden_size, 3 * width)
        self.o_proj = Linear(width, config.hidden_size)

    def rotated_qkv(
        self, x_BTE: Tensor, cos_TD: Tensor, sin_TD: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """q, k and v [B, H, T, D], q and k turned by their positions."""
        B, T, _ = x_BTE.shape
        qkv = self.qkv_proj(x_BTE).view(B, T, 3, self.heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        # Rotated in fp32, multiplied in the precision of the projection (bf16 under autocast).
        q = apply_rotary(q, cos_TD, sin_TD).to(v.dtype)
        k = apply_rotary(k, cos_TD, sin_TD).to(v.dtype)
        return q, k, v

    def forward(self, x_BTE: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
        B, T, _ = x_BTE.shape
        q, k, v = self.rotated_qkv(x_BTE, cos_TD, sin_TD)
        y_BHTD = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y_BHTD.transpose(1, 2).reshape(B, T, -1))


class MLP(nn.Module):
    """SwiGLU: down(silu(gate x) * up x)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """Pre-norm attention and MLP on an fp32 residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    """Token embedding, blocks, final norm, output head tied to the embedding.

    Call torch.manual_seed(seed) before making one, on the CPU: construction consumes the random
    stream exactly as the study does (docs/protocol.md section 3).
    """

    inv_freq: Tensor
    attention_factor: float = 1.0

    def __init__(self, config: ModelConfig, inv_freq: Tensor) -> None:
        super().__init__()
        self.config = config
        # The order of these lines is the order of the draws: torch's default initialization of each
        # module as it is defined, then N(0, initializer_range) over every Linear and Embedding. The
        # tied weight is drawn twice, once as the embedding and once as the head.
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = Linear(config.hidden_size, config.vocab_size)
        self.tie_weights()
        # A buffer, not a constant: one compiled graph serves every spectrum. Not among the weights,
        # because it follows from the settings of the run.
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        self.apply(self._redraw)

    def tie_weights(self) -> None:
        """Makes the output head the embedding; needed again after weights were assigned."""
        self.lm_head.weight = self.embed_tokens.weight

    def _redraw(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)

    @contextmanager
    def rotated_by(self, inv_freq: Tensor, attention_factor: float) -> Iterator[None]:
        """A context in which q and k turn by another spectrum [K] than the trained one."""
        before = self.inv_freq, self.attention_factor
        self.inv_freq = inv_freq.to(self.inv_freq)
        self.attention_factor = attention_factor
        try:
            yield
        finally:
            self.inv_freq, self.attention_factor = before

    def hidden(self, ids_BT: Tensor) -> Tensor:
        """Hidden states [B, T, E] after the final norm."""
        cos, sin = rotary_cos_sin(self.inv_freq, ids_BT.shape[1], self.attention_factor)
        x = self.embed_tokens(ids_BT)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Logits [B, T, V]."""
        return self.lm_head(self.hidden(ids_BT))

    def loss(self, ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Mean cross entropy in nats per target, in fp32; targets of IGNORE_INDEX do not count."""
        logits = self(ids_BT).float()
        return F.cross_entropy(
            logits.flatten(0, 1), targets_BT.flatten(), ignore_index=IGNORE_INDEX
        )
