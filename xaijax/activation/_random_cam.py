"""Random channel weights: what a class activation map must beat.

Notation: A^k channel k of the activations, w_k a random weight.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from xaijax.activation._cam_maps import CamMaps, class_activation_map, from_activations
from xaijax.activation._grad_cam import weighted_sum
from xaijax.core._score import Target
from xaijax.core._tap import LayerName


@class_activation_map()
def random_cam(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    layer: LayerName = None,
    grid: tuple[int, int] | None = None,
) -> CamMaps:
    r"""A class activation map with random weights: the control of every comparison.

    .. math::
        w_k \sim U(-1, 1), \qquad L = \mathrm{ReLU}\Big(\sum_k w_k A^k\Big)

    A method whose maps score no better than these shows the activations, not the decision.

    Differs from no paper: it is a control, after the weights of Grad-CAM were replaced.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: the input, one example.
      target: not looked at beyond its check: the map is the same for every target.
      key: a typed key, `jax.random.key(seed)`.
      layer: a name or scope of `layers(f, x)`; by default the last spatial activation. A tuple of them gives a tuple
        of maps. Static.
      grid: the height and width of the grid of a vision transformer's tokens, where it does not follow from the
        patch embedding. Static.

    Returns:
      The map at the layer's resolution, `(h, w)`, not negative; `cam_maps` tells its weights and layer.

    Raises:
      ValueError: as `grad_cam`.

    Examples:
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return A.mean((0, 1))
      >>> random_cam(f, jnp.ones((2, 3, 4)), 0, jax.random.key(0), layer="features").shape
      (2, 3)

    References:
      selvaraju2017gradcam
    """

    def rule(A: Array, *_: Any) -> tuple[Array, Array]:
        single = jnp.promote_types(A.dtype, jnp.float32)  # half precision draws other numbers
        w = jax.random.uniform(key, A.shape[-1:], single, -1.0, 1.0).astype(A.dtype)
        return weighted_sum(A, w), w

    return from_activations("random_cam", f, x, layer, grid, rule)
