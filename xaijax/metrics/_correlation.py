"""How alike two lists of numbers are."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.core._sorting import ascending


def pearson(a: Float[Array, " n"], b: Float[Array, " n"]) -> Float[Array, ""]:
    """Pearson's correlation; NaN if one of them is constant."""
    a, b = _centred(a), _centred(b)
    return (a * b).sum() / jnp.sqrt((a * a).sum() * (b * b).sum())


def spearman(a: Float[Array, " n"], b: Float[Array, " n"]) -> Float[Array, ""]:
    """Spearman's rank correlation; equal numbers share the mean of their ranks. NaN if one list is constant."""
    return pearson(mean_ranks(a), mean_ranks(b))


def mean_ranks(a: Float[Array, " n"]) -> Float[Array, " n"]:
    """The rank of each number from the lowest, 0; of equal ones the mean."""
    ordered = ascending(a)
    below = jnp.searchsorted(ordered, a, side="left")
    up_to = jnp.searchsorted(ordered, a, side="right")
    return ((below + up_to - 1) / 2).astype(jnp.promote_types(a.dtype, jnp.float32))


def _centred(a: Float[Array, " n"]) -> Float[Array, " n"]:
    """Less its mean and scaled to at most 1, so that no product overflows or vanishes; a constant gives NaN."""
    # Rounding leaves something of a constant that is no sum of powers of two.
    constant = a.max() == a.min()
    a = a - a.mean()
    return jnp.where(constant, jnp.nan, a / jnp.abs(a).max())
