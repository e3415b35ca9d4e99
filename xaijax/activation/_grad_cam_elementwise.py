"""Element-wise Grad-CAM: a variant of Grad-CAM (Selvaraju et al. 2017) known from pytorch-grad-cam.

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
def grad_cam_elementwise(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: LayerName = None,
    grid: tuple[int, int] | None = None,
) -> CamMaps:
    r"""Grad-CAM with the positive part of each product, before the sum over channels.

    .. math::
        L^c = \sum_k \mathrm{ReLU}(G^k \odot A^k)

    Evidence against the target in one channel cannot cancel evidence for it in another: where HiResCAM shows the
    balance, this shows the gross sum.

    Differs from no paper: it has none.

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
      ...     return A.sum((0, 1)) @ jnp.array([[1.0], [-1.0]])
      >>> grad_cam_elementwise(f, jnp.array([[[1.0, 5.0], [3.0, 1.0]]]), 0, layer="features")
      Array([[1., 3.]], dtype=float32)

    References:
      selvaraju2017gradcam, gildenblat2021pytorch
    """

    def rule(A: Array, G: Array) -> tuple[Array, Array]:
        return jax.nn.relu(G * A).sum(-1), G

    return from_gradients("grad_cam_elementwise", f, x, target, layer, grid, rule)
