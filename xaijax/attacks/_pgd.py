"""Projected gradient descent (Madry et al., ICLR 2018; arXiv:1706.06083v4).

Notation: x the input, y its label, L the loss, S the ball of radius epsilon, Pi the projection to it, alpha the step.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from xaijax.attacks._attack import attack
from xaijax.attacks._ball import ball, climb
from xaijax.attacks._loss import objective
from xaijax.core._score import Target


@attack(static=("norm", "num_steps", "random_start", "targeted"), positive=("step_size",))
def pgd(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    epsilon: float,
    norm: str = "linf",
    num_steps: int = 40,
    step_size: float | None = None,
    random_start: bool = True,
    targeted: bool = False,
    low: Any = None,
    high: Any = None,
) -> Float[Array, "*shape"]:
    r"""Steps in the direction in which the loss rises most, each projected to the ball around the input.

    .. math:: x^{t+1} = \Pi_{x + S}\big(x^t + \alpha \operatorname{sign}(\nabla_x L(x^t, y))\big)

    with the norm of the largest change; with the Euclidean one the step is along the gradient, scaled to the length
    alpha. The projection is followed by that to the bounds, so that both hold.

    Differs from the paper in returning the input of the highest loss that was met, and not the last: it is never
    weaker. And in the loss where its gradient would round to zero: see `fgsm`. Restarts are a `vmap` over keys.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: the input, one float array.
      target: the true label, or with `targeted` the one that is wanted: an output's index; float weights
        `(num_outputs,)`, such as a soft label; or a function `outputs -> scalar` of what shall fall (with `targeted`,
        rise).
      key: where in the ball it starts.
      epsilon: the radius of the ball, in units of `x`.
      norm: `"linf"`, the largest change of an element, or `"l2"`, the Euclidean norm of the change. Static.
      num_steps: how many steps; the paper's on MNIST. It costs one gradient more. Static.
      step_size: alpha, in units of `x`; by default 2.5 epsilon / num_steps, the paper's for attacks of 100 steps.
      random_start: whether it starts at a place drawn evenly from the ball, as the paper does; otherwise at `x`, as the
        basic iterative method. Static.
      targeted: whether the target is approached and not left. Static.
      low: the lowest value of an element: a number or an array that broadcasts to `x`, such as one for each channel
        after a normalisation; by default there is none.
      high: the highest value, likewise.

    Returns:
      The attacked input, of the shape and dtype of `x`, up to rounding within the ball, and within the bounds.

    Raises:
      ValueError: `epsilon` or `step_size` is not above 0; there is no such norm; `num_steps` < 1; `low` is above
        `high`, or `x` not between them (traced: NaN); `f` gives no vector, or `target` is out of range (traced: NaN).
      TypeError: `f` cannot be traced, or `x` is not one float array.

    Examples:
      >>> import jax
      >>> f, key = lambda x: jnp.stack([x @ jnp.array([3.0, -4.0]), 0.0]), jax.random.key(0)
      >>> pgd(f, jnp.zeros(2), 0, key, epsilon=0.5)
      Array([-0.5,  0.5], dtype=float32)
      >>> pgd(f, jnp.zeros(2), 0, key, epsilon=0.5, norm="l2", random_start=False).round(3)  # along (-3, 4) / 5
      Array([-0.3,  0.4], dtype=float32)

    References:
      madry2018towards
    """
    around = ball("pgd", x, epsilon, norm, low, high)
    look = objective("pgd", f, target, targeted=targeted, dtype=x.dtype)
    start = around.draw(key) if random_start else around.x
    found, _ = climb(around, start, look, (start, -jnp.inf), num_steps, step_size)
    return found.astype(x.dtype)
