"""Region perturbation (Samek et al., IEEE TNNLS 28(11), 2017; arXiv:1509.06321v1).

Notation: x_k the input after the k regions with the highest attribution were perturbed, L the number of regions that
are, v the score.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from xaijax.core._errors import check_positive
from xaijax.core._mask import Mask
from xaijax.core._score import Target
from xaijax.metrics._features import features, patches, value_range
from xaijax.metrics._metric import metric
from xaijax.metrics._removal import hide_first, is_flat, removal_scores


class RegionPerturbation(NamedTuple):
    """What perturbing one region after another does to the score.

    Attributes:
      aopc: the area over the curve.
      changed: which part of the regions is perturbed.
      scores: the score then, the mean over the orders of equal regions and over the draws of the noise.
      flat: whether nothing that was perturbed changed the score.
    """

    aopc: Float[Array, ""]
    changed: Float[Array, " L+1"]
    scores: Float[Array, " L+1"]
    flat: Bool[Array, ""]


@metric(
    "faithfulness",
    "higher",
    read="aopc",
    static=("region_size", "num_regions", "num_draws", "num_orders", "batch_size"),
    baseline=("baseline",),
)
def region_perturbation(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
    key: Key[Array, ""],
    *,
    region_size: int = 9,
    num_regions: int = 100,
    baseline: Any = None,
    mask: Mask | None = None,
    num_draws: int = 1,
    num_orders: int = 1,
    batch_size: int | None = None,
) -> RegionPerturbation:
    r"""How far the score falls as regions of an image become noise, those of the highest attribution first (AOPC).

    .. math:: \mathrm{AOPC} = \frac{1}{L + 1} \sum_{k=0}^L \bigl(v(x_0) - v(x_k)\bigr)

    of one image; the mean over images is the paper's. Only the L regions that the attribution puts first are perturbed:
    the order of the others, which a curve to the end goes on about, does not count.

    Differs from the paper where regions have equal attributions: the key draws their order. Differs from Quantus in its
    regions, which lie anywhere, the best first, and in its perturbation, the lowest value of `x` for all pixels.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`. The paper takes the true class.
      attribution: what is judged, in the shape of `x`, or without its channels, `(h, w)`: its mean over a region
        counts, which orders whole regions as their sum does. A region is perturbed in all channels. With a `mask`, as
        the mask paints it, or one value per feature.
      key: the noise, and the order of regions with equal attributions.
      region_size: the side of a region, in pixels; regions are the cells of a grid, and may be cut off at the lower and
        right ends of the image. Static.
      num_regions: L, at most all of them. One evaluation for each, and one for `x`. Static.
      baseline: what a perturbed region shows: a number, or an array that broadcasts to `x`. By default noise, as in the
        paper: each value drawn evenly from the range of its channel in `x`.
      mask: what the regions are and how they are perturbed, instead of a grid and noise: `segments`, `columns`,
        `tokens`.
      num_draws: over how many draws of the noise the score is averaged; each costs all evaluations. A region keeps its
        noise while others are perturbed. Static.
      num_orders: over how many orders of equal regions the score is averaged; each costs all evaluations. Static.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The AOPC, 0-d, in units of the score. Higher is better. `region_perturbation.details` takes the same arguments and
      gives the curve, too.

    Raises:
      ValueError: the attribution fits neither `x` nor the mask, or is not finite (traced: NaN); `baseline` does not
        broadcast to `x`; a size < 1; `f` gives no vector, or `target` is out of range (traced: NaN).
      TypeError: the attribution or, without a mask, `x` is not one float array, or `f` cannot be traced.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x @ jnp.array([1.0, 2.0, 4.0, 8.0])])
      >>> x, a, key = jnp.ones(4), jnp.array([1.0, 2.0, 4.0, 8.0]), jax.random.key(0)
      >>> region_perturbation(f, x, 0, a, key, region_size=1, num_regions=3, baseline=0.0)  # (0 + 8 + 12 + 14) / 4
      Array(8.5, dtype=float32)

    References:
      samek2017evaluating
    """
    where = "region_perturbation"
    check_positive(where, region_size=region_size)
    draws, order = jax.random.split(key)
    if baseline is None and mask is None:
        baseline = _noise(where, f, x, draws, num_draws)
    if mask is None:
        mask = patches(where, f, x, attribution, baseline, size=region_size)
    v, values = features(where, f, x, target, attribution, mask)
    d = values.shape[0]
    counts = np.arange(min(num_regions, d) + 1)
    sizes = {"num_orders": num_orders, "batch_size": batch_size}
    scores = removal_scores(v, values, order, counts, kept=hide_first, **sizes)
    aopc = (scores[0] - scores).mean()
    return RegionPerturbation(aopc, jnp.asarray(counts / d, scores.dtype), scores, is_flat(scores))


def _noise(
    where: str, f: Callable[[Any], Any], x: Any, key: Key[Array, ""], num_draws: int
) -> Float[Array, "n *shape"]:
    """Noise in the range of each channel, a stack of draws."""
    low, high = value_range(where, f, x)
    wide = jnp.promote_types(x.dtype, jnp.float32)

    def draw(i: Array) -> Array:
        u = jax.random.uniform(jax.random.fold_in(key, i), x.shape, wide)
        return (low + (high - low) * u).astype(x.dtype)

    return jax.vmap(draw)(jnp.arange(num_draws))
