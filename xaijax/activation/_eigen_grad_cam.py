"""Eigen-Grad-CAM: Eigen-CAM of the activations times their gradients.

Notation: A^k channel k of the activations, G^k = dy^c/dA^k its gradient. A combination of Grad-CAM (Selvaraju et al.
2017) and Eigen-CAM (Muhammad & Yeasin 2020) that has no paper of its own.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array

from xaijax.activation._cam_maps import CamMaps, class_activation_map, from_gradients
from xaijax.activation._eigen_cam import first_component
from xaijax.core._score import Target
from xaijax.core._tap import LayerName


@class_activation_map()
def eigen_grad_cam(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: LayerName = None,
    grid: tuple[int, int] | None = None,
) -> CamMaps:
    r"""Eigen-CAM that tells classes apart: the first principal component of activations times gradients.

    .. math::
        A \odot G = U \Sigma V^\top, \qquad L^c = (A \odot G) \, v_1

    Mean and sign are treated as in `eigen_cam`.

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
      The map at the layer's resolution, `(h, w)`, signed; `cam_maps` tells its weights and layer.

    Raises:
      ValueError: as `grad_cam`.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return A.sum((0, 1)) @ jnp.array([[1.0], [0.0]])
      >>> eigen_grad_cam(f, jnp.array([[[0.0, 9.0], [0.0, 0.0], [3.0, 4.0]]]), 0, layer="features").round(3)
      Array([[-1., -1.,  2.]], dtype=float32)

    References:
      muhammad2020eigencam, selvaraju2017gradcam
    """

    def rule(A: Array, G: Array) -> tuple[Array, Array]:
        return first_component(A * G)

    return from_gradients("eigen_grad_cam", f, x, target, layer, grid, rule)
