"""Input times gradient (Shrikumar et al., 2016; arXiv:1605.01713v3).

Notation: y the score of the target, x the input.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float

from xaijax.core._explainer import explainer
from xaijax.core._score import Target
from xaijax.core._score_gradient import input_gradient


@explainer(scope="local", access="white box", stage="post-hoc", models="neural network")
def input_x_gradient(f: Callable[[Any], Any], x: Any, target: Target) -> Float[Array, "*shape"]:
    r"""The input times its gradient: the terms of the score of a linear model.

    .. math::
        x \odot \frac{\partial y}{\partial x}

    Of a network of rectifiers without biases it is LRP with the rule 0.

    Differs from the paper in nothing.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: the input, one float array.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.

    Returns:
      One signed number for each element of `x`, in units of the score. Of a network that is piecewise linear without
      biases they sum to the score.

    Raises:
      ValueError: as `saliency`.
      TypeError: as `saliency`.

    Examples:
      >>> import jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x[0] - 2.0 * x[1], x[0] * x[1]])
      >>> input_x_gradient(f, jnp.array([3.0, 5.0]), 0)
      Array([  3., -10.], dtype=float32)

    References:
      shrikumar2016not
    """
    return x * input_gradient("input_x_gradient", f, target)(x)
