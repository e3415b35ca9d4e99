"""FG-CAM (Qiu, Jin & Zhang, AAAI 2024; arXiv:2303.09171).

Notation: A^k channel k of the activations at the base layer, alpha_k its weight by a base method, I^k the explanation
component of the channel; n the number of positions there. No sum over channels is taken before the resolution is
improved.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.activation._cam_maps import (
    CamMaps,
    by_gradient,
    class_activation_map,
    diagnosed,
    from_activation,
)
from xaijax.activation._grad_cam import weighted_by_mean
from xaijax.activation._score_cam import weighted_by_score
from xaijax.core._errors import complaint
from xaijax.core._inputs import check_float
from xaijax.core._layer import Layer
from xaijax.core._layers import image_axes
from xaijax.core._score import Target
from xaijax.core._tap import LayerName, cut, open_layers
from xaijax.propagation import plus_box
from xaijax.propagation._relevance import walk


@class_activation_map(
    static=("base", "denoise", "keep_mean", "to", "batch_size"), positive=("rank",)
)
def fg_cam(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: LayerName = None,
    grid: tuple[int, int] | None = None,
    base: Literal["grad_cam", "score_cam"] = "grad_cam",
    denoise: bool = False,
    rank: float = 0.1,
    keep_mean: bool = False,
    to: str | None = None,
    batch_size: int | None = None,
) -> Any:
    r"""Fine-grained CAM: the components of a class activation map, handed down to a finer layer or the input.

    .. math::
        I_0^k = \alpha_k A^k, \qquad I_l = X^+ \odot \frac{\partial Y}{\partial X^+} \frac{I_{l+1}}{Y}
            + X^- \odot \frac{\partial Y}{\partial X^-} \frac{I_{l+1}}{Y}, \quad
        Y = X^+ W^+ + X^- W^-, \qquad E = \sum_k I_{to}^k

    Each layer hands its components to its inputs in proportion to their positive contributions, as LRP's z+ rule does;
    the first layer by the z^B rule, between the smallest and the largest value of the image; max-pooling to the winner,
    sums of branches by contributions of the sum's own sign. The sum is kept on the way, except where nothing
    contributes positively, as in depthwise filters that are active by their bias alone.

    Differs from the authors' code, which is for VGG, in residual sums and concatenations, and in folding batch norms
    into their convolutions: passing relevance through them unchanged is wrong where they turn a sign. It takes the
    positive part of the result, this does not: it is signed.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: an image of floats.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      layer: where the components come from, a name or scope of `layers(f, x)`; by default the last spatial activation.
        A tuple of them gives a tuple of maps. Static.
      grid: the height and width of the grid of a vision transformer's tokens, where it does not follow from the
        patch embedding. Static.
      base: whose weights the components have: "grad_cam", or "score_cam" with probabilities. Static.
      denoise: whether only the first principal components are kept, of the matrix of channels by positions less each
        channel's mean. Static.
      rank: which part of the principal components, rounded down; at least one.
      keep_mean: whether the channels' means are added again, which denoising drops. Static.
      to: the layer whose resolution the map gets; by default that of the input. Static.
      batch_size: for Score-CAM, how many masked inputs are evaluated at once. Static.

    Returns:
      The map, signed, at the resolution of `to`, `(h, w)`; it sums to the sum of the components. `cam_maps` tells its
      weights and the layer they come from.

    Raises:
      ValueError: as `grad_cam`; or `to` does not come before `layer`, or an unknown base.
      TypeError: `x` is no image of floats.
      NotImplementedError: an operation of the model has no rule: it is named.

    Examples:
      >>> import jax
      >>> kernel = jnp.ones((2, 2, 1, 1))
      >>> def f(x):  # a convolution without overlap: each pixel gets its share of the patch's component
      ...     numbers = ("NHWC", "HWIO", "NHWC")
      ...     A = jax.lax.conv_general_dilated(x[None], kernel, (2, 2), "VALID", dimension_numbers=numbers)
      ...     return jax.nn.relu(A).mean((0, 1, 2))
      >>> E = fg_cam(f, jnp.array([[[0.0], [1.0], [0.0], [0.0]], [[3.0], [0.0], [0.0], [2.0]]]), 0)
      >>> [[round(float(e), 3) for e in row] for row in E]
      [[0.0, 0.5, 0.0, 0.0], [1.5, 0.0, 0.0, 1.0]]

    References:
      qiu2023fgcam
    """
    if base not in ("grad_cam", "score_cam"):
        rule = "be 'grad_cam' or 'score_cam'"
        raise ValueError(complaint("fg_cam", "base", rule, repr(base)))
    check_float("fg_cam", x)
    axes = image_axes("fg_cam", f, x)
    end = None if to is None else open_layers("fg_cam", f, x, to)[1][0].mapped("fg_cam")
    if base == "grad_cam":
        weighted = by_gradient("fg_cam", target, weighted_by_mean)
    else:
        weighted = weighted_by_score("fg_cam", f, x, target, "prob", False, batch_size)
    program, found = open_layers("fg_cam", f, x, layer)

    def improved(at: Layer) -> CamMaps:
        box = plus_box(x.min(), x.max())
        down = walk("fg_cam", f, x, composite=box, start=at.name, to=to)
        mapped, (_, suffix) = at.mapped("fg_cam", grid), cut(program, at)
        coarse = from_activation(mapped, down.value, suffix, x, weighted)
        Ik = coarse.weights * mapped.feature_map(down.value)
        Ik = denoised(Ik, rank, keep_mean) if denoise else Ik
        Ik = down.hand_down(mapped.with_feature_map(jnp.zeros_like(down.value), Ik))
        E = Ik.transpose(axes) if end is None else end.feature_map(Ik)
        return diagnosed(mapped, E.sum(-1), coarse.weights)

    maps = tuple(map(improved, found))
    return maps if isinstance(layer, tuple) else maps[0]


def denoised(
    Ik: Float[Array, "h w K"], rank: float | Float[Array, ""], keep_mean: bool
) -> Float[Array, "h w K"]:
    """The first principal components of the maps of the channels, with or without the mean of each channel."""
    M = Ik.reshape(-1, Ik.shape[-1]).T.astype(jnp.promote_types(Ik.dtype, jnp.float32))
    mean = M.mean(1, keepdims=True)
    U, S, V = jnp.linalg.svd(M - mean, full_matrices=False)
    kept = jnp.floor(rank * len(S) + 1e-4)  # 0.7 of ten are seven, also as a float
    S = jnp.where(jnp.arange(len(S)) < jnp.maximum(kept, 1), S, 0)
    M = jnp.matmul(U * S, V, precision="highest") + (mean if keep_mean else 0)
    return M.T.reshape(Ik.shape).astype(Ik.dtype)
