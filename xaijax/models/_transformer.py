"""The layers that transformers of images and of texts share (Vaswani et al., NeurIPS 2017; arXiv:1706.03762)."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float


class Attention(nnx.Module):
    """Multi-head self-attention; queries, keys and values come from one dense layer.

    Args:
        width: Features of a token.
        num_heads: How many heads share them.
        rngs: Draws the kernels.
    """

    def __init__(self, width: int, num_heads: int, *, rngs: nnx.Rngs) -> None:
        self.qkv = nnx.Linear(width, 3 * width, rngs=rngs)
        self.proj = nnx.Linear(width, width, rngs=rngs)
        self.num_heads = num_heads

    def __call__(
        self, x: Float[Array, "... N D"], there: Bool[Array, "... N"] | None = None
    ) -> Float[Array, "... N D"]:
        """Map tokens with any leading axes; those that are not there are attended to by none."""
        *batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(*batch, tokens, 3, self.num_heads, width // self.num_heads)
        q, k, v = jnp.moveaxis(qkv, (-3, -2), (0, -3))  # each (..., heads, N, D / heads)
        scores = (q * q.shape[-1] ** -0.5) @ k.swapaxes(-1, -2)
        keys = None if there is None else there[..., None, None, :]
        y = jax.nn.softmax(scores, where=keys) @ v
        return self.proj(y.swapaxes(-2, -3).reshape(*batch, tokens, width))


class MLP(nnx.Module):
    """Two dense layers with a GELU in between.

    Args:
        width: Features of a token, of which the hidden layer has four times as many.
        rngs: Draws the kernels.
    """

    def __init__(self, width: int, *, rngs: nnx.Rngs) -> None:
        self.fc1 = nnx.Linear(width, 4 * width, rngs=rngs)
        self.fc2 = nnx.Linear(4 * width, width, rngs=rngs)

    def __call__(self, x: Float[Array, "... D"]) -> Float[Array, "... D"]:
        """Map tokens with any leading axes."""
        return self.fc2(jax.nn.gelu(self.fc1(x), approximate=False))


def layer_norm(width: int, *, epsilon: float, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Layer norm over the features of a token."""
    # The variance as the mean of squares of differences; that of E[x^2] - E[x]^2 loses digits.
    return nnx.LayerNorm(width, epsilon=epsilon, use_fast_variance=False, rngs=rngs)
