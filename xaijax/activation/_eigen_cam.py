"""Eigen-CAM (Muhammad & Yeasin, IJCNN 2020; arXiv:2008.00299).

Notation: A the activations as a matrix of positions by channels, V their right singular vectors.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from xaijax.activation._cam_maps import CamMaps, class_activation_map, from_activations
from xaijax.core._score import Target
from xaijax.core._tap import LayerName


@class_activation_map()
def eigen_cam(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: LayerName = None,
    grid: tuple[int, int] | None = None,
) -> CamMaps:
    r"""Eigen-CAM: the activations' projection on their first principal component.

    .. math::
        A = U \Sigma V^\top, \qquad L = A v_1

    Class-agnostic: it shows what the layer is busy with, whatever the target. The components are those of the
    activations less their mean over the positions. The sign of a component is arbitrary; as in Seg-Eigen-CAM it is
    chosen so that the value furthest from zero is positive.

    Differs from the paper, which does not take the mean away: then the first component is nearly the mean itself.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: the input, one example.
      target: not looked at beyond its check: the map is the same for every target.
      layer: a name or scope of `layers(f, x)`; by default the last spatial activation. A tuple of them gives a tuple
        of maps. Static.
      grid: the height and width of the grid of a vision transformer's tokens, where it does not follow from the
        patch embedding. Static.

    Returns:
      The map at the layer's resolution, `(h, w)`, signed; `cam_maps` tells its weights and layer.

    Raises:
      ValueError: as `grad_cam`.

    Examples:
      >>> import jax
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return A.mean((0, 1))
      >>> A = jnp.array([[[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]]])
      >>> [round(float(value), 3) for value in eigen_cam(f, A, 0, layer="features")[0]]
      [-1.667, -1.667, 3.333]

    References:
      muhammad2020eigencam, chung2025segeigencam
    """

    def rule(A: Array, *_: Any) -> tuple[Array, Array]:
        return first_component(A)

    return from_activations("eigen_cam", f, x, layer, grid, rule)


def first_component(A: Array) -> tuple[Array, Array]:
    """The projection of positions on their first principal component, and the component."""
    rows = A.reshape(-1, A.shape[-1])
    rows = (rows - rows.mean(0)).astype(jnp.promote_types(A.dtype, jnp.float32))
    # Of the two Gram matrices the smaller has the same singular vectors for a fraction of the work.
    few = rows.shape[0] <= rows.shape[1]
    gram = jnp.matmul(*((rows, rows.T) if few else (rows.T, rows)), precision="highest")
    vector = jnp.linalg.eigh(gram)[1][:, -1]
    along = rows.T @ vector if few else vector
    size = jnp.linalg.norm(along)
    component = along / jnp.where(size > 0, size, 1.0)
    projection = jnp.matmul(rows, component, precision="highest").reshape(A.shape[:-1])
    sign = orientation(projection)
    return (sign * projection).astype(A.dtype), (sign * component).astype(A.dtype)


def orientation(projection: Array) -> Array:
    """The sign for which the value furthest from zero is positive: 1 or -1."""
    return jnp.where(-projection.min() > projection.max(), -1.0, 1.0).astype(projection.dtype)
