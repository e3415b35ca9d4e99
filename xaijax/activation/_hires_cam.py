"""HiResCAM (Draelos & Carin, 2020; arXiv:2011.08891).

Notation: y^c the score of the target, A^k channel k of the activations, G^k its gradient.
"""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array

from xaijax.activation._cam_maps import CamMaps, class_activation_map, from_gradients
from xaijax.core._score import Target
from xaijax.core._tap import LayerName


@class_activation_map()
def hires_cam(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: LayerName = None,
    grid: tuple[int, int] | None = None,
) -> CamMaps:
    r"""HiResCAM: the gradient weighs each position, so only what the model used is shown.

    .. math::
        L^c = \mathrm{ReLU}\Big(\sum_k G^k \odot A^k\Big)

    Before its ReLU the map sums to the score (less the biases after the layer) wherever what follows the layer is
    piecewise linear; Grad-CAM's, which averages the gradient over the image, does not.

    Differs from the paper, which leaves the ReLU to the reader.

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
      >>> import jax.numpy as jnp
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return (A * jnp.array([[1.0], [2.0]])).sum((0, 1))
      >>> hires_cam(f, jnp.array([[[1.0], [3.0]], [[2.0], [0.0]]]), 0, layer="features")
      Array([[1., 6.],
             [2., 0.]], dtype=float32)

    References:
      draelos2020hirescam
    """

    def rule(A: Array, G: Array) -> tuple[Array, Array]:
        return jax.nn.relu((G * A).sum(-1)), G

    return from_gradients("hires_cam", f, x, target, layer, grid, rule)
