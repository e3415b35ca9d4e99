"""Grad-CAM (Selvaraju et al., ICCV 2017; arXiv:1610.02391v4).

Notation: y^c the score of the target, A^k channel k of the activations at a layer, Z the number of positions,
alpha_k^c the weight of channel k for the target.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from xaijax.core._explainer import explainer
from xaijax.core._layers import Layer
from xaijax.core._score import Target, score
from xaijax.core._tap import tap


class CamMaps(NamedTuple):
    """A class activation map and where it comes from.

    Attributes:
      map: the map at the layer's resolution, `(h, w)`.
      weights: the weight of each channel, `(K,)`.
      degenerate: whether the map is the same everywhere: it shows nothing.
      layer: the layer it was computed at.
    """

    map: Float[Array, "h w"]
    weights: Float[Array, " K"]
    degenerate: Bool[Array, ""]
    layer: Layer


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="CNN",
    attribution=False,
    static=("layer",),
)
def cam_maps(
    f: Callable[[Any], Any], x: Any, target: Target, *, layer: str | None = None
) -> CamMaps:
    """The map of `grad_cam` with its channel weights and the layer used.

    Args:
      f: the model, one example to its outputs, before the softmax.
      x: the input, one example.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      layer: a name or scope of `layers(f, x)`; by default the last spatial activation. Static.

    Returns:
      The map, the weights, whether the map is flat, and the layer.

    Raises:
      ValueError: as `grad_cam`.

    Examples:
      >>> import jax.numpy as jnp
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jnp.tanh(x)
      ...     return A.mean((0, 1))
      >>> cam_maps(f, jnp.ones((2, 2, 3)), 0, layer="features").layer.name
      'features/tanh'

    References:
      selvaraju2017gradcam
    """
    return _maps("cam_maps", f, x, target, layer)


@explainer(scope="local", access="white box", stage="post-hoc", models="CNN", static=("layer",))
def grad_cam(
    f: Callable[[Any], Any], x: Any, target: Target, *, layer: str | None = None
) -> Float[Array, "h w"]:
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
        nonlinearity. Static.

    Returns:
      The map at the layer's resolution, `(h, w)`, not negative, in units of the score per position; zeros where
      nothing speaks for the target.

    Raises:
      ValueError: the layer is unknown or not spatial, `f` gives no vector, `target` is out of range (traced: NaN,
        see `checked`), or `x` is not finite.
      TypeError: `f` cannot be traced.

    Examples:
      >>> import jax.numpy as jnp
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
    return _maps("grad_cam", f, x, target, layer).map


def _maps(
    where: str, f: Callable[[Any], Any], x: Any, target: Target, layer: str | None
) -> CamMaps:
    tapped = tap(f, x, layer, where=where)

    def y(d: Array) -> tuple[Array, Array]:
        outputs, A = tapped.run(d)
        return score(outputs, target, where=where), A

    G, A = jax.grad(y, has_aux=True)(tapped.layer.zeros())  # dy^c/dA
    A = tapped.layer.channels_last(where, A)
    G = tapped.layer.channels_last(where, G)
    alpha = G.mean(tuple(range(G.ndim - 1)))  # Eq. (1)
    cam = jax.nn.relu(jnp.matmul(A, alpha, precision="highest"))  # Eq. (2)
    return CamMaps(cam, alpha, cam.max() <= cam.min(), tapped.layer)
