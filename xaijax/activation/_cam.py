"""CAM (Zhou et al., CVPR 2016; arXiv:1512.04150).

Notation: y^c the score of the target, A^k channel k of the last feature maps, Z the number of positions, w_k^c the
weight of channel k in the dense layer after global average pooling.
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
from xaijax.core._affine import not_pooled_and_affine
from xaijax.core._errors import complaint
from xaijax.core._layer import Layer
from xaijax.core._lower import lower
from xaijax.core._score import Target, score
from xaijax.core._tap import LayerName


@class_activation_map()
def cam(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: LayerName = None,
    grid: tuple[int, int] | None = None,
) -> CamMaps:
    r"""Class activation mapping: the feature maps, weighed by the dense layer's weights of the class.

    .. math::
        y^c = \frac{1}{Z} \sum_{ij} \sum_k w_k^c A_{ij}^k + b^c, \qquad M^c = \sum_k w_k^c A^k

    For a network that ends in global average pooling and one dense layer, which is checked. There it is Z times
    Grad-CAM's map before its ReLU, and its mean is the score less the bias.

    Differs from the paper in nothing.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: the input, one example.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      layer: a name or scope of `layers(f, x)`; by default the last spatial activation, which is what is pooled.
        Static.
      grid: the height and width of the grid of a vision transformer's tokens, where it does not follow from the
        patch embedding. Static.

    Returns:
      The map at the layer's resolution, `(h, w)`, signed; its mean is the score less the bias. `cam_maps` tells its
      weights and layer.

    Raises:
      ValueError: as `grad_cam`, or what follows the layer is more than global average pooling and a dense layer.

    Examples:
      >>> head = jnp.array([[1.0, -1.0], [0.0, 2.0]])
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return A.mean((0, 1)) @ head
      >>> cam(f, jnp.array([[[1.0, 0.0], [3.0, 1.0]]]), 1, layer="features")
      Array([[-1., -1.]], dtype=float32)

    References:
      zhou2016learning
    """

    def rule(A: Array, rest: Callable[[Array], Any], at: Layer) -> tuple[Array, Array]:
        if found := not_pooled_and_affine(rest, A):
            rule = "be global average pooling and one dense layer after the layer"
            fix = "Grad-CAM is the same for such networks, and goes for any other: xaijax.grad_cam."
            got = f"{found} after '{at.name}'"
            raise ValueError(complaint("cam", "f", rule, got, fix))

        def y(A: Array) -> Array:
            return score(rest(A), target, where="cam")

        check_read("cam", target, y, A, at)
        G = lower(jax.grad(y))(A)
        w = G.sum(tuple(range(A.ndim - 1)))  # dy^c/dA is w_k^c / Z at every position
        return jnp.matmul(A, w, precision="highest"), w

    return from_activations("cam", f, x, layer, grid, rule)
