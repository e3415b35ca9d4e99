"""Guided Grad-CAM (Selvaraju et al., ICCV 2017; arXiv:1610.02391v4, section 3.2).

Notation: L^c Grad-CAM's map, R the guided backpropagation of the score to the input.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array

from xaijax.activation import grad_cam
from xaijax.core._explainer import explainer
from xaijax.core._layers import image_axes
from xaijax.core._maps import resize
from xaijax.core._score import Target
from xaijax.propagation import guided_backprop


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="CNN or ViT",
    static=("layer", "grid"),
)
def guided_grad_cam(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: str | None = None,
    grid: tuple[int, int] | None = None,
) -> Array:
    r"""Guided backpropagation where Grad-CAM says that it matters.

    .. math::
        \mathrm{Up}(L^c) \odot R

    The fine detail is that of guided backpropagation, which hardly depends on the weights of the upper layers (Adebayo
    et al. 2018): read the place, not the texture.

    Differs from the paper in nothing.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax. It needs a
        rectifier.
      x: an image of floats.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      layer: of Grad-CAM, a name or scope of `layers(f, x)`; by default the last spatial activation. Static.
      grid: the height and width of the grid of a vision transformer's tokens, where it does not follow from the
        patch embedding. Static.

    Returns:
      One signed number for each element of `x`.

    Raises:
      ValueError: as `grad_cam` and `guided_backprop`.
      TypeError: `x` is no image of floats.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return A.sum((0, 1))
      >>> guided_grad_cam(f, jnp.array([[[1.0], [-3.0]]]), 0, layer="features")[..., 0]
      Array([[1., 0.]], dtype=float32)

    References:
      selvaraju2017gradcam
      adebayo2018sanity
    """
    axes = image_axes("guided_grad_cam", f, x)
    size = (x.shape[axes.height], x.shape[axes.width])
    L = resize(grad_cam(f, x, target, layer=layer, grid=grid), size)
    R = guided_backprop(f, x, target).transpose(axes)
    return (R * L[..., None]).transpose(*map(axes.index, range(3)))
