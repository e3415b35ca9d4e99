"""Grad-CAM++ (Chattopadhay et al., WACV 2018; arXiv:1710.11063).

Notation: y^c the score of the target, A^k channel k of the activations, G^k its gradient; alpha_ij^{kc} the weight of
each position, w_k^c that of each channel.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from xaijax.activation._cam_maps import CamMaps, class_activation_map, from_gradients
from xaijax.activation._grad_cam import weighted_sum
from xaijax.core._score import Target
from xaijax.core._tap import LayerName


@class_activation_map()
def grad_cam_pp(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: LayerName = None,
    grid: tuple[int, int] | None = None,
) -> CamMaps:
    r"""Grad-CAM++: positions weighted by higher derivatives, so that several instances of a class all show.

    .. math::
        \alpha_{ij}^{kc} = \frac{(G_{ij}^k)^2}{2 (G_{ij}^k)^2 + \sum_{ab} A_{ab}^k \, (G_{ij}^k)^3}, \qquad
        w_k^c = \sum_{ij} \alpha_{ij}^{kc} \, \mathrm{ReLU}(G_{ij}^k), \qquad
        L^c = \mathrm{ReLU}\Big(\sum_k w_k^c A^k\Big)

    The closed form holds for the class score :math:`\exp(y^c)`; the exponential cancels in :math:`\alpha` and only
    scales :math:`w`, so it is left out (it overflows single precision from 88 on).

    Differs from the authors' code, which normalises :math:`\alpha` to sum to one in each channel; the paper's
    equations do not. Some reimplementations sum :math:`A (G)^3` instead of multiplying the sum of :math:`A` with
    :math:`G^3`.

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
      ...     return A.mean((0, 1)) @ jnp.array([[1.0], [-1.0]])
      >>> grad_cam_pp(f, jnp.array([[[1.0, 0.0], [3.0, 1.0]]]), 0, layer="features")  # only the first channel
      Array([[0.25, 0.75]], dtype=float32)

    References:
      chattopadhay2018gradcampp
    """

    def rule(A: Array, G: Array) -> tuple[Array, Array]:
        space = tuple(range(A.ndim - 1))
        # Where G is negative the denominator may vanish, and ReLU(G) is 0 in any case.
        g = jax.nn.relu(G)
        denominator = 2.0 + A.sum(space) * g  # both sides of Eq. (19) divided by G^2
        alpha = 1.0 / jnp.where(denominator == 0, 1.0, denominator)
        w = (alpha * g).sum(space)
        return weighted_sum(A, w), w

    return from_gradients("grad_cam_pp", f, x, target, layer, grid, rule)
