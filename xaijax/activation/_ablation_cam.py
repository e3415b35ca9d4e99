"""Ablation-CAM (Desai & Ramaswamy, WACV 2020).

Notation: y^c the score of the target, A^k channel k of the activations, y_k^c the score with that channel set to
zero, w_k^c the weight of the channel.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from xaijax.activation._cam_maps import (
    CamMaps,
    check_read,
    class_activation_map,
    from_activations,
)
from xaijax.activation._grad_cam import weighted_sum
from xaijax.core._affine import not_affine
from xaijax.core._layer import Layer
from xaijax.core._lower import lower
from xaijax.core._sampling import chunk_size, map_chunks
from xaijax.core._score import Target, score
from xaijax.core._tap import LayerName


@class_activation_map(static=("batch_size",))
def ablation_cam(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: LayerName = None,
    grid: tuple[int, int] | None = None,
    batch_size: int | None = None,
) -> CamMaps:
    r"""Ablation-CAM: channels weighed by how much the score falls when they are switched off.

    .. math::
        w_k^c = \frac{y^c - y_k^c}{|y^c|}, \qquad L^c = \mathrm{ReLU}\Big(\sum_k w_k^c A^k\Big)

    Nothing saturates, as a gradient may. What comes before the layer is computed once; what comes after it, once for
    every channel; unless that is affine, as after the last feature map of most networks: then the fall is exactly
    the sum of gradient times activation, and costs one backward pass of it.

    Differs from the paper in the absolute value: a negative score would turn every weight around. Of a vision
    transformer only the patches' tokens are switched off.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: the input, one example.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      layer: a name or scope of `layers(f, x)`; by default the last spatial activation. A tuple of them gives a tuple
        of maps. Static.
      grid: the height and width of the grid of a vision transformer's tokens, where it does not follow from the
        patch embedding. Static.
      batch_size: how many channels are switched off at once; by default what stays in the cache. Static.

    Returns:
      The map at the layer's resolution, `(h, w)`, not negative; `cam_maps` tells its weights and layer.

    Raises:
      ValueError: as `grad_cam`.

    Examples:
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return A.mean((0, 1)) @ jnp.array([[1.0], [-1.0]]) + 1.0
      >>> ablation_cam(f, jnp.array([[[1.0, 0.0], [3.0, 2.0]]]), 0, layer="features")  # y = 2, y_k = 0 and 3
      Array([[1., 2.]], dtype=float32)

    References:
      desai2020ablationcam
    """

    def rule(A: Array, rest: Callable[[Array], Any], at: Layer) -> tuple[Array, Array]:
        def y(features: Array) -> Array:
            return score(rest(features), target, where="ablation_cam")

        check_read("ablation_cam", target, y, A, at)
        channels, fast = jnp.arange(A.shape[-1]), lower(y)
        if not_affine(y, A):
            chunk = chunk_size("ablation_cam", batch_size, A.shape[-1], A)
            y_k = map_chunks(lambda k: fast(jnp.where(channels == k, 0, A)), channels, chunk)
            fall = fast(A) - y_k
        else:
            fall = (lower(jax.grad(y))(A) * A).sum(tuple(range(A.ndim - 1)))
        y_c = jnp.abs(fast(A))
        w = (fall / jnp.where(y_c == 0, 1.0, y_c)).astype(A.dtype)
        return weighted_sum(A, w), w

    return from_activations("ablation_cam", f, x, layer, grid, rule)
