"""IS-CAM (Naidu et al., 2020; arXiv:2010.03023).

Notation: X the input, H^k channel k of the activations resized to the input and scaled to [0, 1], f^c the score of
the target, N the number of steps, alpha_k^c the weight of the channel.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from xaijax.activation._cam_maps import CamMaps, class_activation_map, from_activations
from xaijax.activation._grad_cam import weighted_sum
from xaijax.activation._score_cam import masks_of, see_through
from xaijax.core._lower import lower
from xaijax.core._sampling import chunk_size, map_chunks
from xaijax.core._score import Target, score
from xaijax.core._tap import LayerName


@class_activation_map(static=("num_steps", "batch_size"))
def is_cam(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: LayerName = None,
    grid: tuple[int, int] | None = None,
    num_steps: int = 10,
    batch_size: int | None = None,
) -> CamMaps:
    r"""Integrated Score-CAM: the score of each channel is a mean over ever brighter masks.

    .. math::
        \alpha_k^c = \mathrm{softmax}_k\Big(\frac{1}{N} \sum_{i=1}^N f^c(X \odot c_i H^k)\Big), \quad
        c_i = \frac{i}{N}, \qquad L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k^c A^k\Big)

    A channel that is the same everywhere gets the weight 0. As many forward passes as there are channels, times
    `num_steps`.

    Differs from the paper, whose steps add up, :math:`c_i = \sum_{j<i} j / N`: they leave the range of images, up to
    :math:`(N - 1) / 2` times the brightest mask, which is no path to the input any more.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: the input, one example.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      layer: a name or scope of `layers(f, x)`; by default the last spatial activation. A tuple of them gives a tuple
        of maps. Static.
      grid: the height and width of the grid of a vision transformer's tokens, where it does not follow from the
        patch embedding. Static.
      num_steps: how many steps from the black image to the masked one. Static.
      batch_size: how many masked inputs are evaluated at once; by default what stays in the cache. Static.

    Returns:
      The map at the layer's resolution, `(h, w)`, not negative; `cam_maps` tells its weights and layer.

    Raises:
      ValueError: as `grad_cam`.
      TypeError: `x` is no image.

    Examples:
      >>> import jax
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return A.sum((0, 1))
      >>> A = jnp.array([[[2.0, 1.0], [0.0, 1.0]]])
      >>> is_cam(f, A, 0, layer="features", num_steps=2)  # one channel varies, and takes all
      Array([[2., 0.]], dtype=float32)

    References:
      naidu2020iscam
    """
    model = lower(f)

    def rule(A: Array, *_: Any) -> tuple[Array, Array]:
        masks = masks_of("is_cam", f, x, A)

        def y(step: Array) -> Array:
            c = (step % num_steps + 1).astype(x.dtype) / num_steps
            H = c * masks.at(step // num_steps)
            return score(model(see_through(x, H, masks.axes)), target, where="is_cam")

        count = A.shape[-1] * num_steps
        scores = map_chunks(y, jnp.arange(count), chunk_size("is_cam", batch_size, count, x))
        alpha = masks.softmax(scores.reshape(-1, num_steps).mean(1))
        return weighted_sum(A, alpha), alpha

    return from_activations("is_cam", f, x, layer, grid, rule)
