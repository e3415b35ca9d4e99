"""What an attack raises: the loss of a label, with its gradient.

Notation: z the outputs, t the label, p the softmax of z.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.core._errors import complaint
from xaijax.core._score import Target, score
from xaijax.core._score_gradient import value_and_gradient


def loss(outputs: Any, target: Target, *, where: str) -> Float[Array, ""]:
    r"""A loss that rises exactly when the cross entropy of the target does, by a gradient of the same direction.

    Of a label it is the log-odds against it, :math:`\log((1 - p_t) / p_t)`: the softmax of a confident model rounds to
    0 and 1, and the gradient of the cross entropy then loses its direction, or is zero.

    Raises:
      ValueError: there is one output only, whose cross entropy is always zero.
    """
    if callable(target):
        return -score(outputs, target, where=where)
    z = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
    target = jnp.asarray(target)
    if jnp.issubdtype(target.dtype, jnp.floating) and target.ndim:
        return -score(jax.nn.log_softmax(z), target, where=where)
    if z.size < 2:
        fix = (
            "Give what shall fall as a function of the outputs: target=lambda outputs: outputs[0]."
        )
        raise ValueError(complaint(where, "f", "give a score for each of several classes", 1, fix))
    others: Any = jnp.where(jnp.arange(z.size) == target, -jnp.inf, z)
    return jax.nn.logsumexp(others) - score(z, target, where=where)


def objective(
    where: str, f: Callable[[Any], Any], target: Target, *, targeted: bool, dtype: Any
) -> Callable[[Array], tuple[Float[Array, ""], Array]]:
    """What the attack raises, with its gradient: the loss of the true label, or what the wanted one loses in it.

    The model sees inputs of `dtype`, whatever the attack computes in.
    """
    sign = -1 if targeted else 1

    def raised(x: Array) -> Float[Array, ""]:
        return sign * loss(f(x.astype(dtype)), target, where=where)

    return lambda x: value_and_gradient(where, raised, x)
