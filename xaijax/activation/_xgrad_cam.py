"""XGrad-CAM (Fu et al., BMVC 2020; arXiv:2008.02312).

Notation: y^c the score of the target, A^k channel k of the activations, G^k its gradient, alpha_k^c the weight of
channel k.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from xaijax.activation._cam_maps import CamMaps, class_activation_map, from_gradients
from xaijax.activation._grad_cam import weighted_sum
from xaijax.core._score import Target
from xaijax.core._tap import LayerName


@class_activation_map()
def xgrad_cam(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: LayerName = None,
    grid: tuple[int, int] | None = None,
) -> CamMaps:
    r"""Axiom-based Grad-CAM: weights that come as close to sensitivity and conservation as channel weights can.

    .. math::
        \alpha_k^c = \sum_{ij} \frac{A_{ij}^k}{\sum_{ab} A_{ab}^k} \, G_{ij}^k, \qquad
        L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k^c A^k\Big)

    A channel that sums to zero gets the weight 0; the paper does not say.

    Differs from the paper in nothing else.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: the input, one example.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      layer: a name or scope of `layers(f, x)`; by default the last spatial activation. A tuple of them gives a tuple
        of maps. Static.
      grid: the height and width of the grid of a vision transformer's tokens, where it does not follow from the
        patch embedding. Static.

    Returns:
      The map at the layer's resolution, `(h, w)`, not negative; `cam_maps` tells its weights and layer.

    Raises:
      ValueError: as `grad_cam`.

    Examples:
      >>> import jax
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return (A * jnp.array([[[1.0], [3.0]]])).sum((0, 1))
      >>> xgrad_cam(f, jnp.array([[[3.0], [1.0]]]), 0, layer="features")  # weight (3 * 1 + 1 * 3) / 4
      Array([[4.5, 1.5]], dtype=float32)

    References:
      fu2020xgradcam
    """

    def rule(A: Array, G: Array) -> tuple[Array, Array]:
        space = tuple(range(A.ndim - 1))
        total = A.sum(space)
        weighed = (G * A).sum(space)
        alpha = jnp.where(total == 0, 0.0, weighed / jnp.where(total == 0, 1.0, total))
        return weighted_sum(A, alpha), alpha

    return from_gradients("xgrad_cam", f, x, target, layer, grid, rule)
