"""Monotonicity (Arya et al., 2019; arXiv:1909.03012v2; after Luss et al., KDD 2021; arXiv:1905.12698v3).

Notation: a the attribution, v(z) the score with the features kept where z is true, d the number of features; l_k the
set of the k features with the lowest attribution.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from xaijax.core._mask import Mask
from xaijax.core._score import Target
from xaijax.metrics._features import features
from xaijax.metrics._metric import metric
from xaijax.metrics._removal import removal_curve


class MonotonicityCurve(NamedTuple):
    """The score as features are shown, the lowest attribution first.

    Attributes:
      shown: which part of the features is shown, from 0 to 1.
      scores: the score then.
      share: the share of steps at which the score does not fall; the first, from the baseline, is not counted.
      monotonic: 1 if that is all of them, else 0.
      flat: whether the score never changes after the first step, and nothing can be told.
    """

    shown: Float[Array, " n+1"]
    scores: Float[Array, " n+1"]
    share: Float[Array, ""]
    monotonic: Float[Array, ""]
    flat: Bool[Array, ""]


@metric(
    "faithfulness",
    "higher",
    read="monotonic",
    static=("num_steps", "batch_size"),
    baseline=("baseline",),
)
def monotonicity(
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
) -> MonotonicityCurve:
    r"""Whether the score never falls as the features are shown, the lowest attribution first.

    .. math:: \big[\, v(l_1) \le v(l_2) \le \dots \le v(l_d) \,\big]

    As in the reference code, the score of the baseline itself is not compared: what is shown first may lower it.

    Differs from the reference code in that features of equal attribution are shown in an order that the key draws, that
    several features may be shown at once, and that a score that never changes has no number: where it is 1, as in
    Quantus, whose baseline is overwritten by the input so that no score ever changes, nothing was measured.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      attribution: what is judged, in the shape of `x`; or without its channels, `(h, w)`, and then a pixel is hidden
        in all of them. With a `mask`, as the mask paints it, or one value per feature.
      key: the order of features with equal attributions.
      baseline: what a hidden feature shows: a number, or an array that broadcasts to `x`.
      mask: what the features are and how they are hidden, instead of positions and baseline: `segments`, `columns`,
        `tokens`. A painted attribution is averaged over each feature.
      num_steps: how many parts of equal size the features are shown in. By default each feature is its own, which costs
        one evaluation for each. Static.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      1 or 0, 0-d; NaN if the score never changes, as when there is only one feature. The same for any positive multiple
      of the attribution. Higher is better; the mean over examples is the share of those that pass.
      `monotonicity.details` takes the same arguments and gives the `MonotonicityCurve`, whose `share` tells near misses
      from others.

    Raises:
      ValueError: the attribution fits neither `x` nor the mask, or is not finite (traced: NaN); `baseline` does not
        broadcast to `x`; a size < 1; `f` gives no vector, or `target` is out of range (traced: NaN).
      TypeError: the attribution or, without a mask, `x` is not one float array, or `f` cannot be traced.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x @ jnp.array([1.0, 2.0, -4.0, 8.0])])
      >>> x, key = jnp.ones(4), jax.random.key(0)
      >>> monotonicity(f, x, 0, jnp.array([1.0, 2.0, -4.0, 8.0]), key)
      Array(1., dtype=float32)
      >>> monotonicity.details(f, x, 0, jnp.array([1.0, 2.0, 4.0, 8.0]), key)[1:4]
      (Array([ 0.,  1.,  3., -1.,  7.], dtype=float32), Array(0.6666667, dtype=float32), Array(0., dtype=float32))

    References:
      arya2019one, luss2021leveraging
    """
    v, values = features("monotonicity", f, x, target, attribution, mask, baseline)
    d = values.shape[0]

    def show_last(rank: Int[Array, " d"], count: Int[Array, ""]) -> Bool[Array, " d"]:
        return rank >= d - count

    sizes = {"num_steps": num_steps or d, "num_orders": 1, "batch_size": batch_size}
    curve = removal_curve(v, values, key, kept=show_last, **sizes)
    steps = jnp.diff(curve.scores[1:])
    share = jnp.where(steps >= 0, 1.0, 0.0).astype(values.dtype).mean()
    flat = (steps == 0).all()
    monotonic = jnp.where(flat, jnp.nan, (share == 1).astype(values.dtype))
    return MonotonicityCurve(curve.changed, curve.scores, share, monotonic, flat)
