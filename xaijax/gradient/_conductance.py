"""Conductance of a layer (Dhamdhere, Sundararajan & Yan, ICLR 2019; arXiv:1805.12233v1).

Notation: y the score of the target, A the activations at a layer, x the input, x' the baseline, gamma the straight line
between them, on which the points gamma_0 = x', ..., gamma_n = x lie.
"""

from collections.abc import Callable
from typing import Any

from xaijax.core._explainer import explainer
from xaijax.core._score import Target
from xaijax.core._score_gradient import activation_and_gradient
from xaijax.core._tap import LayerName, tap
from xaijax.gradient._path import integral_of_differences


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="neural network",
    static=("layer", "num_steps", "batch_size"),
    baselines=("baseline",),
)
def conductance(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: LayerName = None,
    baseline: Any = 0.0,
    num_steps: int = 50,
    batch_size: int | None = None,
) -> Any:
    r"""Conductance: the part of integrated gradients that flows through each unit of a layer.

    .. math::
        \sum_i (x_i - x'_i) \int_0^1 \frac{\partial y}{\partial A} \frac{\partial A}{\partial x_i}
        \big(\gamma(\alpha)\big) \, d\alpha
        = \int_\gamma \frac{\partial y}{\partial A} \odot dA
        \approx \sum_{k=1}^n \tfrac12 \Big(\frac{\partial y}{\partial A}(\gamma_{k-1})
        + \frac{\partial y}{\partial A}(\gamma_k)\Big) \odot \big(A(\gamma_k) - A(\gamma_{k-1})\big)

    Differs from the paper in the last step, by which a point costs a forward pass and the backward pass of what comes
    after the layer (Shrikumar, Su & Kundaje 2018). They take the gradient at one end of a step, as captum does; the
    mean of both makes the error of a smooth network fall by the square of `num_steps`. Exact if what comes after the
    layer is linear.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one float array.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      layer: a name or scope of `layers(f, x)`; by default the last spatial activation. A tuple of them gives a tuple
        of conductances. Static.
      baseline: a number or an array that broadcasts to `x`, or a stack of baselines `(n, *x.shape)`, over which the
        mean is taken.
      num_steps: into how many parts the line is cut: one point more is evaluated. Static.
      batch_size: how many points are evaluated at once; by default what stays in the cache. Static.

    Returns:
      One signed number for each activation, in the layer's shape, in units of the score. If everything flows through
      the layer they sum to :math:`y(x) - y(x')`, up to the sum's error.

    Raises:
      ValueError: as `layer_gradient` and `integrated_gradients`.
      TypeError: `f` cannot be traced, or `x` is not one float array.

    Examples:
      >>> import jax.numpy as jnp
      >>> f = lambda x: jnp.square(x + 1.0) * jnp.array([1.0, 10.0])
      >>> found = conductance(f, jnp.array([1.0, 2.0]), jnp.ones(2), layer="square")
      >>> [f"{c:.3f}" for c in found]  # 2 ** 2 - 1 ** 2 and 10 * (3 ** 2 - 1 ** 2)
      ['3.000', '80.000']

    References:
      dhamdhere2019important
      shrikumar2018computationally
    """
    opened = tap(f, x, layer, where="conductance")
    both, rule = activation_and_gradient("conductance", opened, target), (num_steps, batch_size)
    return integral_of_differences("conductance", both, x, baseline, *rule)
