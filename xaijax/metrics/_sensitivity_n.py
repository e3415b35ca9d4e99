"""Sensitivity-n (Ancona et al., ICLR 2018; arXiv:1711.06104v4).

Notation: a_i the attribution of feature i, d the number of features, S a random subset of them, v(z) the score with the
features kept where z is true.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from xaijax.core._errors import complaint
from xaijax.core._mask import Mask
from xaijax.core._score import Target
from xaijax.metrics._correlation import pearson
from xaijax.metrics._features import features
from xaijax.metrics._metric import metric
from xaijax.metrics._subsets import check_subset_size, hidden_subsets


class SensitivityN(NamedTuple):
    """The correlation for every size of the subsets.

    Attributes:
      sizes: how many features are hidden.
      correlations: Pearson's, of the subsets of this size; NaN where all of them have the same sum or drop.
      mean: over the sizes that have one.
    """

    sizes: Float[Array, " m"]
    correlations: Float[Array, " m"]
    mean: Float[Array, ""]


@metric(
    "faithfulness",
    "higher",
    read="mean",
    static=("sizes", "num_samples", "batch_size"),
    baseline=("baseline",),
)
def sensitivity_n(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
    key: Key[Array, ""],
    *,
    baseline: Any = 0.0,
    mask: Mask | None = None,
    sizes: tuple[int, ...] | None = None,
    num_samples: int = 100,
    batch_size: int | None = None,
) -> SensitivityN:
    r"""Whether the score falls with n features as far as their attributions say, for few and for many of them.

    .. math::
        \frac{1}{m} \sum_n \operatorname{corr}_{S:\, |S| = n}
        \Big( \sum_{i \in S} a_i,\; v(\text{all}) - v(\overline{S}) \Big)

    Pearson's correlation, over subsets S drawn evenly. An explanation satisfies sensitivity-n if it is 1: Shapley
    values do for n = d, values of a linear model for every n.

    Differs from the paper, which draws a curve over n, in that its mean is the number; and in that the subsets of a
    sample lie one in the other, which leaves every correlation what it is.

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
      sizes: the values of n. By default ten of them from 1 to 80 % of the features, the paper's range, evenly
        spaced on a logarithmic scale. Static.
      num_samples: how many subsets of each size are drawn, as in the paper. One evaluation for each, and one for `x`.
        Static.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The mean correlation, 0-d, between -1 and 1, over the sizes at which both sum and drop vary; NaN if there is none,
      as of a flat map. The same for any positive multiple of the attribution. Higher is better. `sensitivity_n.details`
      takes the same arguments and gives the `SensitivityN`.

    Raises:
      ValueError: one of `sizes` is above the number of features, or there is none; the attribution fits neither `x` nor
        the mask, or is not finite (traced: NaN); `baseline` does not broadcast to `x`; a size < 1; `f` gives no vector,
        or `target` is out of range (traced: NaN).
      TypeError: `sizes` is no tuple of integers; the attribution or, without a mask, `x` is not one float array, or `f`
        cannot be traced.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x @ jnp.array([1.0, 2.0, 4.0, 8.0])])
      >>> x, key = jnp.ones(4), jax.random.key(0)
      >>> round(float(sensitivity_n(f, x, 0, jnp.array([1.0, 2.0, 4.0, 8.0]), key)), 5)
      1.0
      >>> sensitivity_n.details(f, x, 0, jnp.array([1.0, 2.0, 4.0, 8.0]), key).sizes
      Array([1., 2., 3.], dtype=float32)

    References:
      ancona2018towards
    """
    v, values = features("sensitivity_n", f, x, target, attribution, mask, baseline)
    sizes = _sizes(sizes, values.shape[0])
    counts = {"num_samples": num_samples, "batch_size": batch_size}
    sums, drops = hidden_subsets(v, values, key, sizes=sizes, **counts)
    found = jax.vmap(pearson, 1)(sums, drops)
    return SensitivityN(jnp.asarray(sizes, values.dtype), found, jnp.nanmean(found))


def _sizes(sizes: tuple[int, ...] | None, d: int) -> tuple[int, ...]:
    if sizes is None:
        spaced = np.geomspace(1, max(1, 0.8 * d), 10)
        return tuple(int(n) for n in np.unique(np.round(spaced)))
    if type(sizes) is not tuple:
        rule = "be a tuple of integers"
        raise TypeError(complaint("sensitivity_n", "sizes", rule, repr(sizes)))
    if not sizes:
        raise ValueError(complaint("sensitivity_n", "sizes", "have at least one size", sizes))
    for n in sizes:
        check_subset_size("sensitivity_n", "sizes", n, d)
    return sizes
