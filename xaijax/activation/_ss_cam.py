"""SS-CAM (Wang et al., 2020; arXiv:2006.14255).

Notation: X the input, H^k channel k of the activations resized to the input and scaled to [0, 1], f^c the score of
the target, delta noise of standard deviation sigma, N the number of samples, alpha_k^c the weight of the channel.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Key

from xaijax.activation._cam_maps import CamMaps, class_activation_map, from_activations
from xaijax.activation._grad_cam import weighted_sum
from xaijax.activation._score_cam import masks_of, see_through
from xaijax.core._lower import lower
from xaijax.core._sampling import chunk_size, map_chunks, normals
from xaijax.core._score import Target, score
from xaijax.core._tap import LayerName


@class_activation_map(static=("num_samples", "batch_size"), not_negative=("sigma",))
def ss_cam(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    layer: LayerName = None,
    grid: tuple[int, int] | None = None,
    sigma: float = 2.0,
    num_samples: int = 35,
    batch_size: int | None = None,
) -> CamMaps:
    r"""Smoothed Score-CAM: the score of each channel is a mean over noisy masks.

    .. math::
        \alpha_k^c = \mathrm{softmax}_k\Big(\frac{1}{N} \sum_{i=1}^N f^c\big(X \odot (H^k + \delta_i)\big)\Big),
        \quad \delta_i \sim \mathcal{N}(0, \sigma^2), \qquad L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k^c A^k\Big)

    All channels are seen through the same noise, so that their differences are theirs. A channel that is the same
    everywhere gets the weight 0. As many forward passes as there are channels, times `num_samples`.

    Differs from the paper in that: there each channel has noise of its own. Its second variant, with the noise on the
    masked input, is left out.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: the input, one example.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      key: a typed key, `jax.random.key(seed)`.
      layer: a name or scope of `layers(f, x)`; by default the last spatial activation. A tuple of them gives a tuple
        of maps. Static.
      grid: the height and width of the grid of a vision transformer's tokens, where it does not follow from the
        patch embedding. Static.
      sigma: the standard deviation of the noise, for masks in [0, 1].
      num_samples: how many noisy masks each channel gets. Static.
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
      >>> ss_cam(f, A, 0, jax.random.key(0), layer="features", num_samples=2)  # one channel varies, and takes all
      Array([[2., 0.]], dtype=float32)

    References:
      wang2020sscam
    """
    model = lower(f)

    def rule(A: Array, *_: Any) -> tuple[Array, Array]:
        masks = masks_of("ss_cam", f, x, A)
        noise = sigma * normals(key, (num_samples, *masks.size), x.dtype)

        def y(sample: Array) -> Array:
            H = masks.at(sample // num_samples) + noise[sample % num_samples]
            return score(model(see_through(x, H, masks.axes)), target, where="ss_cam")

        count = A.shape[-1] * num_samples
        scores = map_chunks(y, jnp.arange(count), chunk_size("ss_cam", batch_size, count, x))
        means = scores.reshape(-1, num_samples).mean(1)
        alpha = masks.softmax(means)
        return weighted_sum(A, alpha), alpha

    return from_activations("ss_cam", f, x, layer, grid, rule)
