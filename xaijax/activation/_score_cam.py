"""Score-CAM (Wang et al., CVPR Workshops 2020; arXiv:1910.01279).

Notation: X the input, A^k channel k of the activations, H^k the channel resized to the input and scaled to [0, 1],
f^c the score of the target, X_b a baseline input, alpha_k^c the weight of the channel.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from xaijax.activation._cam_maps import CamMaps, class_activation_map, from_activations
from xaijax.activation._grad_cam import weighted_sum
from xaijax.core._errors import complaint
from xaijax.core._layers import ImageAxes, image_axes
from xaijax.core._lower import lower
from xaijax.core._maps import normalize, resize
from xaijax.core._sampling import chunk_size, map_chunks
from xaijax.core._score import Target, score
from xaijax.core._tap import LayerName

Mode = Literal["prob", "softmax_logit", "softmax_prob", "cic"]
MODES = ("prob", "softmax_logit", "softmax_prob", "cic")


@class_activation_map(static=("mode", "align_corners", "batch_size"))
def score_cam(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: LayerName = None,
    grid: tuple[int, int] | None = None,
    mode: Mode = "prob",
    align_corners: bool = False,
    batch_size: int | None = None,
) -> CamMaps:
    r"""Score-CAM: channels weighed by what the model makes of the input seen through them.

    .. math::
        H^k = s(\mathrm{Up}(A^k)), \qquad \alpha_k^c = S_k(f^c(X \odot H^k)), \qquad
        L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k^c A^k\Big)

    with :math:`s` the scaling of each channel to [0, 1]. Paper and code disagree about :math:`S`, so it is a `mode`:

    * "prob", the authors' code: the probability of the target.
    * "softmax_logit": a softmax over the channels, of the scores. Easily one channel takes all.
    * "softmax_prob", the paper: a softmax over the channels, of the probabilities. Nearly uniform, for they differ by
      less than one. The paper's baseline cancels in both softmaxes.
    * "cic": the score less that of the baseline, an input of zeros; no softmax.

    A channel that is the same everywhere masks nothing and gets the weight 0. One forward pass for each channel, and
    one for the activations.

    Differs from the authors' code in summing the maps before they are resized, which is the same but for the ReLU.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: the input, one example.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      layer: a name or scope of `layers(f, x)`; by default the last spatial activation. A tuple of them gives a tuple
        of maps. Static.
      grid: the height and width of the grid of a vision transformer's tokens, where it does not follow from the
        patch embedding. Static.
      mode: what becomes of the scores, see above. "prob" and "softmax_prob" want logits. Static.
      align_corners: how channels are resized, see `resize`. Static.
      batch_size: how many masked inputs are evaluated at once; by default what stays in the cache. Static.

    Returns:
      The map at the layer's resolution, `(h, w)`, not negative; `cam_maps` tells its weights and layer.

    Raises:
      ValueError: as `grad_cam`, or an unknown mode.
      TypeError: `x` is no image.

    Examples:
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return A.sum((0, 1))
      >>> A = jnp.array([[[2.0, 1.0], [0.0, 1.0]]])  # the second channel is the same everywhere
      >>> score_cam(f, A, 0, layer="features", mode="cic")  # f_0 of A * [1, 0] is 2
      Array([[4., 0.]], dtype=float32)

    References:
      wang2020scorecam
    """
    if mode not in MODES:
        rule = f"be one of {', '.join(MODES)}"
        raise ValueError(complaint("score_cam", "mode", rule, repr(mode)))

    rule = weighted_by_score("score_cam", f, x, target, mode, align_corners, batch_size)
    return from_activations("score_cam", f, x, layer, grid, rule)


def weighted_by_score(
    where: str,
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    mode: str,
    align_corners: bool,
    batch_size: int | None,
) -> Callable[..., tuple[Array, Array]]:
    """Score-CAM's rule: activations `(h, w, K)` to map and weights."""
    model = lower(f)

    def rule(A: Array, *_: Any) -> tuple[Array, Array]:
        masks = masks_of(where, f, x, A, align_corners)

        def y(shown: Array) -> Array:
            return _read(where, mode, model(shown), target)

        chunk = chunk_size(where, batch_size, A.shape[-1], x)
        channels = jnp.arange(A.shape[-1])
        scores = map_chunks(lambda k: y(see_through(x, masks.at(k), masks.axes)), channels, chunk)
        alpha: Any
        if mode.startswith("softmax"):
            alpha = masks.softmax(scores)
        else:
            baseline = y(jnp.zeros_like(x)) if mode == "cic" else 0.0
            alpha = jnp.where(masks.flat, 0.0, scores - baseline)
        return weighted_sum(A, alpha), alpha

    return rule


class Masks(NamedTuple):
    """The channels of a layer as masks of the input.

    Attributes:
      A: the activations, `(h, w, K)`.
      axes: the axes of the input.
      size: the height and width of the input.
      align_corners: how channels are resized.
      flat: which channels are the same everywhere.
    """

    A: Float[Array, "h w K"]
    axes: ImageAxes
    size: tuple[int, int]
    align_corners: bool
    flat: Bool[Array, " K"]

    def at(self, k: Array) -> Float[Array, "H W"]:
        """Channel k resized to the input and scaled to [0, 1]; zeros where it is flat."""
        return normalize(resize(self.A[..., k], self.size, align_corners=self.align_corners))

    def softmax(self, scores: Float[Array, " K"]) -> Float[Array, " K"]:
        """The softmax over the channels that are not flat."""
        shown = jnp.where(self.flat, -jnp.inf, scores)
        return jnp.where(self.flat, 0.0, jax.nn.softmax(shown)).astype(self.A.dtype)


def masks_of(
    where: str, f: Callable[[Any], Any], x: Any, A: Array, align_corners: bool = False
) -> Masks:
    """The channels of a layer as masks of the input.

    Raises:
      TypeError: the input is no image.
    """
    axes = image_axes(where, f, x)
    size = (x.shape[axes.height], x.shape[axes.width])
    return Masks(A, axes, size, align_corners, A.max((0, 1)) <= A.min((0, 1)))


def see_through(x: Array, H: Float[Array, "H W"], axes: ImageAxes) -> Array:
    """The input times a mask, which every channel of the input sees alike."""
    return (x.transpose(axes) * H[..., None].astype(x.dtype)).transpose(*map(axes.index, range(3)))


def _read(where: str, mode: str, outputs: Any, target: Target) -> Array:
    """The score of a masked input, of its probabilities where the mode says so."""
    if mode.endswith("prob"):
        if jnp.ndim(outputs) != 1 or outputs.shape[0] < 2:
            rule = "give a vector of at least two logits, whose probabilities are taken"
            fix = "Another kind of output: mode='cic' or 'softmax_logit'."
            got = f"shape {jnp.shape(outputs)}"
            raise ValueError(complaint(where, "f", rule, got, fix))
        outputs = jax.nn.softmax(outputs)
    return score(outputs, target, where=where)
