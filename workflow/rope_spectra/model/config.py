"""The sizes of a model and what follows from them. Imports nothing heavy."""

from pydantic import Field

from rope_spectra.runtime.settings import Settings


class ModelConfig(Settings):
    """Sizes by the names of transformers' LlamaConfig."""

    hidden_size: int = Field(ge=1, description="Width of the residual stream")
    num_hidden_layers: int = Field(ge=1, description="Number of blocks")
    num_attention_heads: int = Field(ge=1, description="Heads per block")
    head_dim: int = Field(
        ge=2, multiple_of=2, description="Width of a head: twice the number of rotary pairs"
    )
    intermediate_size: int = Field(ge=1, description="Width of the SwiGLU hidden layer")
    vocab_size: int = Field(
        ge=1, le=2**16, description="Rows of the embedding (tokens are kept as uint16)"
    )
    rms_norm_eps: float = Field(1e-6, gt=0, description="Added to the mean square in RMSNorm")
    initializer_range: float = Field(
        0.02, gt=0, description="Standard deviation of the initial weights"
    )

    @property
    def pairs(self) -> int:
        """Rotary pairs of a head."""
        return self.head_dim // 2

    @property
    def num_parameters(self) -> int:
        """Trained numbers: tied embedding, attention, SwiGLU, norms."""
        width = self.num_attention_heads * self.head_dim
        attention = 4 * self.hidden_size * width
        mlp = 3 * self.hidden_size * self.intermediate_size
        block = attention + mlp + 2 * self.hidden_size
        return (
            self.vocab_size * self.hidden_size + self.num_hidden_layers * block + self.hidden_size
        )

    def forward_flop(self, length: int) -> int:
        """FLOP per token of a forward pass at a context length, attention counted in full.

        A step of training takes three times that: the backward pass computes two products, for the
        gradients of the inputs and of the weights, for each one of the forward pass. So training
        costs 6 N + 12 L d T (docs/performance.md), without a discount for the causal mask.
        """
        width = self.num_attention_heads * self.head_dim
        return 2 * self.num_parameters + 4 * self.num_hidden_layers * width * length
