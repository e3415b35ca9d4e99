"""The fast gradient sign method (Goodfellow, Shlens & Szegedy, ICLR 2015; arXiv:1412.6572v3, section 4).

Notation: x the input, y its label, J the cross entropy, epsilon the largest change of an element.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.attacks._attack import attack
from xaijax.attacks._ball import ball
from xaijax.attacks._loss import objective
from xaijax.core._score import Target


@attack(static=("targeted",))
def fgsm(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    epsilon: float,
    targeted: bool = False,
    low: Any = None,
    high: Any = None,
) -> Float[Array, "*shape"]:
    r"""One step of the size epsilon in every element, in the direction in which the loss rises.

    .. math:: x' = x + \epsilon \operatorname{sign}(\nabla_x J(x, y))

    Of a model that is linear it lowers the margin as far as any change of that size can.

    Differs from the paper in the loss where its gradient would round to zero: it is the log-odds against the label,
    whose gradient has the same direction. An element without gradient stays as it is.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: the input, one float array.
      target: the true label, or with `targeted` the one that is wanted: an output's index; float weights
        `(num_outputs,)`, such as a soft label; or a function `outputs -> scalar` of what shall fall (with `targeted`,
        rise).
      epsilon: the largest change of an element, in units of `x`; the paper's smallest is that of one bit of 8.
      targeted: whether the target is approached and not left. Static.
      low: the lowest value of an element: a number or an array that broadcasts to `x`, such as one for each channel
        after a normalisation; by default there is none.
      high: the highest value, likewise.

    Returns:
      The attacked input, of the shape and dtype of `x`, within the bounds.

    Raises:
      ValueError: `epsilon` is not above 0; `low` is above `high`, or `x` not between them (traced: NaN); `f` gives no
        vector, or `target` is out of range (traced: NaN).
      TypeError: `f` cannot be traced, or `x` is not one float array.

    Examples:
      >>> f = lambda x: jnp.stack([x @ jnp.array([2.0, -1.0, 0.0]), 0.0])
      >>> x = jnp.array([0.5, 0.5, 0.5])
      >>> fgsm(f, x, 0, epsilon=0.25)
      Array([0.25, 0.75, 0.5 ], dtype=float32)
      >>> f(x)[0] - f(fgsm(f, x, 0, epsilon=0.25))[0]  # epsilon * (2 + 1)
      Array(0.75, dtype=float32)

    References:
      goodfellow2015explaining
    """
    around = ball("fgsm", x, epsilon, "linf", low, high)
    _, G = objective("fgsm", f, target, targeted=targeted, dtype=x.dtype)(around.x)
    return around.bounded(around.x + epsilon * jnp.sign(G)).astype(x.dtype)
