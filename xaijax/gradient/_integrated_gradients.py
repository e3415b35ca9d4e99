"""Integrated gradients (Sundararajan, Taly & Yan, ICML 2017; arXiv:1703.01365v2).

Notation: y the score of the target, x the input, x' the baseline.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float

from xaijax.core._explainer import explainer
from xaijax.core._score import Target
from xaijax.core._score_gradient import input_gradient
from xaijax.gradient._path import Quadrature, line_integral


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="neural network",
    static=("num_steps", "quadrature", "batch_size"),
    baselines=("baseline",),
)
def integrated_gradients(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    baseline: Any = 0.0,
    num_steps: int = 50,
    quadrature: Quadrature = "gauss_legendre",
    batch_size: int | None = None,
) -> Float[Array, "*shape"]:
    r"""Integrated gradients: the gradients on the straight line from a baseline to the input.

    .. math::
        (x - x') \odot \int_0^1 \frac{\partial y}{\partial x}\big(x' + \alpha (x - x')\big) \, d\alpha

    One gradient for each step and each baseline. The integral is a quadrature of `num_steps` nodes: Gauss-Legendre
    converges fast on a smooth model; on one with rectifiers both are about as good.

    Differs from the paper in the quadrature: its sum takes the right ends of the steps. With several baselines it is
    the mean over them; for random ones see `expected_gradients`.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one float array.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      baseline: an input in which nothing is present: a number or an array that broadcasts to `x`, or a stack of
        baselines `(n, *x.shape)`.
      num_steps: how many points of the line. Static.
      quadrature: "gauss_legendre" or "midpoint". Static.
      batch_size: how many points are evaluated at once; by default what stays in the cache. Static.

    Returns:
      One signed number for each element of `x`, in units of the score. They sum to :math:`y(x) - y(x')`, for several
      baselines to the mean of that, up to the quadrature's error.

    Raises:
      ValueError: the baseline has another shape or is not finite; and as `saliency`.
      TypeError: as `saliency`.

    Examples:
      >>> import jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x[0] * x[1], x[0]])
      >>> found = integrated_gradients(f, jnp.array([3.0, 4.0]), 0)  # 3 * 4, half of it each
      >>> [f"{a:.4f}" for a in found]
      ['6.0000', '6.0000']
      >>> found = integrated_gradients(f, jnp.array([3.0, 4.0]), 0, baseline=jnp.array([1.0, 4.0]))
      >>> [f"{a:.4f}" for a in found]  # 3 * 4 - 1 * 4, of the element that differs
      ['8.0000', '0.0000']

    References:
      sundararajan2017axiomatic
    """
    gradient = input_gradient("integrated_gradients", f, target)

    def integrand(point: Array, direction: Array) -> Array:
        return direction * gradient(point)  # Eq. (1)

    rule = (num_steps, quadrature, batch_size)
    return line_integral("integrated_gradients", integrand, x, x, baseline, *rule)
