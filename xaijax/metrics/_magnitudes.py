"""What the metrics of a map alone read it as."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def magnitudes(attribution: Float[Array, "*shape"]) -> Float[Array, " d"]:
    """How large each attribution is, in single precision at least; scaled so that no sum of them overflows.

    Its largest is 1; of a map of zeros all are NaN, and so is what is computed of them.
    """
    a = jnp.abs(attribution.reshape(-1)).astype(jnp.promote_types(attribution.dtype, jnp.float32))
    return a / a.max()
