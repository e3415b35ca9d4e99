"""LayerCAM (Jiang et al., IEEE TIP 2021; doi:10.1109/TIP.2021.3089943).

Notation: y^c the score of the target, A^k channel k of the activations, G^k its gradient, w_ij^{kc} the weight of
each position; gamma scales shallow maps before they are fused.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.activation._cam_maps import CamMaps, class_activation_map, from_gradients
from xaijax.core._errors import complaint
from xaijax.core._maps import resize
from xaijax.core._score import Target
from xaijax.core._tap import LayerName


@class_activation_map()
def layer_cam(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: LayerName = None,
    grid: tuple[int, int] | None = None,
) -> CamMaps:
    r"""LayerCAM: each position weighed by the positive part of its own gradient, so that shallow layers work too.

    .. math::
        w_{ij}^{kc} = \mathrm{ReLU}(G_{ij}^k), \qquad
        M_{ij}^c = \mathrm{ReLU}\Big(\sum_k w_{ij}^{kc} A_{ij}^k\Big)

    Take a layer after its pooling: the gradient at a layer in front of a pooling, or of a convolution with a stride,
    is zero at most positions, which shows as a checkerboard. `fuse` puts the maps of several layers together.

    Differs from the paper in nothing.

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
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return A.sum((0, 1)) @ jnp.array([[1.0], [-1.0]])
      >>> layer_cam(f, jnp.array([[[1.0, 5.0], [3.0, 1.0]]]), 0, layer="features")
      Array([[1., 3.]], dtype=float32)

    References:
      jiang2021layercam
    """

    def rule(A: Array, G: Array) -> tuple[Array, Array]:
        w = jax.nn.relu(G)
        return jax.nn.relu((w * A).sum(-1)), w

    return from_gradients("layer_cam", f, x, target, layer, grid, rule)


def fuse(
    maps: Sequence[Float[Array, "h w"]], shape: tuple[int, int], *, gamma: float = 2.0
) -> Float[Array, "H W"]:
    r"""Maps of several layers as one: each scaled by a hyperbolic tangent, the largest value of each position taken.

    .. math::
        \hat{M}^c = \tanh\Big(\frac{\gamma M^c}{\max M^c}\Big)

    The maps of shallow layers have small values; the tangent lifts them.

    Differs from the paper, which lifts only the shallow maps: here every map is treated alike, so that none wins by
    its scale.

    Args:
      maps: maps `(h, w)` that are not negative, such as those of `layer_cam` at several layers.
      shape: the height and width of the result.
      gamma: the strength of the lift.

    Returns:
      The fused map, `shape`, in [0, 1); zeros where no map shows anything.

    Raises:
      ValueError: there are no maps.

    Examples:
      >>> deep, shallow = jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 0.0, 0.0, 0.01]])
      >>> [round(float(value), 2) for value in fuse([deep, shallow], (1, 4))[0]]
      [0.96, 0.72, 0.24, 0.96]

    References:
      jiang2021layercam
    """
    if not len(maps):
        raise ValueError(complaint("fuse", "maps", "hold at least one map", "none"))
    lifted = []
    for found in maps:
        top = found.max()
        scaled = jnp.where(top > 0, found / jnp.where(top > 0, top, 1.0), 0.0)
        lifted.append(resize(jnp.tanh(gamma * scaled), shape))
    return jnp.stack(lifted).max(0)
