"""Conductance of a layer (Dhamdhere, Sundararajan & Yan, ICLR 2019; arXiv:1805.12233v1).

Notation: y the score of the target, A the activations at a layer, x the input, x' the baseline, gamma the straight line
between them.
"""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array

from xaijax.core._explainer import explainer
from xaijax.core._score import Target
from xaijax.core._score_gradient import activation_gradient
from xaijax.core._tap import LayerName, tap
from xaijax.gradient._path import Quadrature, line_integral


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="neural network",
    static=("layer", "num_steps", "quadrature", "batch_size"),
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
    quadrature: Quadrature = "gauss_legendre",
    batch_size: int | None = None,
) -> Any:
    r"""Conductance: the part of integrated gradients that flows through each unit of a layer.

    .. math::
        \sum_i (x_i - x'_i) \int_0^1 \frac{\partial y}{\partial A} \frac{\partial A}{\partial x_i}
        \big(\gamma(\alpha)\big) \, d\alpha
        = \int_0^1 \frac{\partial y}{\partial A} \odot \frac{d A(\gamma(\alpha))}{d\alpha} \, d\alpha

    The second form is computed: a derivative along the line, forward, and a gradient at the layer, backward, for each
    step.

    Differs from the paper in the quadrature, as `integrated_gradients` does. Captum replaces :math:`dA` by the
    difference of the activations between two nodes, which converges to this.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one float array.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      layer: a name or scope of `layers(f, x)`; by default the last spatial activation. A tuple of them gives a tuple
        of conductances. Static.
      baseline: a number or an array that broadcasts to `x`, or a stack of baselines `(n, *x.shape)`, over which the
        mean is taken.
      num_steps: how many points of the line. Static.
      quadrature: "gauss_legendre" or "midpoint". Static.
      batch_size: how many points are evaluated at once; by default what stays in the cache. Static.

    Returns:
      One signed number for each activation, in the layer's shape, in units of the score. If everything flows through
      the layer they sum to :math:`y(x) - y(x')`, up to the quadrature's error.

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
    """
    opened = tap(f, x, layer, where="conductance")
    gradient, zeros = activation_gradient("conductance", opened, target), opened.zeros()

    def activation(point: Array) -> Any:
        return opened.run(zeros, point)[1]

    def integrand(point: Array, direction: Array) -> Any:
        _, dA = jax.jvp(activation, (point,), (direction,))
        return jax.tree.map(lambda G, dA: G * dA, gradient(point), dA)

    rule = (num_steps, quadrature, batch_size)
    return line_integral("conductance", integrand, zeros, x, baseline, *rule)
