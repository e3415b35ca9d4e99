"""Faithfulness estimate (Alvarez-Melis & Jaakkola, NeurIPS 2018; arXiv:1806.07538v2).

Notation: a_i the attribution of feature i, v(z) the score with the features kept where z is true.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from xaijax.core._mask import Mask
from xaijax.core._sampling import map_chunks
from xaijax.core._score import Target
from xaijax.metrics._correlation import pearson
from xaijax.metrics._features import features
from xaijax.metrics._metric import metric
from xaijax.metrics._removal import ranks
from xaijax.metrics._subsets import HiddenSubsets


@metric(
    "faithfulness",
    "higher",
    read="correlation",
    static=("num_steps", "batch_size"),
    baseline=("baseline",),
)
def faithfulness_estimate(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
    key: Key[Array, ""],
    *,
    baseline: Any = 0.0,
    mask: Mask | None = None,
    num_steps: int | None = None,
    batch_size: int | None = None,
) -> HiddenSubsets:
    r"""Whether the score falls with each feature as far as its attribution says.

    .. math:: \operatorname{corr}_i \big( a_i,\; v(\text{all}) - v(\overline{\{i\}}) \big)

    Pearson's correlation, as in the authors' code; the paper only speaks of a correlation.

    Differs from the paper in that several features may be hidden at once, where there are too many to evaluate each.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      attribution: what is judged, in the shape of `x`; or without its channels, `(h, w)`, and then a pixel is hidden
        in all of them. With a `mask`, as the mask paints it, or one value per feature.
      key: the order of features with equal attributions, where several are hidden at once.
      baseline: what a hidden feature shows: a number, or an array that broadcasts to `x`.
      mask: what the features are and how they are hidden, instead of positions and baseline: `segments`, `columns`,
        `tokens`. A painted attribution is averaged over each feature.
      num_steps: how many parts of equal size the features are divided into, by the order of their attributions; each
        is hidden as a whole, and its attributions are added up. By default each feature is its own, which costs one
        evaluation for each. Static.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The correlation, 0-d, between -1 and 1; NaN if the attribution is flat, nothing changes the score, or there is
      only one feature. The same for any positive multiple of the attribution. Higher is better.
      `faithfulness_estimate.details` takes the same arguments and gives the `HiddenSubsets`, the highest attribution
      first.

    Raises:
      ValueError: the attribution fits neither `x` nor the mask, or is not finite (traced: NaN); `baseline` does not
        broadcast to `x`; a size < 1; `f` gives no vector, or `target` is out of range (traced: NaN).
      TypeError: the attribution or, without a mask, `x` is not one float array, or `f` cannot be traced.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x @ jnp.array([1.0, 2.0, 4.0, 8.0])])
      >>> x, a, key = jnp.ones(4), jnp.array([1.0, 2.0, 4.0, 8.0]), jax.random.key(0)
      >>> round(float(faithfulness_estimate(f, x, 0, a, key)), 5)
      1.0
      >>> faithfulness_estimate.details(f, x, 0, -a, key, num_steps=2)
      HiddenSubsets(sums=Array([ -3., -12.], dtype=float32), drops=Array([ 3., 12.], dtype=float32),
                    correlation=Array(-1., dtype=float32))

    References:
      alvarezmelis2018towards
    """
    v, values = features("faithfulness_estimate", f, x, target, attribution, mask, baseline)
    d = values.shape[0]
    steps = d if num_steps is None else min(num_steps, d)
    part = ranks(values, key) * steps // d

    def at(row: Int[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        hidden = part == row - 1  # row 0 hides nothing
        return jnp.where(hidden, values, 0).sum(), v(~hidden)

    sums, scores = map_chunks(at, jnp.arange(steps + 1), v.chunk_size(batch_size, steps + 1))
    scores = scores.astype(values.dtype)
    sums, drops = sums[1:], scores[0] - scores[1:]
    return HiddenSubsets(sums, drops, pearson(sums, drops))
