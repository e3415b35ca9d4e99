"""Grad-CAM times LRP (Dhore et al., 2024; arXiv:2405.12175).

Notation: G Grad-CAM's map scaled to a largest value of 1 and resized to the input, tau the threshold under which it is
noise, R the relevance by LRP summed over the channels, positive and scaled alike, sigma the width of the blur.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.activation._cam_maps import by_gradient, from_activation
from xaijax.activation._grad_cam import weighted_by_mean
from xaijax.core._explainer import explainer
from xaijax.core._layers import image_axes
from xaijax.core._maps import blur, resize
from xaijax.core._score import Target
from xaijax.core._tap import cut, open_layers
from xaijax.propagation import Composite, epsilon_plus
from xaijax.propagation._relevance import scored, walk

_DEFAULT = epsilon_plus()


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="CNN or ViT",
    static=("layer", "grid"),
    not_negative=("threshold", "sigma"),
)
def grad_cam_lrp(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: str | None = None,
    grid: tuple[int, int] | None = None,
    composite: Composite = _DEFAULT,
    threshold: float | None = None,
    sigma: float = 3.0,
) -> Float[Array, "H W"]:
    r"""The pixels that LRP finds, where Grad-CAM says that it matters.

    .. math::
        H = \mathrm{blur}_\sigma\big(G \, \mathbf{1}[G \ge \tau] \odot R\big), \quad
        G = \mathrm{Up}\Big(\frac{L^c}{\max L^c}\Big), \quad
        R = \frac{\mathrm{ReLU}(\sum_k R_k)}{\max \mathrm{ReLU}(\sum_k R_k)}

    The product is sparse by construction, so a measure of sparseness says nothing about it; and the blur makes it
    wider again.

    Differs from the paper where it is silent: it names no threshold, blur, rule of LRP or network.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: an image of floats.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      layer: of Grad-CAM, a name or scope of `layers(f, x)`; by default the last spatial activation. Static.
      grid: the height and width of the grid of a vision transformer's tokens, where it does not follow from the
        patch embedding. Static.
      composite: of LRP, which rule each layer gets.
      threshold: the share of the largest value under which Grad-CAM counts as noise; by default the mean of its map.
      sigma: the standard deviation of the blur, in pixels of the input.

    Returns:
      The map at the input's resolution, `(H, W)`, not negative; zeros where Grad-CAM or LRP finds nothing.

    Raises:
      ValueError: as `grad_cam`, or a number is negative.
      TypeError: `x` is no image of floats.
      NotImplementedError: an operation of the model has no rule of LRP: it is named.

    Examples:
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return A.sum((0, 1))
      >>> grad_cam_lrp(f, jnp.array([[[1.0], [2.0]]]), 0, layer="features", sigma=0.0)
      Array([[0., 1.]], dtype=float32)

    References:
      dhore2024enhancing
      selvaraju2017gradcam
      bach2015pixelwise
    """
    axes = image_axes("grad_cam_lrp", f, x)
    size = (x.shape[axes.height], x.shape[axes.width])
    program, (at,) = open_layers("grad_cam_lrp", f, x, layer)
    down = walk("grad_cam_lrp", f, x, composite=composite, to=(None, at.name))  # one forward pass
    R, _ = down.hand_down(scored(down.value, target, where="grad_cam_lrp"))
    A, (_, suffix) = down.activations[1], cut(program, at)
    weighted = by_gradient("grad_cam_lrp", target, weighted_by_mean)
    G = _scaled(from_activation(at.mapped("grad_cam_lrp", grid), A, suffix, x, weighted).map)
    tau = G.mean() if threshold is None else threshold
    G = resize(jnp.where(tau <= G, G, 0.0), size)
    return blur(G * _scaled(jax.nn.relu(R.transpose(axes).sum(-1))), sigma)


def _scaled(a: Array) -> Array:
    """Its largest value becomes 1; zeros stay."""
    top = a.max()
    return a / jnp.where(top > 0, top, 1.0)
