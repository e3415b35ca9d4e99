"""Faithfulness correlation (Bhatt, Weller & Moura, IJCAI 2020; arXiv:2005.00631v1).

Notation: a_i the attribution of feature i, d the number of features, S a random subset of them, v(z) the score with the
features kept where z is true.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float, Key

from xaijax.core._mask import Mask
from xaijax.core._score import Target
from xaijax.metrics._correlation import pearson
from xaijax.metrics._features import features
from xaijax.metrics._metric import metric
from xaijax.metrics._subsets import HiddenSubsets, check_subset_size, hidden_subsets


@metric(
    "faithfulness",
    "higher",
    read="correlation",
    static=("subset_size", "num_samples", "batch_size"),
    baseline=("baseline",),
)
def faithfulness_correlation(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
    key: Key[Array, ""],
    *,
    baseline: Any = 0.0,
    mask: Mask | None = None,
    subset_size: int | None = None,
    num_samples: int = 100,
    batch_size: int | None = None,
) -> HiddenSubsets:
    r"""Whether the score falls with a set of features as far as their attributions say.

    .. math::
        \operatorname{corr}_{S:\, |S| = k} \Big( \sum_{i \in S} a_i,\; v(\text{all}) - v(\overline{S}) \Big)

    Pearson's correlation, over subsets S drawn evenly.

    Differs from the paper in nothing. From Quantus in the default size of the subsets: its 224 is more than a table has
    columns, and few of the pixels of a photo.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      attribution: what is judged, in the shape of `x`; or without its channels, `(h, w)`, and then a pixel is hidden
        in all of them. With a `mask`, as the mask paints it, or one value per feature.
      key: the subsets.
      baseline: what a hidden feature shows: a number, or an array that broadcasts to `x`.
      mask: what the features are and how they are hidden, instead of positions and baseline: `segments`, `columns`,
        `tokens`. A painted attribution is averaged over each feature.
      subset_size: k, how many features are hidden. By default half of them, of which there are the most subsets.
        Static.
      num_samples: how many subsets are drawn, as in Quantus. One evaluation for each, and one for `x`. Static.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The correlation, 0-d, between -1 and 1; NaN if all subsets have the same sum, as of a flat map, or the same drop.
      The same for any positive multiple of the attribution. Higher is better. `faithfulness_correlation.details` takes
      the same arguments and gives the `HiddenSubsets`.

    Raises:
      ValueError: `subset_size` is above the number of features; the attribution fits neither `x` nor the mask, or is
        not finite (traced: NaN); `baseline` does not broadcast to `x`; a size < 1; `f` gives no vector, or `target` is
        out of range (traced: NaN).
      TypeError: the attribution or, without a mask, `x` is not one float array, or `f` cannot be traced.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x @ jnp.array([1.0, 2.0, 4.0, 8.0])])
      >>> x, a, key = jnp.ones(4), jnp.array([1.0, 2.0, 4.0, 8.0]), jax.random.key(0)
      >>> round(float(faithfulness_correlation(f, x, 0, a, key)), 5)
      1.0
      >>> round(float(faithfulness_correlation(f, x, 0, -a, key)), 5)
      -1.0

    References:
      bhatt2020evaluating
    """
    where = "faithfulness_correlation"
    v, values = features(where, f, x, target, attribution, mask, baseline)
    size = max(1, values.shape[0] // 2) if subset_size is None else subset_size
    check_subset_size(where, "subset_size", size, values.shape[0])
    sizes = {"num_samples": num_samples, "batch_size": batch_size}
    sums, drops = hidden_subsets(v, values, key, sizes=(size,), **sizes)
    return HiddenSubsets(sums[:, 0], drops[:, 0], pearson(sums[:, 0], drops[:, 0]))
