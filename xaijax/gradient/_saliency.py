"""Saliency (Simonyan, Vedaldi & Zisserman, ICLR 2014 workshop; arXiv:1312.6034v2).

Notation: y the score of the target, x the input.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.core._explainer import explainer
from xaijax.core._score import Target
from xaijax.core._score_gradient import input_gradient


@explainer(scope="local", access="white box", stage="post-hoc", models="neural network")
def saliency(f: Callable[[Any], Any], x: Any, target: Target) -> Float[Array, "*shape"]:
    r"""The magnitude of the gradient: how much the score moves when an element of the input does.

    .. math::
        S = \left| \frac{\partial y}{\partial x} \right|

    Differs from the paper in keeping the channels apart: its map of an image is `.max(-1)` of this, where the channels
    come last.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax: a saturated softmax has no gradient.
      x: the input, one float array.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.

    Returns:
      One number for each element of `x`, not negative, in units of the score per unit of `x`.

    Raises:
      ValueError: `f` gives no vector, `target` is out of range (traced: NaN, see `checked`), or `x` is not finite.
      TypeError: `f` cannot be traced, or `x` is not one float array.

    Examples:
      >>> f = lambda x: jnp.stack([x[0] * x[1], x[0] - 2.0 * x[1]])
      >>> saliency(f, jnp.array([3.0, 5.0]), 0)
      Array([5., 3.], dtype=float32)
      >>> saliency(f, jnp.array([3.0, 5.0]), 1)
      Array([1., 2.], dtype=float32)

    References:
      simonyan2014saliency
    """
    return jnp.abs(input_gradient("saliency", f, target)(x))
