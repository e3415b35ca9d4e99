"""Grad-CAM (Selvaraju et al., ICCV 2017; arXiv:1610.02391v4).

Notation: y^c the score of the target, A^k channel k of the activations at a layer, Z the number of positions,
alpha_k^c the weight of channel k for the target.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from xaijax.activation._cam_maps import CamMaps, class_activation_map, from_gradients
from xaijax.core._score import Target
from xaijax.core._tap import LayerName


@class_activation_map()
def grad_cam(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: LayerName = None,
    grid: tuple[int, int] | None = None,
) -> CamMaps:
    r"""Gradient-weighted class activation mapping.

    .. math::
        \alpha_k^c = \frac{1}{Z} \sum_{ij} \frac{\partial y^c}{\partial A_{ij}^k}, \qquad
        L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k^c A^k\Big)

    One forward pass, and the backward pass of what comes after the layer.

    Differs from the paper in nothing; its reference code sums the gradients instead of taking their mean, which
    scales the map. Not resized and not normalised: see `resize` and `normalize`.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax: a saturated softmax has no gradient.
      x: the input, one example without batch axis, in any layout the model takes.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      layer: a name or scope of `layers(f, x)`; by default the last spatial activation. Take it after the
        nonlinearity. A tuple of them gives a tuple of maps, in one backward pass. Static.
      grid: the height and width of the grid of a vision transformer's tokens, where it does not follow from the
        patch embedding. Static.

    Returns:
      The map at the layer's resolution, `(h, w)`, not negative, in units of the score per position; zeros where
      nothing speaks for the target. `cam_maps` tells its weights and layer.

    Raises:
      ValueError: the layer is unknown, not spatial or of no influence, `f` gives no vector, `target` is out of range
        (traced: NaN, see `checked`), or `x` is not finite.
      TypeError: `f` cannot be traced.

    Examples:
      >>> head = jnp.array([[1.0, -1.0], [0.0, 2.0]])
      >>> def f(x):  # feature maps, global average pooling, a dense layer
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return A.mean((0, 1)) @ head
      >>> A = jnp.array([[[1.0, 0.0], [3.0, 1.0]]])
      >>> grad_cam(f, A, 1, layer="features")  # A @ head[:, 1] / 2, its negative part cut off
      Array([[0., 0.]], dtype=float32)
      >>> grad_cam(f, A, 0, layer="features")
      Array([[0.5, 1.5]], dtype=float32)

    References:
      selvaraju2017gradcam
    """
    return from_gradients("grad_cam", f, x, target, layer, grid, weighted_by_mean)


def weighted_by_mean(A: Array, G: Array) -> tuple[Array, Array]:
    """Grad-CAM's map and weights, of activations and gradients `(h, w, K)`."""
    alpha = G.mean(tuple(range(G.ndim - 1)))  # Eq. (1)
    return weighted_sum(A, alpha), alpha  # Eq. (2)


def weighted_sum(A: Array, alpha: Array) -> Array:
    """The positive part of the weighted sum of the channels."""
    return jax.nn.relu(jnp.matmul(A, alpha, precision="highest"))
