"""Internal influence (Leino et al., ITC 2018; arXiv:1802.03788v2).

Notation: y the score of the target (the quantity of interest), A the activations at a layer (the slice), x the input,
x' the baseline; the distribution of interest is uniform on the straight line gamma between them.
"""

from collections.abc import Callable
from typing import Any

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
def internal_influence(
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
    r"""Internal influence: the mean gradient at a layer, on the straight line from a baseline to the input.

    .. math::
        \int_0^1 \frac{\partial y}{\partial A}\big(\gamma(\alpha)\big) \, d\alpha

    Differs from the paper in nothing, where its distribution of interest is that line. It is not multiplied by the
    activations; for what sums to a difference of scores see `conductance`.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one float array.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      layer: a name or scope of `layers(f, x)`; by default the last spatial activation. A tuple of them gives a tuple
        of influences, in one backward pass for each step. Static.
      baseline: a number or an array that broadcasts to `x`, or a stack of baselines `(n, *x.shape)`, over which the
        mean is taken.
      num_steps: how many points of the line. Static.
      quadrature: "gauss_legendre" or "midpoint". Static.
      batch_size: how many points are evaluated at once; by default what stays in the cache. Static.

    Returns:
      One signed number for each activation, in the layer's shape, in units of the score per unit of the activation.

    Raises:
      ValueError: as `conductance`.
      TypeError: as `conductance`.

    Examples:
      >>> import jax.numpy as jnp
      >>> f = lambda x: jnp.square(jnp.tanh(x)) * 0.0 + jnp.square(x - 1.0)
      >>> found = internal_influence(f, jnp.array([3.0, 1.0]), jnp.ones(2), layer="sub")
      >>> [f"{a:.3f}" for a in found]  # 2 A, and A goes from -1 to 2 and from -1 to 0
      ['1.000', '-1.000']

    References:
      leino2018influence
    """
    opened = tap(f, x, layer, where="internal_influence")
    gradient = activation_gradient("internal_influence", opened, target)

    def integrand(point: Array, _: Array) -> Any:
        return gradient(point)

    rule = (num_steps, quadrature, batch_size)
    return line_integral("internal_influence", integrand, opened.zeros(), x, baseline, *rule)
