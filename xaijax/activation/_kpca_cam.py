"""KPCA-CAM (Karmani et al., 2024; arXiv:2410.00267).

Notation: A the activations as a matrix of positions by channels, k a kernel, K_ab = k(A_a, A_b) of two positions,
gamma the kernel's width.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array

from xaijax.activation._cam_maps import CamMaps, class_activation_map, from_activations
from xaijax.activation._eigen_cam import orientation
from xaijax.core._errors import complaint
from xaijax.core._score import Target
from xaijax.core._tap import LayerName


@class_activation_map(static=("kernel",), positive=("gamma",))
def kpca_cam(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: LayerName = None,
    grid: tuple[int, int] | None = None,
    kernel: Literal["sigmoid", "rbf", "linear"] = "sigmoid",
    gamma: float | None = None,
) -> CamMaps:
    r"""Eigen-CAM with a kernel: the positions' projection on the first component of a kernel PCA.

    .. math::
        \tilde{K} = H K H, \qquad \tilde{K} u_1 = \lambda_1 u_1, \qquad L = \sqrt{\lambda_1} \, u_1

    with :math:`H` the centring matrix, and :math:`k(a, b)` one of :math:`\tanh(\gamma \, a^\top b + 1)`,
    :math:`\exp(-\gamma \|a - b\|^2)` and :math:`a^\top b`, which is `eigen_cam`. Class-agnostic. The matrix has the
    number of positions squared: meant for deep layers.

    Differs from the paper in the sign, which is chosen as in `eigen_cam`; the activations lose their mean first.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: the input, one example.
      target: not looked at beyond its check: the map is the same for every target.
      layer: a name or scope of `layers(f, x)`; by default the last spatial activation. A tuple of them gives a tuple
        of maps. Static.
      grid: the height and width of the grid of a vision transformer's tokens, where it does not follow from the
        patch embedding. Static.
      kernel: "sigmoid", "rbf" or "linear". Static.
      gamma: the kernel's width; by default one over the number of channels.

    Returns:
      The map at the layer's resolution, `(h, w)`, signed. `cam_maps` tells its layer, and ones for its weights: a
      component of a kernel has none for channels.

    Raises:
      ValueError: as `grad_cam`, or an unknown kernel.

    Examples:
      >>> import jax
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return A.mean((0, 1))
      >>> A = jnp.array([[[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]]])
      >>> [round(float(value), 3) for value in kpca_cam(f, A, 0, layer="features", kernel="linear")[0]]
      [-1.667, -1.667, 3.333]

    References:
      karmani2024kpcacam
    """
    if kernel not in KERNELS:
        rule = f"be one of {', '.join(KERNELS)}"
        raise ValueError(complaint("kpca_cam", "kernel", rule, repr(kernel)))

    def project(A: Array, *_: Any) -> tuple[Array, Array]:
        rows = A.reshape(-1, A.shape[-1]).astype(jnp.promote_types(A.dtype, jnp.float32))
        rows = rows - rows.mean(0)
        K = KERNELS[kernel](rows, 1.0 / rows.shape[1] if gamma is None else gamma)
        noise = rows.shape[0] * jnp.finfo(K.dtype).eps * jnp.abs(K).max()
        K = K - K.mean(0)
        K = K - K.mean(1, keepdims=True)  # after the other, which takes that one's rounding away
        values, vectors = jnp.linalg.eigh(K)
        # Of positions that are all alike, the largest eigenvalue is rounding.
        largest: Any = jnp.where(values[-1] > noise, values[-1], 0.0)
        top = jnp.sqrt(largest) * vectors[:, -1]
        saliency = (orientation(top) * top).reshape(A.shape[:-1]).astype(A.dtype)
        return saliency, jnp.ones_like(A, shape=A.shape[-1:])

    return from_activations("kpca_cam", f, x, layer, grid, project)


def _product(rows: Array) -> Array:
    return jnp.matmul(rows, rows.T, precision="highest")


def _distances(rows: Array) -> Array:
    squares = (rows**2).sum(1)
    return jnp.maximum(squares + squares[:, None] - 2 * _product(rows), 0.0)


KERNELS: dict[str, Callable[[Array, Any], Array]] = {
    "sigmoid": lambda rows, gamma: jnp.tanh(gamma * _product(rows) + 1.0),
    "rbf": lambda rows, gamma: jnp.exp(-gamma * _distances(rows)),
    "linear": lambda rows, gamma: _product(rows),
}
