"""Random changes of the size of an attack: what an attack is compared with.

As Ghorbani, Abid & Zou (AAAI 2019; arXiv:1710.10547v2) do, who perturb every element by epsilon with a random sign.
"""

from typing import Any

import jax
from jaxtyping import Array, Float, Key

from xaijax.attacks._attack import attack
from xaijax.attacks._ball import ball, direction


@attack(static=("norm",))
def random_noise(
    x: Any,
    key: Key[Array, ""],
    *,
    epsilon: float,
    norm: str = "linf",
    low: Any = None,
    high: Any = None,
) -> Float[Array, "*shape"]:
    r"""The control of every attack: a change of the same norm in a random direction.

    .. math:: x' = x + \epsilon\, s, \quad s_i = \pm 1 \qquad \text{or} \qquad
        x' = x + \epsilon\, u / \lVert u \rVert_2, \quad u \sim \mathcal{N}(0, I)

    What it does to a prediction or an explanation is no work of an attack.

    Args:
      x: the input, one float array.
      key: the signs, or the direction.
      epsilon: the norm of the change, in units of `x`.
      norm: `"linf"`, by which every element changes by epsilon, or `"l2"`, the Euclidean norm. Static.
      low: the lowest value of an element: a number or an array that broadcasts to `x`; by default there is none.
      high: the highest value, likewise.

    Returns:
      The changed input, of the shape and dtype of `x`. What left the bounds is set to them, which makes the change
      smaller.

    Raises:
      ValueError: `epsilon` is not above 0; there is no such norm; `low` is above `high`, or `x` not between them
        (traced: NaN).
      TypeError: `x` is not one float array.

    Examples:
      >>> import jax.numpy as jnp
      >>> jnp.abs(random_noise(jnp.zeros(3), jax.random.key(0), epsilon=0.5))
      Array([0.5, 0.5, 0.5], dtype=float32)

    References:
      ghorbani2019interpretation
    """
    around = ball("random_noise", x, epsilon, norm, low, high)
    if norm == "linf":
        delta = jax.random.rademacher(key, x.shape, around.x.dtype)
    else:
        delta = direction(jax.random.normal(key, x.shape, around.x.dtype))
    return around.bounded(around.x + epsilon * delta).astype(x.dtype)
